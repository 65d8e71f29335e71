"""Requests on their way to the writers, bounded in number."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from kubernaut.audit.wire import Status
from kubernaut.datastorage import metrics
from kubernaut.datastorage.database import RETRY_AFTER_SECONDS
from kubernaut.datastorage.intake import PreparedEvent
from kubernaut.datastorage.problems import Problem

GROUP_EVENTS: Final = 300
"""A transaction takes no further request once it holds this many events (measured optimum)."""


class Stored(NamedTuple):
    """What became of one event."""

    status: Status
    event: PreparedEvent
    reason: str | None = None


class WriteRequest:
    """The events of one HTTP request on their way to the database.

    `answer` gets one `Stored` per event, in order. If any is a `conflict` or `rejected` and the
    request is not `lenient`, nothing of it was stored.
    """

    __slots__ = ("answer", "body_bytes", "events", "lenient", "refused")

    def __init__(self, events: Sequence[PreparedEvent], body_bytes: int, *, lenient: bool) -> None:
        self.events = events
        self.lenient = lenient
        self.body_bytes = body_bytes
        self.refused: dict[int, Stored] = {}  # Found out by a failed transaction, by position.
        self.answer: asyncio.Future[list[Stored]] = asyncio.get_running_loop().create_future()

    def resolve(self, results: list[Stored]) -> None:
        """Give the answer, if anybody still waits for it."""
        if not self.answer.done():
            self.answer.set_result(results)

    def fail(self, error: Exception) -> None:
        """Give an error as the answer, if anybody still waits for it."""
        if not self.answer.done():
            self.answer.set_exception(error)


class WriteQueue:
    """Requests waiting for a writer, bounded by their number and by the bytes of their bodies."""

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._requests: deque[WriteRequest] = deque()
        self._takers: deque[asyncio.Future[None]] = deque()
        self.closed = False

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, request: WriteRequest) -> None:
        """Queue a request.

        Raises:
            Problem: the queue is full or closed; at once, never by waiting.
        """
        if self.closed:
            raise shutting_down()
        if len(self._requests) >= self._max_requests:
            metrics.REFUSALS.labels("max_queued_requests").inc()
            raise Problem(
                "overloaded",
                "the write queue is full; nothing of this request was stored, send it again",
                retry_after=RETRY_AFTER_SECONDS,
            )
        self._requests.append(request)
        self._wake_one()

    async def take(self) -> list[WriteRequest]:
        """The next group; an empty list once the queue is closed and empty."""
        while not self._requests:
            if self.closed:
                return []
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(waiter)
            await waiter
        group = [self._requests.popleft()]
        size = len(group[0].events)
        while self._requests and size + len(self._requests[0].events) <= GROUP_EVENTS:
            group.append(self._requests.popleft())
            size += len(group[-1].events)
        if self._requests:
            self._wake_one()
        return group

    def close(self) -> None:
        """Take no more; let the writers finish what is queued."""
        self.closed = True
        while self._takers:
            self._wake_one()

    def fail_all(self, error: Problem) -> None:
        """Answer everything that is queued with an error."""
        while self._requests:
            self._requests.popleft().fail(error)

    def _wake_one(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return


def shutting_down() -> Problem:
    """The answer to a request that comes, or is still waiting, at the end."""
    return Problem(
        "shutting-down",
        "the service is shutting down; nothing of this request was stored, send it again",
        retry_after=RETRY_AFTER_SECONDS,
    )
