"""The audit store: `record()` an event, and from then on it cannot be lost."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from kubernaut.audit._endpoint import Endpoint
from kubernaut.audit._entries import Quarantined
from kubernaut.audit._errors import (
    InvalidEventError,
    JournalError,
    NotDeliveredError,
    StoreClosedError,
)
from kubernaut.audit._event import AuditEvent
from kubernaut.audit._lifecycle import look_after
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._modes import Mode, Modes, checked
from kubernaut.audit._progress import Progress
from kubernaut.audit._receipt import Receipt
from kubernaut.audit._session import Append, Session, Settings
from kubernaut.audit._snapshot import snapshot
from kubernaut.audit._state import Flushed, StoreHealth, StoreStats

log = logging.getLogger("kubernaut.audit")

Event = AuditEvent | Mapping[str, Any]

_NEARLY_FULL: Final = 0.8
_LEFT_SECONDS: Final = 0.1


class AuditStore:
    """Records events durably and delivers them in the background, exactly once.

    It may be used from any thread, and from asyncio with the methods that begin with `a`. It
    starts no thread before there is something to do, and two at most. Use it in a `with` or
    `async with` block, or call `close`; a store that is not closed loses nothing either.

    Args:
        endpoint: where DataStorage is; a text is its URL.
        directory: where the journal is kept: a local disk that outlives the process. Several
            processes may share a directory; each has a journal of its own in it.
        mode: how sure `record` is before it returns (see `Mode`).
        modes: another mode for classes of events, by patterns of their type, as in
            `{"workflowexecution.*": "strict"}`; the first that matches counts.
        max_bytes: the journal's cap.
        full_timeout: seconds `record` waits for room in a full journal before it raises.
        strict_timeout: seconds a strict `record` waits for the acknowledgement.
        degraded_after: age in seconds of the oldest pending event from which health is degraded.
        limits: how batches are made and retried.
        clock: Unix time in seconds, for ages and for the order of journals.

    Raises:
        JournalError: the directory cannot be used.
        ValueError: a URL, mode or limit that makes no sense.
    """

    def __init__(  # noqa: PLR0913  (keyword-only, with defaults)
        self,
        endpoint: Endpoint | str,
        directory: Path | str,
        *,
        mode: Mode = "durable",
        modes: Mapping[str, Mode] | None = None,
        max_bytes: int = 1024**3,
        full_timeout: float = 5.0,
        strict_timeout: float = 10.0,
        degraded_after: float = 60.0,
        limits: DeliveryLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}, and must be at least 1")
        times = (full_timeout, strict_timeout, degraded_after)
        if min(times) < 0:
            raise ValueError(
                "full_timeout, strict_timeout and degraded_after are"
                f" {', '.join(f'{seconds:g}' for seconds in times)}, and must not be negative"
            )
        self._settings = Settings(
            endpoint=Endpoint(endpoint) if isinstance(endpoint, str) else endpoint,
            directory=Path(directory),
            max_bytes=max_bytes,
            full_timeout=full_timeout,
            limits=(limits or DeliveryLimits()).checked(),
            clock=clock,
        )
        self._modes = Modes(mode, modes or {})
        self._strict_timeout = strict_timeout
        self._degraded_after = degraded_after
        self._closed = False
        self._last: StoreStats | None = None
        self._begin()
        self._opened()
        look_after(self)

    def _begin(self) -> None:
        """The state of a process that has not used the store yet."""
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._recorders: set[object] = set()
        self._left = Progress()  # Of those who record, by `close`.

    def _opened(self) -> Session:
        with self._lock:
            if self._session is None:
                if self._closed:
                    raise StoreClosedError("the audit store is closed")
                self._session = Session(self._settings)
            return self._session

    def record(self, event: Event, *, mode: Mode | None = None, own_id: bool = False) -> Receipt:
        """Record an event; when this returns it is in the journal and on disk (see `Mode`).

        Args:
            event: an event or a mapping with its members; a copy is taken at once. Id and time
                are given where missing.
            mode: how sure to be, instead of what the store says for its class.
            own_id: the id is a function of what happened, made by the caller; a server that has
                it with other content (say, from before an upgrade) is taken to have the event.

        Returns:
            Its receipt; the same one for the same event while it is pending.

        Raises:
            InvalidEventError: the event breaks the contract; it is kept in quarantine. As
                `IdReusedError`: its id is pending with other content.
            JournalFullError: the journal stayed at its cap, or its disk full, for `full_timeout`.
            JournalError: the disk failed.
            NotDeliveredError: a strict event was not stored by the server in time, or refused.
            StoreClosedError: the store is closed.
        """
        with self._admitted() as session:
            try:
                append, wanted = self._prepared(event, mode, own_id=own_id)
            except InvalidEventError as invalid:
                session.refuse(invalid)
                raise
            receipt = session.receipts.get(append.shot.event_id, append.shot.correlation_id)
            if wanted == "best_effort":
                session.commit_later(append)
            else:
                session.commit(append)
        session.deliver(urgent=wanted == "strict")
        if wanted == "strict":
            receipt.wait(self._strict_timeout)
            self._make_sure(receipt)
        return receipt

    async def arecord(
        self, event: Event, *, mode: Mode | None = None, own_id: bool = False
    ) -> Receipt:
        """`record` for asyncio: the loop goes on while the disk works; one commit serves all."""
        with self._admitted() as session:
            try:
                append, wanted = self._prepared(event, mode, own_id=own_id)
            except InvalidEventError as invalid:
                await session.on_thread(partial(session.refuse, invalid))
                raise
            receipt = session.receipts.get(append.shot.event_id, append.shot.correlation_id)
            if wanted == "best_effort":
                session.commit_later(append)
            else:
                await session.commit_async(append)
        session.deliver(urgent=wanted == "strict")
        if wanted == "strict":
            await receipt.wait_async(self._strict_timeout)
            self._make_sure(receipt)
        return receipt

    @contextmanager
    def _admitted(self) -> Iterator[Session]:
        """Let somebody in who records; `close` waits until they are out again."""
        recorder = object()
        try:
            with self._lock:
                if self._closed:
                    raise StoreClosedError("the audit store is closed")
                self._recorders.add(recorder)
            yield self._opened()
        finally:
            # In one step: a Ctrl-C comes before it, and it is done all the same, or after it.
            self._recorders.discard(recorder)
            if self._closed:
                self._left.notify()

    def _prepared(self, event: Event, mode: Mode | None, *, own_id: bool) -> tuple[Append, Mode]:
        shot = snapshot(event)
        wanted = self._modes.of(shot.event_type) if mode is None else checked(mode)
        return Append(shot, own_id), wanted

    def _make_sure(self, receipt: Receipt) -> None:
        if receipt.outcome in (None, "quarantined"):
            raise NotDeliveredError(receipt, self._strict_timeout)

    def subscribe(self, callback: Callable[[Receipt], None]) -> Callable[[], None]:
        """Be told of the outcome of every event, from the sending thread.

        Those of earlier processes, whose journals this store has taken over, are among them.

        Returns:
            A function that ends the subscription.
        """
        return self._opened().receipts.subscribe(callback)

    def quarantined(self, event_ids: Iterable[UUID] | None = None) -> list[Quarantined]:
        """The events that were refused, or those of these ids.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._opened().journal.quarantined(event_ids)

    def retry(self, event_ids: Iterable[UUID] | None = None) -> int:
        """Send events from quarantine again, all or those of these ids.

        Returns:
            How many will be sent.

        Raises:
            JournalError: none will.
        """
        session = self._opened()
        moved = session.journal.retry(event_ids)
        session.deliver(urgent=True)
        return moved

    def flush(self, timeout: float | None = None) -> Flushed:
        """Wait until what was recorded before this call is delivered or refused.

        Args:
            timeout: seconds to wait at most; None: for as long as it takes.

        Returns:
            The truth at that moment: `pending` is not 0 if the time was not enough.

        Raises:
            JournalError: the journal cannot be read or written.
            StoreClosedError: the store is closed.
        """
        session = self._in_use()
        mark = session.mark()
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = session.progress.count
        while session.is_pending(mark) and session.progress.wait(seen, deadline):
            seen = session.progress.count
        return self._told()

    async def aflush(self, timeout: float | None = None) -> Flushed:  # noqa: ASYNC109
        """`flush` for asyncio."""
        session = self._in_use()
        mark = await session.on_thread(session.mark)
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = session.progress.count
        while await session.on_thread(partial(session.is_pending, mark)):
            if not await session.progress.wait_async(seen, deadline):
                break
            seen = session.progress.count
        return self._told()

    def _in_use(self) -> Session:
        if self._last is not None:
            raise StoreClosedError("the audit store is closed")
        return self._opened()

    def _told(self) -> Flushed:
        stats = self.stats()
        return Flushed(stats.delivered, stats.pending, stats.quarantined)

    def close(self, timeout: float = 5.0) -> Flushed:
        """Take no more, deliver for at most `timeout` seconds, and leave the rest in the journal.

        Quick and safe at any time: what is pending is delivered by the next process that opens a
        store on this directory. Calling it again does nothing.
        """
        with self._lock:
            was_open, self._closed = not self._closed, True
            session = self._session
        if was_open and session is not None:
            self._wait_for_recorders(session)
            try:
                self.flush(timeout)
            except JournalError as error:
                log.error("the audit journal failed while closing: %s", error)  # noqa: TRY400
            session.stop(timeout)
            self._last = session.stats()
            session.close()
            if self._last.pending:
                log.warning(
                    "%d audit events stay in the journal for the next start", self._last.pending
                )
        if session is None:  # A forked child that has not used it.
            return Flushed(0, 0, 0)
        return self._told()

    def _wait_for_recorders(self, session: Session) -> None:
        session.ending = True
        session.progress.notify()  # Whoever waits for room waits no longer.
        while True:
            seen = self._left.count
            if not self._recorders:
                return
            # Not for ever: a Ctrl-C may have come between leaving and saying so.
            self._left.wait(seen, time.monotonic() + _LEFT_SECONDS)

    async def aclose(self, timeout: float = 5.0) -> Flushed:  # noqa: ASYNC109
        """`close` for asyncio."""
        from asyncio import to_thread  # noqa: PLC0415  (importing must be quick)

        return await to_thread(self.close, timeout)

    def stats(self) -> StoreStats:
        """What the store has done and holds; after `close`, as it was then."""
        return self._opened().stats() if self._last is None else self._last

    def health(self) -> StoreHealth:
        """Healthy while the disk works, the journal has room and events are delivered in time.

        In time is by the age of the oldest pending event, not by whether the last request failed.
        """
        stats = self.stats()
        reason = self._opened().trouble() if self._last is None else None
        if reason is None and stats.pending_bytes > _NEARLY_FULL * stats.max_bytes:
            reason = f"the journal is {stats.pending_bytes / stats.max_bytes:.0%} full"
        if reason is None and stats.oldest_pending_seconds > self._degraded_after:
            reason = stats.last_error or "events wait to be delivered"
        return StoreHealth(
            "healthy" if reason is None else "degraded", stats.oldest_pending_seconds, reason
        )

    def durations(self) -> dict[str, tuple[list[int], float]]:
        """Histograms since the start, for metrics: `commit` of the journal, and `request`.

        Returns:
            For each the count per bucket, as in `BOUNDS` and one more, and the sum in seconds.
        """
        return self._opened().durations()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def before_fork(self) -> Callable[[], None]:
        """Keep every thread out of SQLite; the function that is returned lets them in again."""
        return (lambda: None) if self._session is None else self._session.rest()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's journal alone, and begin anew."""
        if self._session is not None:
            self._session.leave_to_parent()
        self._begin()
