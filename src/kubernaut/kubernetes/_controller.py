"""The level-triggered controller: watches put keys into a queue, workers reconcile them.

Invariants:

* A reconcile is given a key, never an event: it reads what is there now. Events only say "look".
* A key is with one worker at a time, and every change after a reconcile began leads to another one
  (`_workqueue.py`).
* No worker starts before every watched kind was listed once: a reconcile never takes an empty
  cache for an empty cluster. (controller-runtime: `WaitForSync`.)
* A failure never loses a key: it is retried with a growing wait, for ever. Only `TerminalError`
  says that trying again is of no use until something changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from prometheus_client import REGISTRY, CollectorRegistry

from kubernaut.kubernetes._backoff import KeyBackoff
from kubernaut.kubernetes._clock import Clock, RealClock, time_limit, within
from kubernaut.kubernetes._errors import AlreadyExistsError, ConflictError, KubernetesError
from kubernaut.kubernetes._leader import LeadershipLostError
from kubernaut.kubernetes._metrics import RESULTS, metrics_in
from kubernaut.kubernetes._objects import T
from kubernaut.kubernetes._store import Change, Store
from kubernaut.kubernetes._workqueue import QueueShutDownError, WorkQueue

_LOG: Final = logging.getLogger("kubernaut.kubernetes.controller")
_SYNC_TIMEOUT: Final = 120.0
"""Seconds (controller-runtime: `CacheSyncTimeout`)."""

_EVERYDAY: Final = (AlreadyExistsError, ConflictError, LeadershipLostError)
"""Like outages and throttling, no reason to wake somebody: the next reconcile reads again."""

Outcome = Literal["success", "requeue_after", "error"]


class TerminalError(Exception):
    """A reconcile cannot succeed until the object or the cluster changes: don't retry it."""


class SyncTimeoutError(Exception):
    """A watched kind was not listed in time: the API server is away, or forbids it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile that went well asks for.

    Attributes:
        requeue_after: seconds until the key is to be reconciled again whatever happens; None to
            wait for a change. A deadline belongs here, computed from stored fields.
    """

    requeue_after: float | None = None


Reconcile = Callable[[str], Awaitable[Result | None]]


class Source(Protocol[T]):
    """What a controller needs of a reflector."""

    store: Store[T]
    synced: asyncio.Event

    def add_handler(self, handler: Callable[[Change[T]], object]) -> object:
        """Call `handler` with every change."""


class Elector(Protocol):
    """What a controller needs of a leader election."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` while leading."""


def changed_key(change: Change[Any]) -> Iterable[str]:
    """The changed object's own key: the mapping for a controller's primary kind."""
    return (change.key,)


