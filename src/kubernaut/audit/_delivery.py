"""Takes events from the journal to the server, for ever, in the order of each correlation.

One thread with an event loop of its own. Invariants:
* One batch of a correlation is in flight; a failed batch goes before what came after it.
* What is held in memory is bounded by count and bytes; the rest waits on disk.
* After a failure one batch at a time probes, after a pause with full jitter, until one succeeds.
"""

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from kubernaut.audit._answers import Settled, Split, TryAgain, judge
from kubernaut.audit._journal import Entry, Journal, JournalError, Outcome
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._transport import AsyncTransport, Endpoint, TransportError, described

log = logging.getLogger("kubernaut.audit")

_WINDOW_EVENTS: Final = 4000
_WINDOW_BYTES: Final = 8 * 2**20
_BATCH_PATH: Final = "/api/v1/audit/events/batch"
_LENIENT: Final = {"Prefer": "handling=lenient"}
_CHUNK_EVENTS: Final = 1000
_CHORES_EVERY_SECONDS: Final = 30.0


class _Window:
    """The first pending events, in memory; some of them are in flight."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.waiting: deque[Entry] = deque()
        self._bytes = 0
        self._read_to: int | None = None

    def fill(self) -> None:
        """Read on from the journal, while there is room."""
        while len(self.waiting) < _WINDOW_EVENTS // 2 and self._bytes < _WINDOW_BYTES:
            found = 0
            for entry in self._journal.read(after=self._read_to, limit=_CHUNK_EVENTS):
                self.waiting.append(entry)
                self._bytes += len(entry.body)
                self._read_to = entry.position
                found += 1
                if self._bytes >= _WINDOW_BYTES:
                    break
            if found < _CHUNK_EVENTS:
                return

    def rewind(self) -> None:
        """Forget what is not in flight, and read from the beginning next time."""
        self.waiting.clear()
        self._bytes = 0
        self._read_to = None

    def take(self, busy: set[str], max_events: int, max_bytes: int) -> list[Entry]:
        """The next batch: first come, first sent, but nothing of a busy correlation."""
        batch: list[Entry] = []
        passed: list[Entry] = []
        size = 2
        while self.waiting:
            entry = self.waiting.popleft()
            if entry.correlation_id in busy:
                passed.append(entry)
                continue
            if batch and (size + len(entry.body) + 1 > max_bytes or len(batch) >= max_events):
                passed.append(entry)
                break
            batch.append(entry)
            size += len(entry.body) + 1
        self.waiting.extendleft(reversed(passed))
        self._bytes -= sum(len(entry.body) for entry in batch)
        return batch


class Delivery:
    """The thread that sends.

    Args:
        journal: where events come from and outcomes go.
        endpoint: the server.
        limits: how batches are made.
        settled: called after outcomes are committed, from the sending thread.
        attempted: called after each request with the class of its outcome.
        chores: called now and then from the sending thread; True: there are events in the
            journal before those that were read already.
    """

    def __init__(  # noqa: PLR0913  (its neighbours)
        self,
        journal: Journal,
        endpoint: Endpoint,
        limits: DeliveryLimits,
        *,
        settled: Callable[[list[Outcome]], None],
        attempted: Callable[[str], None],
        chores: Callable[[], bool],
    ) -> None:
        self._chores = chores
        self._journal = journal
        self._limits = limits
        self._settled = settled
        self._attempted = attempted
        self._transport = AsyncTransport(endpoint)
        self._window = _Window(journal)
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: deque[list[Entry]] = deque()  # Failed batches and halves of refused ones.
        self._max_events = limits.batch_events
        self._max_bytes = limits.batch_bytes
        self._failures = 0
        self._not_before = 0.0
        self._rewind = False
        self._next_chores = 0.0
        self._stopping = False
        self._awake = False
        self._urgent = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="audit-delivery", daemon=True)
        self._started = threading.Event()
        self.last_error: str | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started.wait()

    def wake(self, *, urgent: bool = False) -> None:
        """There may be something to send; `urgent`: without lingering."""
        if urgent:
            self._urgent = True
        elif self._awake:
            return  # It will look; a call for each event would be a system call for each event.
        self._awake = True
        self._call(lambda: None)

    def stop(self, timeout: float) -> None:
        """Stop sending; requests under way have `timeout` seconds to end."""
        self._call(lambda: setattr(self, "_stopping", True))
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._call(self._cancel_all)
            self._thread.join(1)

    def _call(self, change: Callable[[], None]) -> None:
        loop, changed = self._loop, self._changed
        if loop is None or changed is None:
            return

        def apply() -> None:
            change()
            changed.set()

        try:
            loop.call_soon_threadsafe(apply)
        except RuntimeError:
            return  # The loop is closed: the thread has ended.

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            log.exception("audit delivery ended unexpectedly; events stay in the journal")
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._started.set()
        try:
            while not self._stopping:
                self._changed.clear()
                await self._linger()
                self._awake = False
                self._do_chores()
                self._start_batches()
                await self._pause()
            if self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._transport.close()

    async def _linger(self) -> None:
        """Let a batch fill up, unless it is full already or somebody waits for it."""
        assert self._loop is not None  # noqa: S101
        until = self._loop.time() + self._limits.linger
        while (  # noqa: ASYNC110  (what it looks at are plain attributes of other threads)
            not self._urgent
            and not self._stopping
            and self._journal.pending_events < self._max_events
            and self._loop.time() < until
        ):
            await asyncio.sleep(self._limits.linger / 5)
        self._urgent = False

    def _do_chores(self) -> None:
        assert self._loop is not None  # noqa: S101
        if self._loop.time() >= self._next_chores:
            self._next_chores = self._loop.time() + _CHORES_EVERY_SECONDS
            self._rewind = self._chores() or self._rewind

    async def _pause(self) -> None:
        assert self._loop is not None  # noqa: S101
        assert self._changed is not None  # noqa: S101
        now = self._loop.time()
        until = self._next_chores
        if now < self._not_before < until:
            until = self._not_before
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    def _start_batches(self) -> None:
        assert self._loop is not None  # noqa: S101
        if self._rewind and not self._tasks:
            self._rewind = False
            self._again.clear()
            self._window.rewind()
        allowed = 1 if self._failures else self._limits.in_flight
        while (
            len(self._tasks) < allowed
            and not self._rewind
            and self._loop.time() >= self._not_before
        ):
            batch = self._next()
            if not batch:
                return
            self._busy.update(entry.correlation_id for entry in batch)
            task = asyncio.create_task(self._send(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> list[Entry]:
        held = set(self._busy)
        for index, batch in enumerate(self._again):
            correlations = {entry.correlation_id for entry in batch}
            if held.isdisjoint(correlations):
                del self._again[index]
                return batch
            held |= correlations  # What follows must not overtake it.
        if self._again:
            return []  # These go before everything that was recorded later.
        try:
            self._window.fill()
        except JournalError as error:
            self._failed(TryAgain(str(error)))
            return []
        return self._window.take(self._busy, self._max_events, self._max_bytes)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("sending failed unexpectedly", exc_info=error)
        if self._changed is not None:
            self._changed.set()

    async def _send(self, batch: list[Entry]) -> None:
        done = False
        try:
            done = await self._send_once(batch)
        finally:
            self._busy.difference_update(entry.correlation_id for entry in batch)
            if not done:
                self._again.appendleft(batch)

    async def _send_once(self, batch: list[Entry]) -> bool:
        body = b"[" + b",".join(entry.body for entry in batch) + b"]"
        try:
            status, headers, content = await self._transport.request(
                "POST", _BATCH_PATH, {}, _LENIENT, body
            )
        except TransportError as error:
            self._attempted("network")
            self._failed(TryAgain(described(error)))
            return False
        self._attempted(f"{status // 100}xx")
        judgement = judge(batch, status, headers, content)
        if isinstance(judgement, TryAgain):
            self._failed(judgement)
            return False
        if isinstance(judgement, Split):
            self._split(batch, judgement)
            return True
        return self._settle(judgement)

    def _split(self, batch: list[Entry], split: Split) -> None:
        middle = len(batch) // 2
        if split.too_large:
            self._max_events = max(1, min(self._max_events, middle))
            size = sum(len(entry.body) for entry in batch)
            self._max_bytes = max(2, min(self._max_bytes, size // 2))
        self._again.appendleft(batch[middle:])
        self._again.appendleft(batch[:middle])

    def _settle(self, judgement: Settled) -> bool:
        try:
            self._journal.settle(judgement.outcomes)
        except JournalError as error:
            # The server has them; sent again they are duplicates.
            self._failed(TryAgain(str(error)))
            return False
        self._failures = 0
        self._not_before = 0.0
        self.last_error = None
        for entry, counter, reason in judgement.outcomes:
            if counter in ("quarantined", "conflict_own"):
                log.error(
                    "audit event %s of correlation %s: %s: %s",
                    entry.event_id,
                    entry.correlation_id,
                    counter,
                    reason or "stored before with other content",
                )
        self._settled(judgement.outcomes)
        return True

    def _failed(self, why: TryAgain) -> None:
        assert self._loop is not None  # noqa: S101
        if why.new_token:
            self._transport.forget_token()
        if self._failures == 0 or self.last_error != why.reason:
            log.warning("audit events wait in the journal: %s", described(why.reason))
        self.last_error = why.reason
        self._failures += 1
        ceiling = min(
            self._limits.backoff_cap,
            self._limits.backoff_base * 2 ** min(self._failures - 1, 30),
        )
        pause = why.after if why.after is not None else random.uniform(0, ceiling)  # noqa: S311
        self._not_before = max(self._not_before, self._loop.time() + pause)
