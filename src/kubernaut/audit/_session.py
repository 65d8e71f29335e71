"""What one process has of a store: its journal, its threads, its receipts.

A forked child begins a session of its own.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from kubernaut.audit._committer import Committer
from kubernaut.audit._endpoint import Endpoint
from kubernaut.audit._entries import Outcome
from kubernaut.audit._errors import IdReusedError, InvalidEventError, JournalError, JournalFullError
from kubernaut.audit._group_commit import Command
from kubernaut.audit._journal import Appended, Journal
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._measures import Buckets
from kubernaut.audit._progress import Progress
from kubernaut.audit._receipt import Receipts
from kubernaut.audit._snapshot import Snapshot
from kubernaut.audit._spool import Spool
from kubernaut.audit._state import StoreStats

if TYPE_CHECKING:  # Loaded at first use: importing must be quick.
    from kubernaut.audit._delivery import Delivery

log = logging.getLogger("kubernaut.audit")

T = TypeVar("T")

_STOP_SECONDS: Final = 2.0
_FORK_SECONDS: Final = 1.0
_LOOK_AGAIN_SECONDS: Final = 0.25
"""Room may come from elsewhere than from deliveries: somebody frees the disk."""


class Settings(NamedTuple):
    """What a store was made with; see `AuditStore`."""

    endpoint: Endpoint
    directory: Path
    max_bytes: int
    full_timeout: float
    limits: DeliveryLimits
    clock: Callable[[], float]


class Append(NamedTuple):
    """An event on its way into the journal."""

    shot: Snapshot
    own_id: bool


class Session:
    """A journal of this process's own, and what fills and empties it.

    Args:
        settings: of the store.

    Attributes:
        ending: whoever waits for room waits no longer.

    Raises:
        JournalError: the directory cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spool = Spool(settings.directory, settings.max_bytes, settings.clock)
        self._committer = Committer(self._spool.journal, self.deliver)
        self._lock = threading.Lock()
        self._delivery: Delivery | None = None
        self._dropped = 0
        self._read_error: str | None = None
        self._attempts: dict[str, int] = {}
        self._request_seconds = Buckets()
        self.progress = Progress()
        self.receipts = Receipts()
        self.ending = False
        if self.journal.tally.pending or self.journal.tally.quarantined:
            self.deliver()  # What is in quarantine may be put back, by another process too.

    @property
    def journal(self) -> Journal:
        """The journal of this process."""
        return self._spool.journal

    def deliver(self, *, urgent: bool = False) -> None:
        """Wake the sending thread; start it at first use."""
        delivery = self._delivery or self._started()
        if delivery is not None:
            delivery.wake(urgent=urgent)

    def _started(self) -> "Delivery | None":
        from kubernaut.audit._delivery import Delivery  # noqa: PLC0415

        with self._lock:
            if self._delivery is None:
                delivery = Delivery(
                    self.journal,
                    self._settings.endpoint,
                    self._settings.limits,
                    settled=self._on_settled,
                    attempted=self._on_attempt,
                    chores=self._chores,
                )
                self._delivery = delivery  # Before: after a Ctrl-C there must not be two.
                if not delivery.start():  # The next process delivers.
                    self._delivery = None
            return self._delivery

    def _on_attempt(self, outcome: str, seconds: float) -> None:
        self._attempts[outcome] = self._attempts.get(outcome, 0) + 1
        self._request_seconds.observe(seconds)

    def _on_settled(self, outcomes: list[Outcome]) -> None:
        self.receipts.settle(outcomes)
        self.progress.notify()

    def _chores(self) -> bool:
        """From the sending thread, now and then; True: older events than those read so far."""
        self.journal.refresh()
        return self._spool.adopt_orphans() > 0

    def commit(self, append: Append) -> None:
        """Put an event into the journal, and wait for the disk.

        Raises:
            IdReusedError: its id is pending with other content.
            JournalFullError: there was no room within the time for that.
            JournalError: the disk failed.
        """
        deadline = time.monotonic() + self._settings.full_timeout
        while True:
            seen = self.progress.count
            try:
                appended = self.journal.commit(self._submit(append))
            except JournalError as error:
                self._consider(error, deadline)
                self.progress.wait(seen, min(deadline, time.monotonic() + _LOOK_AGAIN_SECONDS))
            else:
                return _check(append, appended)

    async def commit_async(self, append: Append) -> None:
        """`commit` for asyncio."""
        deadline = time.monotonic() + self._settings.full_timeout
        while True:
            seen = self.progress.count
            try:
                appended = await self.on_thread(partial(self.journal.commit, self._submit(append)))
            except JournalError as error:
                self._consider(error, deadline)
                until = min(deadline, time.monotonic() + _LOOK_AGAIN_SECONDS)
                await self.progress.wait_async(seen, until)
            else:
                return _check(append, appended)

    def _submit(
        self, append: Append, failed: Callable[[BaseException], None] | None = None
    ) -> Command[Appended]:
        return self.journal.append(append.shot, own_id=append.own_id, failed=failed)

    def _consider(self, error: JournalError, deadline: float) -> None:
        """Whether it makes sense to wait for room; if not, that was it."""
        is_full = isinstance(error, JournalFullError)
        if self.ending or not is_full or time.monotonic() >= deadline:
            self._drop()
            raise error
        self.deliver()

    def commit_later(self, append: Append) -> None:
        """Put an event into the journal soon; if that fails it is lost, and logged."""

        def failed(error: BaseException) -> None:
            log.error(
                "AUDIT DATA LOSS: best-effort event %s of correlation %s was not kept: %s",
                append.shot.event_id,
                append.shot.correlation_id,
                error,
            )
            self._drop()
            self.receipts.forget(append.shot.event_id)

        self._committer.commit_later(self._submit(append, failed))

    def refuse(self, invalid: InvalidEventError) -> None:
        """Put an event that breaks the contract into quarantine.

        Raises:
            JournalError: the disk failed.
        """
        log.error(
            "audit event %s of correlation %s: refused, in quarantine: %s",
            invalid.event_id,
            invalid.correlation_id,
            invalid,
        )
        try:
            self.journal.refuse(invalid)
        except JournalError:
            self._drop()
            raise

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Do something that waits for the disk, on the thread for that."""
        from asyncio import wrap_future  # noqa: PLC0415  (importing must be quick)

        future = self._committer.submit(work)
        return work() if future is None else await wrap_future(future)

    def mark(self) -> int:
        """The position of the newest event, once all that were recorded have one.

        Raises:
            JournalError: the journal cannot be written.
        """
        self.journal.run(lambda _: None)  # Best-effort events that still wait for their commit.
        self.deliver(urgent=True)
        return self.journal.tally.last_position

    def is_pending(self, mark: int) -> bool:
        """Whether an event at or before a mark is pending.

        Raises:
            JournalError: the journal cannot be read.
        """
        oldest = self.journal.oldest()
        return oldest is not None and oldest.position <= mark

    def stats(self) -> StoreStats:
        """See `AuditStore.stats`."""
        try:
            oldest = self.journal.oldest()
            self._read_error = None
        except JournalError as error:
            oldest, self._read_error = None, str(error)
        tally, now = self.journal.tally, self._settings.clock()
        return StoreStats(
            recorded=tally.recorded,
            delivered=tally.delivered,
            pending=tally.pending,
            quarantined=tally.quarantined,
            created=tally.created,
            duplicates=tally.duplicate,
            own_conflicts=tally.own_conflicts,
            unconfirmed=tally.unconfirmed,
            dropped=self._dropped,
            pending_bytes=tally.pending_bytes,
            max_bytes=self._settings.max_bytes,
            oldest_pending_seconds=max(0.0, now - oldest.recorded_at) if oldest else 0.0,
            attempts=dict(self._attempts),
            last_error=self._delivery.last_error if self._delivery else None,
        )

    def trouble(self) -> str | None:
        """What is wrong with the disk, if something is."""
        damaged = "; ".join(self._spool.damaged.values())
        return self.journal.last_error or self._read_error or damaged or None

    def durations(self) -> dict[str, tuple[list[int], float]]:
        """See `AuditStore.durations`."""
        return {
            "commit": self.journal.commit_seconds.snapshot(),
            "request": self._request_seconds.snapshot(),
        }

    def stop(self, timeout: float) -> None:
        """End the threads; requests under way have `timeout` seconds to end."""
        if self._delivery is not None:
            self._delivery.stop(min(timeout, _STOP_SECONDS))
        self._committer.close()

    def close(self) -> None:
        """Give the journal up."""
        self._spool.close()

    def rest(self) -> Callable[[], None]:
        """Before a fork: keep every thread out of SQLite; what is returned lets them in again."""
        return self.journal.quiet(_FORK_SECONDS)

    def leave_to_parent(self) -> None:
        """In a forked child: nothing of this is ours."""
        _PARENTS.append(self)  # Never closed: SQLite would tidy up files that the parent uses.
        self._spool.leave_to_parent()


_PARENTS: Final[list[Session]] = []


def _check(append: Append, appended: Appended) -> None:
    if appended == "reused":
        shot = append.shot
        raise IdReusedError(
            f"$.event_id: {shot.event_id} is pending with other content",
            shot.event_id,
            shot.correlation_id,
            shot.body,
        )