class Controller:
    """Reconciles keys with a number of workers.

    Args:
        name: the label `controller` of its metrics and the name of its queue.
        reconcile: brings the object of a key to what it should be; returns when to look again, or
            nothing. It must be safe to repeat at any point.
        workers: how many keys are reconciled at the same time.
        clock: where the time comes from.
        backoff: how long a key waits after a failure.
        time_limit: seconds a reconcile may take; then it is cancelled, counted as an error, and
            retried.
        resync: seconds between two rounds over all objects of the watched kinds; None for never.
            It heals what a faulty mapping missed.
        sync_timeout: seconds to wait for the watched kinds to be listed.
        leader: reconcile only while leading; caches are filled and queues collect meanwhile.
        registry: where the metrics are.
    """

    def __init__(  # noqa: PLR0913  (settings with defaults)
        self,
        name: str,
        reconcile: Reconcile,
        *,
        workers: int = 1,
        clock: Clock | None = None,
        backoff: KeyBackoff | None = None,
        time_limit: float | None = None,
        resync: float | None = None,
        sync_timeout: float | None = _SYNC_TIMEOUT,
        leader: Elector | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        if workers < 1:
            raise ValueError("a controller needs at least one worker")
        self.name = name
        self._clock = clock or RealClock()
        self.queue = WorkQueue(name, clock=self._clock, backoff=backoff, registry=registry)
        self._reconcile = reconcile
        self._workers = workers
        self._time_limit = time_limit
        self._resync = resync
        self._sync_timeout = sync_timeout
        self._leader = leader
        self._sources: list[tuple[Source[Any], Callable[[Change[Any]], None]]] = []
        self._stopping = False
        self._working = False
        self._running: asyncio.Future[None] | None = None
        metrics = metrics_in(registry)
        self._results = {result: metrics.reconciles.labels(name, result) for result in RESULTS}
        self._errors = metrics.errors.labels(name)
        self._terminal = metrics.terminal_errors.labels(name)
        self._timeouts = metrics.timeouts.labels(name)
        self._took = metrics.reconcile_time.labels(name)
        self._active = metrics.active_workers.labels(name)
        metrics.max_workers.labels(name).set(workers)

    def watches(
        self,
        source: Source[T],
        map: Callable[[Change[T]], Iterable[str]] = changed_key,  # noqa: A002  (the word for it)
        predicate: Callable[[Change[T]], bool] | None = None,
    ) -> None:
        """Reconcile the keys that `map` names for each change of `source` that `predicate` lets by.

        Resync presents every object as modified from itself to itself (`change.old is change.new`),
        as client-go does; a predicate that compares the two should let that by.

        Args:
            source: a reflector. Running it is the caller's business.
            map: `changed_key` for the primary kind; `by_owner` or `by_label` for secondary ones.
            predicate: None lets all changes by.
        """

        def handle(change: Change[T]) -> None:
            # An exception must neither end the watch nor pass in silence.
            try:
                if predicate is None or predicate(change):
                    for key in map(change):
                        self.queue.add(key)
            except Exception:  # noqa: BLE001  (the user's code)
                _LOG.exception("%s: mapping a change of %s to keys", self.name, change.key)
                self._errors.inc()

        source.add_handler(handle)
        self._sources.append((source, handle))

    async def run(self) -> None:
        """Reconcile until `stop`, or until cancelled.

        Raises:
            SyncTimeoutError: a watched kind was not listed in time.
            LeadershipLostError: the lease was lost; whatever was going on has been cancelled.
        """
        running = self._running = asyncio.ensure_future(self._run())
        try:
            await running
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping or task is None or task.cancelling():
                raise

    async def _run(self) -> None:
        if self._stopping:
            return
        try:
            await within(self._clock, self._sync_timeout, self._synced())
        except TimeoutError as error:
            raise SyncTimeoutError(
                f"{self.name}: a watched kind was not listed within {self._sync_timeout:g} s"
            ) from error
        if self._leader is None:
            await self._work()
        else:
            await self._leader.run(self._work)

    def stop(self) -> None:
        """Let `run` return once the reconciles that have begun are done.

        Keys that wait are dropped: the next start lists everything again.
        """
        if self._stopping:
            return
        self._stopping = True
        self.queue.shut_down()
        if self._running is not None and not self._working:
            self._running.cancel()  # It waits for caches or for the lease.

    async def _synced(self) -> None:
        for source, _ in self._sources:
            await source.synced.wait()

    async def _work(self) -> None:
        self._working = True
        _LOG.info("%s: %d workers start", self.name, self._workers)
        try:
            async with asyncio.TaskGroup() as group:
                resync = group.create_task(self._resync_for_ever())
                workers = [
                    group.create_task(self._worker(), name=f"{self.name}-{number}")
                    for number in range(self._workers)
                ]
                await asyncio.wait(workers)
                resync.cancel()
        finally:
            self._working = False

    async def _worker(self) -> None:
        task = asyncio.current_task()
        # A reconcile that swallows its cancellation must not go on beyond the lost lease.
        while task is not None and not task.cancelling():
            try:
                key = await self.queue.get()
            except QueueShutDownError:
                return
            if self._stopping:
                self.queue.done(key)
                return
            await self.process(key)
            # A reconcile that has nothing to wait for must not keep watches and leases waiting.
            await asyncio.sleep(0)

    async def process(self, key: str) -> None:
        """Reconcile a key that was got from the queue, and give it back; what a worker does."""
        started = self._clock.monotonic()
        self._active.inc()
        try:
            outcome = await self._outcome(key)
            self._results[outcome].inc()
        finally:
            self._active.dec()
            self._took.observe(max(0.0, self._clock.monotonic() - started))
            self.queue.done(key)

    async def _outcome(self, key: str) -> Outcome:
        limit: asyncio.Timeout | None = None
        try:
            async with time_limit(self._clock, self._time_limit) as limit:
                result = await self._reconcile(key)
        except TerminalError as error:
            self._terminal.inc()
            self._errors.inc()
            self.queue.forget(key)
            _LOG.error("%s: %s: not retried until it changes: %s", self.name, key, error)
            return "error"
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                self.queue.add(key)  # For the next term, if there is one in this process.
                raise
            # Something that the reconcile awaited was cancelled, not this worker.
            return self._failed(key, error)
        except Exception as error:  # noqa: BLE001  (whatever it is, the key is not lost)
            if limit is not None and limit.expired():
                self._timeouts.inc()
            return self._failed(key, error)
        self.queue.forget(key)
        if result is None or result.requeue_after is None:
            return "success"
        self.queue.add_after(key, result.requeue_after)
        return "requeue_after"

    def _failed(self, key: str, error: BaseException) -> Outcome:
        self._errors.inc()
        wait = error.retry_after if isinstance(error, KubernetesError) else None
        self.queue.add_rate_limited(key, at_least=wait or 0.0)
        failures = self.queue.failures(key)
        if isinstance(error, _EVERYDAY) or (isinstance(error, KubernetesError) and error.retryable):
            _LOG.warning("%s: %s: failure %d, retried: %s", self.name, key, failures, error)
        else:
            _LOG.error("%s: %s: failure %d, retried", self.name, key, failures, exc_info=error)
        return "error"

    async def _resync_for_ever(self) -> None:
        due = self._clock.monotonic()
        while self._resync is not None:
            due += self._resync
            await self._clock.sleep_until(due)
            for source, handle in self._sources:
                for key, obj in source.store.items():
                    handle(Change("modified", key, obj, obj))
