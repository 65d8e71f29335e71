"""For tests of controllers: a clock that moves only when told, and a driver of one queue.

Nothing here replaces the API server: run it for real (`kubernaut.local`) and test with it. These
make time and order repeatable where a test is about time and order.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Final, Generic

from kubernaut.kubernetes._clock import Timer, sleep_on
from kubernaut.kubernetes._controller import Controller
from kubernaut.kubernetes._objects import T
from kubernaut.kubernetes._store import Change, ChangeKind, Store

__all__ = ["Feed", "QueueDriver", "VirtualClock", "settle"]

_ROUNDS: Final = 10_000
"""Rounds of the event loop after which tasks that wake each other are an error."""
_ROUNDS_BLIND: Final = 100
"""Rounds that are given to an event loop that does not show its queue (uvloop)."""
_EPOCH: Final = 1_700_000_000.0


async def settle() -> None:
    """Return once every task waits for something other than the event loop's next round.

    Input and output are not waited for.

    Raises:
        RuntimeError: tasks wake each other without end.
    """
    # The only place where asyncio shows that nothing is left to do; a fixed number of rounds is
    # either too few for a deep chain of tasks or slow.
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for done in range(_ROUNDS):
        await asyncio.sleep(0)
        if not ready and (ready is not None or done >= _ROUNDS_BLIND):
            return
    raise RuntimeError(f"the event loop did not settle in {_ROUNDS} rounds")


class _VirtualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A clock for tests: `advance` moves it, and runs everything that falls due on the way.

    Args:
        time: Unix time at the start.
    """

    def __init__(self, time: float = _EPOCH) -> None:
        self._now = 0.0
        self._offset = time
        self._heap: list[tuple[float, int, _VirtualTimer]] = []
        self._order = count()

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._now

    def time(self) -> float:
        """Unix time: what it was at the start, plus the seconds advanced, plus the jumps."""
        return self._offset + self._now

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or NTP does."""
        self._offset += seconds

    def call_at(self, deadline: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` when `advance` reaches `deadline`."""
        timer = _VirtualTimer(callback)
        heapq.heappush(self._heap, (max(deadline, self._now), next(self._order), timer))
        return timer

    async def sleep_until(self, deadline: float) -> None:
        """Sleep until `advance` reaches `deadline`."""
        if deadline > self._now:
            await sleep_on(self, deadline)

    def next_due(self) -> float | None:
        """When the next timer is due, None where there is none."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    async def advance(self, seconds: float) -> None:
        """Move by `seconds`, stopping at each timer; after each, all tasks run until they wait."""
        end = self._now + seconds
        await settle()
        while (due := self.next_due()) is not None and due <= end:
            timer = heapq.heappop(self._heap)[2]
            self._now = max(self._now, due)
            if timer.callback is not None:
                timer.callback()
            await settle()
        self._now = end
        await settle()

    def suspend(self, seconds: float) -> None:
        """Move by `seconds` while nothing runs, as SIGSTOP does; what fell due runs afterwards."""
        self._now += seconds


class Feed(Generic[T]):
    """Stands where a reflector stands: a test says what the cluster has.

    Give it to `Controller.watches`; what is put or removed reaches the handlers at once.

    Attributes:
        store: what the controller reads.
        synced: set from the start; clear it for a test of what happens before.
    """

    def __init__(self, store: Store[T] | None = None) -> None:
        self.store = store if store is not None else Store[T]()
        self.synced = asyncio.Event()
        self.synced.set()
        self._handlers: list[Callable[[Change[T]], object]] = []

    def add_handler(self, handler: Callable[[Change[T]], object]) -> None:
        """Call `handler` with every change, and with what is there already as added."""
        self._handlers.append(handler)
        for key, obj in self.store.items():
            handler(Change("added", key, None, obj))

    def put(self, obj: T) -> None:
        """Add or change an object."""
        old = self.store.put(obj)
        kind: ChangeKind = "added" if old is None else "modified"
        self._tell(Change(kind, obj.metadata.key, old, obj))

    def remove(self, key: str) -> None:
        """Delete an object; nothing happens where there is none."""
        if (old := self.store.remove(key)) is not None:
            self._tell(Change("deleted", key, old, None))

    def _tell(self, change: Change[T]) -> None:
        for handler in self._handlers:
            handler(change)


class QueueDriver:
    """Runs a controller's queue one key at a time, in the test's own task.

    For tests that say "now this key": the controller must not be running. Handlers that
    `Controller.watches` registered keep filling the queue.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @property
    def queued(self) -> int:
        """How many keys are ready."""
        return len(self._controller.queue)

    async def step(self) -> str | None:
        """Reconcile the next ready key and return it; None where none is ready."""
        if not self.queued:
            return None
        key = await self._controller.queue.get()
        await self._controller.process(key)
        return key

    async def run_ready(self, limit: int = 10_000) -> list[str]:
        """Reconcile until no key is ready; return the keys in their order.

        Raises:
            RuntimeError: keys were still ready after `limit` of them.
        """
        keys: list[str] = []
        while (key := await self.step()) is not None:
            keys.append(key)
            if len(keys) >= limit:
                raise RuntimeError(f"keys are still ready after {limit}: {key} is requeued at once")
        return keys
