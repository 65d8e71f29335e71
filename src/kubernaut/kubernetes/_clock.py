"""Time as the kernel sees it: every wait and every deadline goes through a `Clock`.

Two clocks, kept apart: `monotonic` is for waiting and for leases and never jumps; `time` is for
what people and the API server read, and may jump. Nothing here computes a wait from `time`.

`kubernaut.kubernetes.testing.VirtualClock` is the other implementation: its time moves only when a
test says so.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

_LONGEST_TIMER: Final = 3600.0
"""Seconds that one timer of the event loop may run before the clock is looked at again."""


class Timer(Protocol):
    """A call that is due at some time."""

    def cancel(self) -> None:
        """Forget the call; nothing happens where it was made already."""


class Clock(Protocol):
    """What the kernel asks of a clock. Times are seconds."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def time(self) -> float:
        """Unix time; may jump."""

    def call_at(self, deadline: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` once `monotonic` has reached `deadline`, from the event loop."""

    async def sleep_until(self, deadline: float) -> None:
        """Return once `monotonic` has reached `deadline`; at once where it has already."""


class _LoopTimer:
    """A timer of the running event loop that trusts only the clock."""

    def __init__(self, clock: Clock, deadline: float, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._deadline = deadline
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._left(), self._look)

    def _left(self) -> float:
        return min(max(0.0, self._deadline - self._clock.monotonic()), _LONGEST_TIMER)

    def _look(self) -> None:
        # The loop's clock is coarser than ours and stands still while the machine is suspended.
        if left := self._left():
            self._handle = self._loop.call_later(left, self._look)
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()


class RealClock:
    """The machine's clocks.

    `monotonic` is Linux's CLOCK_BOOTTIME: it counts the time that a machine was suspended, which
    CLOCK_MONOTONIC (`time.monotonic`, and Go's) leaves out. A leader that slept must see that its
    lease is over.
    """

    def monotonic(self) -> float:
        """Seconds since the machine was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def time(self) -> float:
        """Unix time."""
        return time.time()

    def call_at(self, deadline: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` at `deadline`; needs a running event loop."""
        return _LoopTimer(self, deadline, callback)

    async def sleep_until(self, deadline: float) -> None:
        """Sleep until `monotonic` has reached `deadline`."""
        await sleep_on(self, deadline)


async def sleep_on(clock: Clock, deadline: float) -> None:
    """Sleep by means of `clock.call_at`."""
    woken = asyncio.Event()
    timer = clock.call_at(deadline, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()


@asynccontextmanager
async def time_limit(clock: Clock, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """Cancel what runs inside after `seconds` of `clock`; None is no limit.

    Yields asyncio's timeout, whose `expired` tells this limit from a TimeoutError of other origin.

    Raises:
        TimeoutError: the limit was reached (a cancellation from elsewhere stays one).
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = None
        if seconds is not None:
            # asyncio's own bookkeeping of cancellations, fired by our clock.
            timer = clock.call_at(
                clock.monotonic() + seconds, lambda: limit.reschedule(loop.time())
            )
        try:
            yield limit
        finally:
            if timer is not None:
                timer.cancel()


async def within(clock: Clock, seconds: float | None, awaitable: Awaitable[T]) -> T:
    """Await with a limit in seconds of `clock`; None is no limit.

    Raises:
        TimeoutError: the limit was reached; the awaitable was cancelled.
    """
    async with time_limit(clock, seconds):
        return await awaitable


def utc_now(clock: Clock) -> datetime:
    """The wall clock's time as the API server writes it."""
    return datetime.fromtimestamp(clock.time(), UTC)
