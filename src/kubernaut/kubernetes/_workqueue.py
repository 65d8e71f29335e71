"""A queue of keys for reconcilers: client-go's `util/workqueue`, on one event loop.

Invariants (`test/unit/kubernetes/test_workqueue_model.py` checks them against a model):

* A key is in the queue at most once, however often it is added.
* A key is with one worker at a time. Added meanwhile, it is queued again when the worker is done:
  no add is lost, and the worker after it sees whatever the add was about.
* Keys leave in the order in which they became ready.
* A delayed add is due at the earliest of the deadlines asked for; it never delays an `add`.
* After `shut_down` nothing enters from outside, what is queued is still handed out, and then
  `get` raises.

There is no thread and no lock: all methods must be called from one event loop, none but `get` and
`shut_down_with_drain` ever waits.
"""

import asyncio
import heapq
from collections import deque
from itertools import count

from prometheus_client import REGISTRY, CollectorRegistry

from kubernaut.kubernetes._backoff import ExponentialBackoff, KeyBackoff
from kubernaut.kubernetes._clock import Clock, RealClock, Timer
from kubernaut.kubernetes._metrics import metrics_in


class QueueShutDownError(Exception):
    """The work queue is shut down and empty: the worker may go home."""


class _QueueMetrics:
    """The series of one queue, looked up once."""

    def __init__(self, name: str, queue: "WorkQueue", registry: CollectorRegistry) -> None:
        metrics = metrics_in(registry)
        self.adds = metrics.queue_adds.labels(name)
        self.retries = metrics.queue_retries.labels(name)
        self.waited = metrics.queue_duration.labels(name)
        self.worked = metrics.work_duration.labels(name)
        metrics.queue_depth.labels(name).set_function(lambda: len(queue))
        metrics.unfinished_work.labels(name).set_function(lambda: sum(queue.running()))
        metrics.longest_running.labels(name).set_function(lambda: max(queue.running(), default=0.0))


class WorkQueue:
    """A deduplicating, rate-limited, delaying FIFO queue of keys.

    Args:
        name: the label `name` of its metrics; a later queue of that name takes the series over.
        clock: where the time comes from.
        backoff: how long `add_rate_limited` waits; by default 5 ms doubled up to 1000 s, each key
            for itself.
        registry: where the metrics are.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        backoff: KeyBackoff | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._clock = clock or RealClock()
        self._backoff = backoff or ExponentialBackoff()
        self._queue: deque[str] = deque()
        self._dirty: dict[str, float] = {}
        """Keys that need work, queued or waiting for their worker, and since when."""
        self._processing: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        """Delayed adds; an entry that `_due` does not agree with was replaced by an earlier one."""
        self._order = count()
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False
        self._idle = asyncio.Event()
        self._metrics = _QueueMetrics(name, self, registry)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def shutting_down(self) -> bool:
        """Whether the queue takes nothing more."""
        return self._shut_down

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    def running(self) -> list[float]:
        """For how many seconds each key that is with a worker has been there."""
        now = self._clock.monotonic()
        return [now - since for since in list(self._processing.values())]

    # --- in

    def add(self, key: str) -> None:
        """Ask for `key` to be processed; does nothing where that is asked for already."""
        if self._shut_down or key in self._dirty:
            return
        self._metrics.adds.inc()
        self._dirty[key] = self._clock.monotonic()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Add `key` in `seconds`; of several such calls the earliest deadline wins."""
        if self._shut_down:
            return
        if seconds <= 0:
            self.add(key)
            return
        deadline = self._clock.monotonic() + seconds
        if deadline >= self._due.get(key, float("inf")):
            return
        self._due[key] = deadline
        heapq.heappush(self._heap, (deadline, next(self._order), key))
        self._set_timer()

    def add_rate_limited(self, key: str, *, at_least: float = 0.0) -> None:
        """Add `key` after its backoff, which grows with each call until `forget`.

        Args:
            key: what to add.
            at_least: seconds to wait in any case, for a server that said so.
        """
        if self._shut_down:
            return
        self._metrics.retries.inc()
        self.add_after(key, max(at_least, self._backoff.delay(key)))

    def forget(self, key: str) -> None:
        """Start the backoff of `key` from the beginning: it went well, or is given up."""
        self._backoff.forget(key)

    def failures(self, key: str) -> int:
        """How often `key` was added rate-limited since it was last forgotten."""
        return self._backoff.failures(key)

    # --- out

    async def get(self) -> str:
        """Wait for the next key; every key got must be given to `done`.

        Raises:
            QueueShutDownError: the queue is shut down and empty.
        """
        while not self._queue:
            if self._shut_down:
                raise QueueShutDownError
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                self._pass_on(getter)
                raise
        key = self._queue.popleft()
        now = self._clock.monotonic()
        self._metrics.waited.observe(max(0.0, now - self._dirty.pop(key)))
        self._processing[key] = now
        return key

    def done(self, key: str) -> None:
        """Say that the work on `key` has ended, well or not; queues it again if it was added.

        Raises:
            KeyError: `key` is not with a worker.
        """
        started = self._processing.pop(key)
        self._metrics.worked.observe(max(0.0, self._clock.monotonic() - started))
        if key in self._dirty:
            self._push(key)
        self._check_idle()

    # --- the end

    def shut_down(self) -> None:
        """Take nothing more; hand out what is queued, drop what is delayed."""
        self._shut_down = True
        self._due.clear()
        self._heap.clear()
        self._set_timer()
        while self._getters:
            self._wake_one()
        self._check_idle()

    async def shut_down_with_drain(self) -> None:
        """Shut down and wait until everything queued was got and done.

        It needs workers to end, so bound it with a time limit. (client-go waits for what is with
        workers only; keys that are queued but not yet got are waited for here too.)
        """
        self.shut_down()
        await self._idle.wait()

    # --- inside

    def _check_idle(self) -> None:
        if self._shut_down and not self._queue and not self._processing:
            self._idle.set()

    def _push(self, key: str) -> None:
        self._queue.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _pass_on(self, getter: "asyncio.Future[None]") -> None:
        """A worker was cancelled in `get`: if it had been woken, another one takes the key."""
        if getter.done() and not getter.cancelled():
            if self._queue:
                self._wake_one()
        else:
            getter.cancel()
            if getter in self._getters:
                self._getters.remove(getter)

    def _set_timer(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if self._timer is not None:
            if self._heap and self._timer_at <= self._heap[0][0]:
                return  # It fires first and looks again; setting timers is the costly part.
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer_at = self._heap[0][0]
            self._timer = self._clock.call_at(self._timer_at, self._release_due)

    def _release_due(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == deadline:
                del self._due[key]
                self.add(key)
        self._set_timer()
