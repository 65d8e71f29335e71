"""The audit store: `record()` an event, and from then on it cannot be lost."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self
from uuid import UUID

from kubernaut.audit._event import AuditEvent
from kubernaut.audit._journal import Command, JournalError, JournalFullError, Outcome
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._receipt import Fate, Receipt
from kubernaut.audit._snapshot import InvalidEventError, Snapshot, snapshot
from kubernaut.audit._spool import Spool
from kubernaut.audit._transport import Endpoint

if TYPE_CHECKING:  # These load asyncio, and are loaded at first use: importing must be quick.
    from asyncio import AbstractEventLoop
    from concurrent.futures import ThreadPoolExecutor

    from kubernaut.audit._delivery import Delivery

log = logging.getLogger("kubernaut.audit")

Mode = Literal["best_effort", "durable", "strict"]

_FATES: Final[Mapping[str, Fate]] = {
    "delivered": "created",
    "duplicate": "duplicate",
    "conflict_own": "duplicate",
    "unconfirmed": "unconfirmed",
    "quarantined": "quarantined",
}


class StoreClosedError(Exception):
    """The store is closed; the event was not recorded."""


class NotDeliveredError(Exception):
    """A strict event was not acknowledged in time; it is in the journal and will be delivered.

    Attributes:
        receipt: to wait on.
    """

    def __init__(self, receipt: Receipt, seconds: float) -> None:
        super().__init__(f"event {receipt.event_id} was not acknowledged within {seconds:g} s")
        self.receipt = receipt


class Flushed(NamedTuple):
    """What `flush` and `close` found when they returned.

    Events delivered (counted over restarts), still in the journal, and in quarantine.
    """

    delivered: int
    pending: int
    quarantined: int


class StoreStats(NamedTuple):
    """Counts that survive restarts.

    `recorded = delivered + pending + quarantined` always, where `delivered` takes in duplicates,
    own conflicts and unconfirmed, which are given apart too.
    """

    recorded: int
    delivered: int
    pending: int
    quarantined: int
    duplicates: int
    own_conflicts: int
    unconfirmed: int
    pending_bytes: int
    oldest_pending_seconds: float
    last_error: str | None


class StoreHealth(NamedTuple):
    """`healthy`, or `degraded` once events wait longer than `degraded_after` seconds."""

    status: Literal["healthy", "degraded"]
    oldest_pending_seconds: float
    reason: str | None


class AuditStore:
    """Records events durably and delivers them in the background, exactly once.

    Args:
        endpoint: where DataStorage is; a text is its URL.
        directory: where the journal is kept, on a disk that outlives the process.
        mode: how sure `record` is before it returns, where the call does not say:
            `best_effort` (survives nothing until the next commit, some milliseconds),
            `durable` (survives process kill and, with an honest disk, OS crash), or
            `strict` (durable, and the server has acknowledged it).
        max_bytes: the journal's cap.
        full_timeout: seconds `record` waits for room in a full journal before it raises.
        strict_timeout: seconds a strict `record` waits for the acknowledgement.
        degraded_after: age in seconds of the oldest pending event from which health is degraded.
        limits: how batches are made and retried.

    Raises:
        JournalError: the directory cannot be used.
    """

    def __init__(  # noqa: PLR0913  (keyword-only, with defaults)
        self,
        endpoint: Endpoint | str,
        directory: Path | str,
        *,
        mode: Mode = "durable",
        max_bytes: int = 1024**3,
        full_timeout: float = 5.0,
        strict_timeout: float = 10.0,
        degraded_after: float = 60.0,
        limits: DeliveryLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._directory = Path(directory)
        self._mode: Mode = mode
        self._max_bytes = max_bytes
        self._full_timeout = full_timeout
        self._strict_timeout = strict_timeout
        self._degraded_after = degraded_after
        self._limits = limits or DeliveryLimits()
        self._clock = clock
        self._subscribers: list[Callable[[Receipt], None]] = []
        self._closed = False
        self._last = Flushed(0, 0, 0)
        self._reset()
        self._open()
        _STORES.add(self)

    def _reset(self) -> None:
        self._spool: Spool | None = None
        self._delivery: Delivery | None = None
        self._committer: ThreadPoolExecutor | None = None
        self._receipts: weakref.WeakValueDictionary[UUID, Receipt] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._active = 0
        self.attempts: dict[str, int] = {}

    def _open(self) -> Spool:
        with self._lock:
            if self._spool is None:
                self._spool = Spool(self._directory, self._max_bytes, self._clock)
                self._spool.adopt_orphans()
        if self._spool.journal.pending_events:
            self._deliver()
        return self._spool

    def _deliver(self, *, urgent: bool = False) -> None:
        """Wake the sending thread; start it at first use."""
        delivery = self._delivery
        if delivery is None:
            from kubernaut.audit._delivery import Delivery  # noqa: PLC0415

            with self._lock:
                if self._delivery is None and self._spool is not None:
                    self._delivery = Delivery(
                        self._spool.journal,
                        self._endpoint,
                        self._limits,
                        settled=self._on_settled,
                        attempted=self._on_attempt,
                        chores=self._chores,
                    )
                    self._delivery.start()
                delivery = self._delivery
        if delivery is not None:
            delivery.wake(urgent=urgent)

    def record(
        self,
        event: AuditEvent | Mapping[str, Any],
        *,
        mode: Mode | None = None,
        own_id: bool = False,
    ) -> Receipt:
        """Record an event; when this returns it is in the journal and on disk (see `mode`).

        Args:
            event: an event or a mapping with its members; a copy is taken at once. Id and time
                are given where missing.
            mode: how sure to be, instead of the store's.
            own_id: the id is a function of what happened, made by the caller; a server that has
                it with other content (say, from before an upgrade) is taken to have the event.

        Raises:
            InvalidEventError: the event breaks the contract; it is kept in quarantine.
            IdReusedError: its id is pending with other content.
            JournalFullError: the journal stayed at its cap for `full_timeout`.
            JournalError: the disk failed.
            NotDeliveredError: a strict event was not acknowledged in time.
            StoreClosedError: the store is closed.
        """
        shot = self._enter(event)
        try:
            receipt, command = self._append(shot, own_id=own_id)
            wanted = mode or self._mode
            if wanted == "best_effort":
                self._commit_later(command)
            else:
                self._commit(shot, command, own_id=own_id)
        finally:
            self._leave()
        self._deliver(urgent=wanted == "strict")
        if wanted == "strict" and receipt.wait(self._strict_timeout) is None:
            raise NotDeliveredError(receipt, self._strict_timeout)
        return receipt

    async def arecord(
        self,
        event: AuditEvent | Mapping[str, Any],
        *,
        mode: Mode | None = None,
        own_id: bool = False,
    ) -> Receipt:
        """`record` for asyncio: the loop goes on while the disk works; one commit serves all."""
        shot = self._enter(event)
        try:
            receipt, command = self._append(shot, own_id=own_id)
            wanted = mode or self._mode
            if wanted == "best_effort":
                self._commit_later(command)
            else:
                loop = _running_loop()
                await loop.run_in_executor(
                    self._committing(), lambda: self._commit(shot, command, own_id=own_id)
                )
        finally:
            self._leave()
        self._deliver(urgent=wanted == "strict")
        if wanted == "strict" and await receipt.wait_async(self._strict_timeout) is None:
            raise NotDeliveredError(receipt, self._strict_timeout)
        return receipt

    def _enter(self, event: AuditEvent | Mapping[str, Any]) -> Snapshot:
        with self._lock:
            if self._closed:
                raise StoreClosedError("the audit store is closed")
            self._active += 1
        try:
            self._open()
            return snapshot(event)
        except InvalidEventError as invalid:
            try:
                self._quarantine(invalid)
            finally:
                self._leave()
            raise
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        with self._lock:
            self._active -= 1
            self._settled.notify_all()

    def _quarantine(self, invalid: InvalidEventError) -> None:
        log.error("audit event %s refused: %s", invalid.event_id, invalid)
        self._open().journal.quarantine_new(
            invalid.event_id, invalid.correlation_id, invalid.body, f"invalid: {invalid}"
        )

    def _append(self, shot: Snapshot, *, own_id: bool) -> tuple[Receipt, Command[bool]]:
        with self._lock:
            receipt = self._receipts.get(shot.event_id)
            if receipt is None:
                receipt = Receipt(shot.event_id, shot.correlation_id)
                self._receipts[shot.event_id] = receipt
        command = self._open().journal.append(
            shot.event_id, shot.correlation_id, shot.digest, shot.body, own_id=own_id
        )
        return receipt, command

    def _commit(self, shot: Snapshot, command: Command[bool], *, own_id: bool) -> None:
        journal = self._open().journal
        deadline = time.monotonic() + self._full_timeout
        while True:
            try:
                journal.commit(command)
            except JournalFullError:
                if not self._wait_for_room(deadline):
                    raise
                command = journal.append(
                    shot.event_id, shot.correlation_id, shot.digest, shot.body, own_id=own_id
                )
            else:
                return

    def _wait_for_room(self, deadline: float) -> bool:
        """Wait until something was settled; False once the deadline has passed."""
        self._deliver()
        with self._settled:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._settled.wait(remaining)
        return True

    def _committing(self) -> "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with self._lock:
            if self._committer is None:
                self._committer = ThreadPoolExecutor(1, thread_name_prefix="audit-commit")
            return self._committer

    def _commit_later(self, command: Command[bool]) -> None:
        journal = self._open().journal

        def commit() -> None:
            try:
                journal.commit(command)
            except Exception:
                log.exception("AUDIT DATA LOSS: a best-effort event was not journalled")
            else:
                self._deliver()

        self._committing().submit(commit)

    def _on_attempt(self, outcome: str) -> None:
        self.attempts[outcome] = self.attempts.get(outcome, 0) + 1

    def _on_settled(self, outcomes: list[Outcome]) -> None:
        receipts = []
        with self._settled:
            for entry, counter, _ in outcomes:
                receipt = self._receipts.pop(entry.event_id, None)
                if receipt is None and self._subscribers:
                    receipt = Receipt(entry.event_id, entry.correlation_id)
                if receipt is not None:
                    receipts.append((receipt, _FATES[counter]))
            self._settled.notify_all()
            subscribers = list(self._subscribers)
        for receipt, fate in receipts:
            receipt.resolve(fate)
            for subscriber in subscribers:
                try:
                    subscriber(receipt)
                except Exception:
                    log.exception("a subscriber of the audit store failed")

    def _chores(self) -> bool:
        """From the sending thread, now and then: adopt journals of processes that died."""
        spool = self._spool
        if spool is None:
            return False
        try:
            spool.journal.refresh()
            return spool.adopt_orphans() > 0
        except JournalError as error:
            log.error("the journals could not be looked after: %s", error)  # noqa: TRY400
            return False

    def subscribe(self, callback: Callable[[Receipt], None]) -> Callable[[], None]:
        """Be told of the outcome of every event, from the sending thread.

        Returns:
            A function that ends the subscription.
        """
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    def flush(self, timeout: float | None = None) -> Flushed:
        """Wait until what was recorded before this call is delivered or refused.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The truth at that moment: `pending` is not 0 if the time was not enough.
        """
        journal = self._open().journal
        self._deliver(urgent=True)
        journal.run(lambda _: None)  # Best-effort events that still wait for their commit.
        mark = journal.last_position()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._settled:
            while journal.has_pending_up_to(mark):
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    break
                self._settled.wait(remaining)
        return self._flushed()

    async def aflush(self, timeout: float | None = None) -> Flushed:  # noqa: ASYNC109
        """`flush` for asyncio."""
        return await _running_loop().run_in_executor(self._committing(), self.flush, timeout)

    def _flushed(self) -> Flushed:
        stats = self.stats()
        return Flushed(stats.delivered, stats.pending, stats.quarantined)

    def close(self, timeout: float = 5.0) -> Flushed:
        """Take no more, deliver for at most `timeout` seconds, and leave the rest in the journal.

        Quick and safe at any time: what is pending is delivered by the next process that opens a
        store on this directory. Calling it again does nothing.
        """
        with self._settled:
            if self._closed:
                return self._last
            self._closed = True
            while self._active:
                self._settled.wait()
        self.flush(timeout)
        if self._delivery is not None:
            self._delivery.stop(min(timeout, 2.0))
        if self._committer is not None:
            self._committer.shutdown()
        self._last = self._flushed()
        if self._spool is not None:
            self._spool.close()
        if self._last.pending:
            log.warning(
                "%d audit events stay in the journal for the next start", self._last.pending
            )
        return self._last

    async def aclose(self, timeout: float = 5.0) -> Flushed:  # noqa: ASYNC109
        """`close` for asyncio."""
        return await _running_loop().run_in_executor(None, self.close, timeout)

    def stats(self) -> StoreStats:
        """What the store has done and holds."""
        journal = self._open().journal
        counters = journal.counters()
        oldest = journal.oldest_recorded_at()
        duplicates = counters.get("duplicate", 0)
        own = counters.get("conflict_own", 0)
        unconfirmed = counters.get("unconfirmed", 0)
        return StoreStats(
            recorded=counters.get("recorded", 0),
            delivered=counters.get("delivered", 0) + duplicates + own + unconfirmed,
            pending=journal.pending_events,
            quarantined=counters.get("quarantined", 0),
            duplicates=duplicates,
            own_conflicts=own,
            unconfirmed=unconfirmed,
            pending_bytes=journal.pending_bytes,
            oldest_pending_seconds=max(0.0, self._clock() - oldest) if oldest is not None else 0.0,
            last_error=self._delivery.last_error if self._delivery else None,
        )

    def health(self) -> StoreHealth:
        """Healthy while events are delivered in time, by the age of the oldest pending one."""
        try:
            stats = self.stats()
        except JournalError as error:
            return StoreHealth("degraded", 0.0, str(error))
        if stats.oldest_pending_seconds > self._degraded_after:
            reason = stats.last_error or "events wait to be delivered"
            return StoreHealth("degraded", stats.oldest_pending_seconds, reason)
        return StoreHealth("healthy", stats.oldest_pending_seconds, None)

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

    def after_fork(self) -> None:
        """In a forked child: leave the parent's journal alone and open one of its own."""
        if self._spool is not None:
            # Never closed here: SQLite would tidy up files that the parent still uses.
            _PARENTS.append(self._spool)
            self._spool.leave_to_parent()
        self._reset()


def _running_loop() -> "AbstractEventLoop":
    from asyncio import get_running_loop  # noqa: PLC0415

    return get_running_loop()


_STORES: Final[weakref.WeakSet[AuditStore]] = weakref.WeakSet()
_PARENTS: Final[list[Spool]] = []


def _after_fork() -> None:
    for store in list(_STORES):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)
