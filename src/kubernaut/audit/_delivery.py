"""Takes events from the journal to the server, for ever, in the order of each correlation.

One thread with an event loop of its own. Invariants:
* One batch of a correlation is in flight; a failed batch goes before what came after it.
* What is held in memory is bounded by count and bytes; the rest waits on disk.
* After a failure one batch at a time probes, after a pause with full jitter, until one succeeds.
* An event that something on the way refuses for ever holds up its own correlation, and no other.
"""

import asyncio
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from kubernaut.audit._answers import Settled, Split, TryAgain, judge
from kubernaut.audit._entries import Entry, Outcome
from kubernaut.audit._errors import JournalError
from kubernaut.audit._journal import Journal
from kubernaut.audit._limits import Caps, DeliveryLimits
from kubernaut.audit._set_aside import SetAside
from kubernaut.audit._transport import AsyncTransport, Endpoint, TransportError, described
from kubernaut.audit._window import Window

log = logging.getLogger("kubernaut.audit")

_BATCH_PATH: Final = "/api/v1/audit/events/batch"
_LENIENT: Final = {"Prefer": "handling=lenient"}
_CHORES_EVERY_SECONDS: Final = 30.0
_CANCEL_SECONDS: Final = 1.0


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in the sending thread, which has nothing else to do: no thread for it."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        return socket.getaddrinfo(*args, **kwargs)


