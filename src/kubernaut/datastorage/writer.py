"""Group commit: queued requests become transactions; an answer is given only after the commit.

Invariants:
* A request is stored whole or, where the client asked for it, per event; never by halves.
* A writer takes what is queued, without waiting for more: load makes the groups.
* Heads are locked in sorted order at the start of a transaction, so that the `seq` of a chain has
  no gap, whoever else writes to it, and writers never deadlock on them.
* What one request does wrong never fails another: a group that the database refuses is done
  again request by request.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import asyncpg
import structlog

from kubernaut.audit.wire import Status
from kubernaut.datastorage import metrics, sql
from kubernaut.datastorage.chain import EVENT_COLUMNS, link_hash, link_prefix
from kubernaut.datastorage.database import (
    RETRY_AFTER_SECONDS,
    Connection,
    ConnectionSettings,
    Outage,
    connect_writer,
    outage,
    unavailable,
)
from kubernaut.datastorage.intake import PreparedEvent
from kubernaut.datastorage.problems import Problem

log = structlog.get_logger(__name__)

GROUP_EVENTS: Final = 300
"""A transaction takes no further request once it holds this many events (measured optimum)."""

CONTENTION_RETRIES: Final = 8
_EVENT_COPY_COLUMNS: Final = (*EVENT_COLUMNS, "event_date")
_CHAIN_COLUMNS: Final = (
    "seq",
    "event_timestamp",
    "event_id",
    "correlation_id",
    "hash",
    "event_digest",
    "request_digest",
)


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
            raise Problem(
                "shutting-down", "the service is shutting down", retry_after=RETRY_AFTER_SECONDS
            )
        if len(self._requests) >= self._max_requests:
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


class OutageSink(Protocol):
    """Where a writer tells how the database is."""

    def __call__(self, found: Outage | None) -> None:
        """Take note of an outage, or of a success (None)."""


class _Plan:
    """What one transaction will write, worked out while the heads are locked."""

    def __init__(self) -> None:
        self.heads: dict[str, tuple[int, bytes, bytes]] = {}
        self.stored: dict[tuple[str, UUID], bytes] = {}
        self.placed: dict[tuple[UUID, date], str] = {}
        self.events: list[tuple[Any, ...]] = []
        self.links: list[tuple[Any, ...]] = []
        self.moved: set[str] = set()

    def admit(self, request: WriteRequest) -> list[Stored]:
        """Decide on a request's events and add what is to be written."""
        results = [
            request.refused.get(position) or self._status(event)
            for position, event in enumerate(request.events)
        ]
        refused = any(result.status in ("conflict", "rejected") for result in results)
        if refused and not request.lenient:
            self._forget(results)
            return results
        for result in results:
            if result.status == "created":
                self._append(result.event)
        return results

    def _status(self, event: PreparedEvent) -> Stored:
        key = (event.correlation_id, event.event_id)
        known = self.stored.get(key)
        if known is not None:
            if known == event.request_digest:
                return Stored("duplicate", event)
            return Stored("conflict", event, "this event_id is stored with other content")
        place = (event.event_id, event.event_date)
        if place in self.placed:
            return Stored("conflict", event, OTHER_CORRELATION)
        self.stored[key] = event.request_digest
        self.placed[place] = event.correlation_id
        return Stored("created", event)

    def _forget(self, results: list[Stored]) -> None:
        for result in results:
            if result.status == "created":
                event = result.event
                del self.stored[(event.correlation_id, event.event_id)]
                del self.placed[(event.event_id, event.event_date)]

    def _append(self, event: PreparedEvent) -> None:
        correlation_id = event.correlation_id
        seq, previous, prefix = self.heads[correlation_id]
        seq += 1
        hash_ = link_hash(prefix, seq, previous, event.event_digest)
        self.heads[correlation_id] = (seq, hash_, prefix)
        self.moved.add(correlation_id)
        self.events.append(event.row)
        self.links.append(
            (
                seq,
                event.row[0],
                event.event_id,
                correlation_id,
                hash_,
                event.event_digest,
                event.request_digest,
            )
        )


OTHER_CORRELATION: Final = "this event_id is stored under another correlation_id"


