import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from kubernaut.kubernetes._backoff import ExponentialBackoff, Tokens
from kubernaut.kubernetes._clock import RealClock, time_limit, within
from kubernaut.kubernetes.testing import VirtualClock, settle


async def test_advance_runs_what_falls_due_in_its_order_and_at_its_time() -> None:
    clock = VirtualClock()
    seen: list[tuple[float, str]] = []

    async def chain() -> None:
        for _ in range(3):
            await clock.sleep_until(clock.monotonic() + 2)
            seen.append((clock.monotonic(), "chain"))

    task = asyncio.create_task(chain())
    clock.call_at(3, lambda: seen.append((clock.monotonic(), "call")))
    clock.call_at(3, lambda: seen.append((clock.monotonic(), "forgotten"))).cancel()
    await clock.advance(5)
    assert seen == [(2, "chain"), (3, "call"), (4, "chain")]
    assert clock.next_due() == 6
    await clock.advance(1)
    await task


async def test_a_suspension_runs_what_was_missed_afterwards_and_time_never_goes_back() -> None:
    clock = VirtualClock()
    seen: list[float] = []
    clock.call_at(1, lambda: seen.append(clock.monotonic()))
    clock.suspend(10)
    await settle()
    assert seen == []
    await clock.advance(0)
    assert seen == [10]


async def test_the_wall_clock_jumps_alone() -> None:
    clock = VirtualClock(time=1000)
    clock.jump(-500)
    await clock.advance(1)
    assert (clock.time(), clock.monotonic()) == (501, 1)


async def test_tasks_that_wake_each_other_for_ever_are_an_error() -> None:
    async def spin() -> None:
        loop = asyncio.get_running_loop()
        while True:
            future = loop.create_future()
            loop.call_soon(future.set_result, None)
            await future

    task = asyncio.create_task(spin())
    with pytest.raises(RuntimeError, match="did not settle"):
        await settle()
    task.cancel()


async def test_a_limit_counts_by_its_clock_and_says_whether_it_was_it() -> None:
    clock = VirtualClock()

    async def limited() -> bool:
        limit = None
        try:
            async with time_limit(clock, 5) as limit:
                await asyncio.Event().wait()
        except TimeoutError:
            return limit is not None and limit.expired()
        return False

    task = asyncio.create_task(limited())
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert await task
    assert await within(clock, None, clock.sleep_until(0)) is None  # type: ignore[func-returns-value]  # None is the answer
    assert clock.next_due() is None


async def test_the_real_clock_waits_and_forgets() -> None:
    clock = RealClock()
    started = clock.monotonic()
    called: list[str] = []
    clock.call_at(started + 0.01, lambda: called.append("early")).cancel()
    clock.call_at(started + 0.02, lambda: called.append("due"))
    await clock.sleep_until(started + 0.05)
    assert clock.monotonic() >= started + 0.05
    assert called == ["due"]
    await clock.sleep_until(started)
    assert abs(clock.time() - time.time()) < 5


def test_the_monotonic_clock_goes_on_while_a_process_is_stopped() -> None:
    program = (
        "from kubernaut.kubernetes._clock import RealClock\n"
        "clock = RealClock()\n"
        "print(clock.monotonic(), flush=True)\n"
        "input()\n"
        "print(clock.monotonic(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        before = float(process.stdout.readline())
        os.kill(process.pid, signal.SIGSTOP)
        asyncio.run(RealClock().sleep_until(before + 0.5))
        process.stdin.write("\n")
        process.stdin.flush()
        os.kill(process.pid, signal.SIGCONT)
        assert float(process.stdout.readline()) - before >= 0.5


async def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = VirtualClock()
    bucket = Tokens(2, 3, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    await clock.advance(0.5)
    assert [bucket.take(), bucket.take()] == [True, False]
    assert [bucket.reserve() for _ in range(3)] == [0.5, 1.0, 1.5]
    await clock.advance(3600)
    assert [bucket.reserve() for _ in range(4)] == [0, 0, 0, 0.5]


async def test_the_bucket_of_all_keys_adds_to_the_backoff_of_each() -> None:
    clock = VirtualClock()
    backoff = ExponentialBackoff(1, 1000, Tokens(0.1, 1, clock))
    assert [backoff.delay("a"), backoff.delay("b"), backoff.delay("b")] == [1, 10, 20]
    for _ in range(2000):
        backoff.delay("c")
    assert backoff.failures("c") == 2000
    assert ExponentialBackoff().delay("c") == 0.005


@pytest.mark.parametrize(("base", "longest"), [(0, 1), (2, 1), (-1, 1)])
def test_a_backoff_that_cannot_grow_is_refused(base: float, longest: float) -> None:
    with pytest.raises(ValueError, match="0 < base <= longest"):
        ExponentialBackoff(base, longest)


def test_a_bucket_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="rate above 0"):
        Tokens(0, 1, VirtualClock())