class Delivery:
    """The thread that sends.

    Args:
        journal: where events come from and outcomes go.
        endpoint: the server.
        limits: how batches are made.
        settled: called after outcomes are committed, from the sending thread.
        attempted: called after each request with the class of its outcome and its seconds.
        chores: called now and then from the sending thread; True: there are events in the
            journal before those that were read already.

    Attributes:
        last_error: why the last request failed; None once one succeeds.
    """

    def __init__(  # noqa: PLR0913  (its neighbours)
        self,
        journal: Journal,
        endpoint: Endpoint,
        limits: DeliveryLimits,
        *,
        settled: Callable[[list[Outcome]], None],
        attempted: Callable[[str, float], None],
        chores: Callable[[], bool],
    ) -> None:
        self._chores = chores
        self._journal = journal
        self._limits = limits
        self._caps = Caps(limits)
        self._settled = settled
        self._attempted = attempted
        self._transport = AsyncTransport(endpoint)
        self._window = Window(journal)
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: deque[list[Entry]] = deque()  # Failed batches and halves of refused ones.
        self._aside = SetAside(limits)
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

    def start(self) -> bool:
        """Start the thread; False: there are no threads to be had."""
        try:
            self._thread.start()
        except RuntimeError as error:
            log.warning("audit events stay in the journal, nothing can send them: %s", error)
            return False
        self._started.wait()
        return True

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
        if threading.current_thread() is self._thread:
            return  # A subscriber closes the store: this thread ends once it has been told.
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._call(self._cancel_all)
            self._thread.join(_CANCEL_SECONDS)

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
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._main())
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
                try:
                    await self._look()
                except Exception as error:
                    log.exception("audit delivery failed unexpectedly, and goes on")
                    self._failed(TryAgain(repr(error)))
                await self._pause()
            if self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._transport.close()

    async def _look(self) -> None:
        if self._may_send():
            await self._linger()
            self._awake = False  # From here on, what is recorded may be missed by this look.
            self._start_batches()
        self._do_chores()

    def _may_send(self) -> bool:
        """Whether looking can lead to anything; if not, there is no use in being woken either."""
        assert self._loop is not None  # noqa: S101
        allowed = 1 if self._failures else self._limits.in_flight
        return len(self._tasks) < allowed and self._loop.time() >= self._not_before

    async def _linger(self) -> None:
        """Let a batch fill up, unless it is full already, was sent before, or is waited for."""
        assert self._loop is not None  # noqa: S101
        until = self._loop.time() + self._limits.linger
        while (  # noqa: ASYNC110  (what it looks at are plain attributes of other threads)
            not self._urgent
            and not self._stopping
            and not self._again
            and self._journal.tally.pending < self._caps.events
            and self._loop.time() < until
        ):
            await asyncio.sleep(self._limits.linger / 5)
        self._urgent = False

    def _do_chores(self) -> None:
        assert self._loop is not None  # noqa: S101
        if self._loop.time() < self._next_chores:
            return
        self._next_chores = self._loop.time() + _CHORES_EVERY_SECONDS
        try:
            self._rewind = self._chores() or self._rewind
        except JournalError as error:
            log.error("the audit journals could not be looked after: %s", error)  # noqa: TRY400

    async def _pause(self) -> None:
        assert self._loop is not None  # noqa: S101
        assert self._changed is not None  # noqa: S101
        until = self._next_chores
        if self._loop.time() < self._not_before:
            until = min(until, self._not_before)
        elif self._may_send() and not self._rewind:  # If not, the end of a request wakes us.
            until = min(until, self._aside.due())
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    def _start_batches(self) -> None:
        if self._rewind and not self._tasks:
            self._rewind = False
            self._again.clear()
            self._aside.clear()
            self._window.rewind()
        while not self._rewind and self._may_send() and (batch := self._next()):
            self._busy.update(entry.correlation_id for entry in batch)
            task = asyncio.create_task(self._send(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> list[Entry]:
        assert self._loop is not None  # noqa: S101
        if entry := self._aside.take(self._loop.time()):
            return [entry]
        held = self._busy | self._aside.correlations
        for index, batch in enumerate(self._again):
            free = [entry for entry in batch if entry.correlation_id not in held]
            if free:
                self._again[index] = [entry for entry in batch if entry.correlation_id in held]
                if not self._again[index]:
                    del self._again[index]
                return free
        try:
            self._window.fill()
        except JournalError as error:
            self._failed(TryAgain(str(error)))
            return []
        return self._window.take(held, self._caps.events, self._caps.bytes)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("sending audit events failed unexpectedly", exc_info=error)
            self._failed(TryAgain(repr(error)))
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
        started = time.perf_counter()
        try:
            status, headers, content = await self._transport.request(
                "POST", _BATCH_PATH, {}, _LENIENT, body
            )
        except TransportError as error:
            self._attempted("network", time.perf_counter() - started)
            self._failed(TryAgain(described(error)))
            return False
        self._attempted(f"{status // 100}xx", time.perf_counter() - started)
        match judge(batch, status, headers, content):
            case TryAgain() as why:
                self._failed(why)
                return why.suspect and self._doubt(batch)
            case Split(cap):
                self._split(batch, cap)
                return True
            case Settled(outcomes):
                return self._settle(outcomes)

    def _split(self, batch: list[Entry], cap: str | None) -> None:
        if cap == "events":
            self._caps.too_many(batch)
        elif cap == "bytes":
            self._caps.too_long(batch)
        middle = len(batch) // 2
        self._again.appendleft(batch[middle:])
        self._again.appendleft(batch[:middle])

    def _doubt(self, batch: list[Entry]) -> bool:
        """Find the one event that may be at fault, and let the others go before it."""
        assert self._loop is not None  # noqa: S101
        if len(batch) > 1:
            self._split(batch, None)
        else:
            self._aside.put(batch[0], self._loop.time())
        return True

    def _settle(self, outcomes: list[Outcome]) -> bool:
        try:
            self._journal.settle(outcomes)
        except JournalError as error:
            # The server has them; sent again they are duplicates.
            self._failed(TryAgain(str(error)))
            return False
        if self._failures:
            log.info("audit events are delivered again")
        self._failures = 0
        self._not_before = 0.0
        self.last_error = None
        self._aside.forget(outcome.entry for outcome in outcomes)
        for outcome in outcomes:
            if outcome.fate == "quarantined" or outcome.own_conflict:
                _log_refusal(outcome)
        self._settled(outcomes)
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


def _log_refusal(outcome: Outcome) -> None:
    entry = outcome.entry
    if outcome.own_conflict:
        log.warning(
            "audit event %s of correlation %s was stored before with other content",
            entry.event_id,
            entry.correlation_id,
        )
    else:
        log.error(
            "audit event %s of correlation %s: refused by the server, in quarantine: %s",
            entry.event_id,
            entry.correlation_id,
            outcome.reason,
        )