class Writer:
    """Takes groups from the queue and commits each in one transaction on its own connection."""

    def __init__(self, queue: WriteQueue, settings: ConnectionSettings, report: OutageSink) -> None:
        self._queue = queue
        self._settings = settings
        self._report = report
        self._connection: Connection | None = None
        self._days: set[date] = set()  # Those whose partition is known to exist.

    async def run(self) -> None:
        """Write until the queue is closed and empty."""
        try:
            while group := await self._queue.take():
                await self._write(group)
        finally:
            await self._disconnect()

    async def _write(self, group: list[WriteRequest]) -> None:
        group = [request for request in group if not request.answer.done()]
        if not group:
            return
        try:
            await self._commit_with_retries(group)
        except asyncio.CancelledError:
            await self._disconnect()
            for request in group:
                request.fail(Problem("shutting-down", "the service is shutting down"))
            raise
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            await self._isolate(group, error)
        except Exception as error:  # noqa: BLE001  (every request must get its answer)
            await self._fail(group, error)

    async def _fail(self, group: list[WriteRequest], error: Exception) -> None:
        found = outage(error)
        if found is None:
            log.error("write failed", exc_info=error)
            answer: Exception = Problem("internal-error", "the write failed; see the log")
        else:
            self._report(found)
            log.warning("database unavailable", state=found.state, reason=found.reason)
            answer = unavailable(found)
        metrics.WRITE_FAILURES.labels(found.state if found else "defect").inc()
        await self._disconnect()
        for request in group:
            request.fail(answer)

    async def _commit_with_retries(self, group: list[WriteRequest]) -> None:
        attempt = 0
        while True:
            try:
                await self._commit(group)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                attempt += 1
                if attempt == CONTENTION_RETRIES:
                    raise
                metrics.WRITE_RETRIES.labels("contention").inc()
                await asyncio.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311
            except asyncpg.CheckViolationError as error:
                # "no partition of relation found for row": it went since we made sure of it.
                if error.constraint_name is not None or attempt:
                    raise
                attempt += 1
                self._days.clear()
            else:
                return

    async def _commit(self, group: list[WriteRequest]) -> None:
        connection = await self._connected()
        await self._ensure_partitions(connection, group)
        plan = _Plan()
        with metrics.WRITE_DURATION.time():
            await connection.execute("BEGIN")
            try:
                await self._lock(connection, group, plan)
                answers = [plan.admit(request) for request in group]
                if plan.events:
                    await self._store(connection, plan)
                await connection.execute("COMMIT" if plan.events else "ROLLBACK")
            except asyncpg.PostgresError:
                await self._rollback(connection)
                raise
        self._report(None)
        metrics.GROUP_EVENTS.observe(len(plan.events))
        for request, answer in zip(group, answers, strict=True):
            request.resolve(answer)

    async def _rollback(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._disconnect()  # The error that led here is the one to tell of.

    async def _lock(self, connection: Connection, group: list[WriteRequest], plan: _Plan) -> None:
        correlations: set[str] = set()
        asked: list[PreparedEvent] = []
        for request in group:
            for event in request.events:
                correlations.add(event.correlation_id)
                if event.repeatable:
                    asked.append(event)
        records = await connection.fetch(
            sql.LOCK_HEADS,
            list(correlations),
            [event.correlation_id for event in asked],
            [event.event_id for event in asked],
        )
        for correlation_id, seq, hash_, event_id, request_digest in records:
            if event_id is None:
                plan.heads[correlation_id] = (seq, hash_, link_prefix(correlation_id))
            else:
                plan.stored[(correlation_id, event_id)] = request_digest

    async def _store(self, connection: Connection, plan: _Plan) -> None:
        await connection.copy_records_to_table(
            "audit_events", records=plan.events, columns=_EVENT_COPY_COLUMNS
        )
        await connection.copy_records_to_table(
            "audit_chain", records=plan.links, columns=_CHAIN_COLUMNS
        )
        moved = [(name, plan.heads[name]) for name in plan.moved]
        await connection.execute(
            sql.MOVE_HEADS,
            [name for name, _ in moved],
            [head[0] for _, head in moved],
            [head[1] for _, head in moved],
        )

    async def _isolate(self, group: list[WriteRequest], error: asyncpg.PostgresError) -> None:
        """Find out which request of a refused group is at fault, then which of its events."""
        if len(group) > 1:
            metrics.WRITE_RETRIES.labels("isolation").inc()
            for request in group:
                await self._write([request])
            return
        request = group[0]
        try:
            found = await self._find_refused(request, error)
        except Exception as inner:  # noqa: BLE001  (every request must get its answer)
            await self._fail(group, inner)
            return
        request.refused.update(found)
        await self._write(group)

    async def _find_refused(
        self, request: WriteRequest, error: asyncpg.PostgresError
    ) -> dict[int, Stored]:
        """The events that the database refuses; at least one, so that isolation comes to an end."""
        open_events = {
            position: event
            for position, event in enumerate(request.events)
            if position not in request.refused
        }
        if isinstance(error, asyncpg.UniqueViolationError):
            taken = await self._placed_elsewhere(list(open_events.values()))
            if found := {
                position: Stored("conflict", event, OTHER_CORRELATION)
                for position, event in open_events.items()
                if (event.event_id, event.correlation_id) in taken
            }:
                return found
        # Nothing that passed the checks should come here; whatever does is refused, not lost.
        log.error("the database refuses an event", error=type(error).__name__)
        return {
            position: Stored("rejected", event, "the database refuses this event")
            for position, event in open_events.items()
            if len(open_events) == 1 or await self._refuses(event)
        } or {
            position: Stored("rejected", event, "the database refuses these events together")
            for position, event in open_events.items()
        }

    async def _refuses(self, event: PreparedEvent) -> bool:
        connection = await self._connected()
        await connection.execute("BEGIN")
        try:
            await connection.copy_records_to_table(
                "audit_events", records=[event.row], columns=_EVENT_COPY_COLUMNS
            )
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError):
            return True
        finally:
            await connection.execute("ROLLBACK")
        return False

    async def _placed_elsewhere(self, events: list[PreparedEvent]) -> set[tuple[UUID, str]]:
        connection = await self._connected()
        records = await connection.fetch(
            sql.PLACED_ELSEWHERE,
            [event.event_id for event in events],
            [event.event_date for event in events],
            [event.correlation_id for event in events],
        )
        return {(record[0], record[1]) for record in records}

    async def _ensure_partitions(self, connection: Connection, group: list[WriteRequest]) -> None:
        days = {event.event_date for request in group for event in request.events}
        for day in days - self._days:
            await connection.execute(sql.ENSURE_PARTITION, day)
            self._days.add(day)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_writer(self._settings)
            self._days.clear()
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
