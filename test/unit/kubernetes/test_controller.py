import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kubernaut.kubernetes._controller import (
    Controller,
    Result,
    SyncTimeoutError,
    TerminalError,
)
from kubernaut.kubernetes._errors import ConflictError, ServerUnavailableError
from kubernaut.kubernetes._objects import ObjectMeta
from kubernaut.kubernetes._owners import generation_changed
from kubernaut.kubernetes._store import Change
from kubernaut.kubernetes.testing import Feed, QueueDriver, VirtualClock, settle
from test.unit.kubernetes.widgets import Widget


def made(name: str, generation: int = 1) -> Widget:
    return Widget(metadata=ObjectMeta(name=name, namespace="ns", generation=generation))


@dataclass
class Bench:
    """A clock, a feed, and what was reconciled when."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    feed: Feed[Widget] = field(default_factory=Feed[Widget])
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    seen: list[tuple[float, str]] = field(default_factory=list)

    def note(self, key: str) -> None:
        self.seen.append((round(self.clock.monotonic(), 6), key))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"controller": "c", **labels})

    @asynccontextmanager
    async def running(self, controller: Controller) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(controller.run())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_no_worker_starts_before_all_kinds_are_synced() -> None:
    bench = Bench()
    second: Feed[Widget] = Feed()
    second.synced.clear()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    controller.watches(second)
    bench.feed.put(made("a"))
    async with bench.running(controller):
        await bench.clock.advance(60)
        assert bench.seen == []
        second.synced.set()
        await settle()
        assert bench.seen == [(60, "ns/a")]


async def test_a_kind_that_is_never_listed_is_an_error() -> None:
    bench = Bench()
    bench.feed.synced.clear()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    async with bench.running(controller) as task:
        await bench.clock.advance(120)
        with pytest.raises(SyncTimeoutError, match="within 120 s"):
            await task


async def test_failures_are_retried_with_a_growing_wait_until_one_goes_well() -> None:
    bench = Bench()
    failures = 4

    async def reconcile(key: str) -> None:
        bench.note(key)
        if len(bench.seen) <= failures:
            raise ServerUnavailableError(503, "", "later")

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    async with bench.running(controller):
        bench.feed.put(made("a"))
        await bench.clock.advance(10)
        assert [at for at, _ in bench.seen] == [0, 0.005, 0.015, 0.035, 0.075]
        failures = 6
        bench.feed.put(made("a", 2))
        await bench.clock.advance(1)
        assert [at for at, _ in bench.seen[5:]] == [10, 10.005]
    assert bench.metric("controller_runtime_reconcile_errors_total") == 5
    assert bench.metric("controller_runtime_reconcile_total", result="error") == 5
    assert bench.metric("controller_runtime_reconcile_total", result="success") == 2
    assert bench.metric("controller_runtime_reconcile_time_seconds_count") == 7


async def test_a_terminal_error_waits_for_the_next_change() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)
        raise TerminalError("the spec makes no sense")

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    async with bench.running(controller):
        bench.feed.put(made("a"))
        await bench.clock.advance(3600)
        assert len(bench.seen) == 1
        bench.feed.put(made("a", 2))
        await settle()
        assert len(bench.seen) == 2
    assert bench.metric("controller_runtime_terminal_reconcile_errors_total") == 2


async def test_what_the_cluster_does_every_day_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    errors: list[Exception] = [
        ServerUnavailableError(503, "", "later"),
        ConflictError(409, "Conflict", "another version"),
        LookupError("a bug"),
    ]

    async def reconcile(key: str) -> None:
        bench.note(key)
        if errors:
            raise errors.pop(0)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    async with bench.running(controller):
        await bench.clock.advance(1)
    levels = [
        (each.levelno, each.exc_info is not None) for each in caplog.records if "fail" in each.msg
    ]
    assert levels == [(logging.WARNING, False), (logging.WARNING, False), (logging.ERROR, True)]


async def test_a_server_that_says_when_to_come_back_is_heeded() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)
        if len(bench.seen) == 1:
            raise ServerUnavailableError(503, "", "later", retry_after=7)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    async with bench.running(controller):
        await bench.clock.advance(20)
    assert [at for at, _ in bench.seen] == [0, 7]


async def test_requeue_after_comes_back_and_forgets_the_failures() -> None:
    bench = Bench()

    async def reconcile(key: str) -> Result:
        bench.note(key)
        if len(bench.seen) == 1:
            raise ConflictError(409, "Conflict", "another version")
        return Result(requeue_after=30)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    async with bench.running(controller):
        await bench.clock.advance(61)
    assert [at for at, _ in bench.seen] == [0, 0.005, 30.005, 60.005]
    assert controller.queue.failures("a") == 0
    assert bench.metric("controller_runtime_reconcile_total", result="requeue_after") == 3


async def test_a_change_during_a_reconcile_leads_to_another_one_and_never_two_at_once() -> None:
    bench = Bench()
    at_once = most = 0

    async def reconcile(key: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        bench.note(key)
        await bench.clock.sleep_until(bench.clock.monotonic() + 5)
        at_once -= 1

    controller = Controller("c", reconcile, workers=4, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    async with bench.running(controller):
        bench.feed.put(made("a"))
        await bench.clock.advance(1)
        assert bench.metric("controller_runtime_active_workers") == 1
        bench.feed.put(made("a", 2))
        bench.feed.put(made("a", 3))
        await bench.clock.advance(20)
    assert [at for at, _ in bench.seen] == [0, 5]
    assert most == 1
    assert bench.metric("controller_runtime_max_concurrent_reconciles") == 4


async def test_a_reconcile_that_takes_too_long_is_cancelled_and_retried() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)
        if len(bench.seen) == 1:
            await asyncio.Event().wait()

    controller = Controller(
        "c", reconcile, time_limit=10, clock=bench.clock, registry=bench.registry
    )
    controller.queue.add("a")
    async with bench.running(controller):
        await bench.clock.advance(20)
    assert [at for at, _ in bench.seen] == [0, 10.005]
    assert bench.metric("controller_runtime_reconcile_timeouts_total") == 1


async def test_something_cancelled_inside_a_reconcile_does_not_end_the_worker() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)
        if len(bench.seen) == 1:
            inner = asyncio.create_task(asyncio.Event().wait())
            inner.cancel()
            await inner

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    async with bench.running(controller) as task:
        await bench.clock.advance(1)
        assert not task.done()
    assert len(bench.seen) == 2


async def test_resync_presents_every_object_and_passes_generation_changed() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller("c", reconcile, resync=600, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed, predicate=generation_changed)
    bench.feed.put(made("a"))
    bench.feed.put(made("b"))
    async with bench.running(controller):
        bench.feed.put(made("a"))  # Only its status changed.
        await bench.clock.advance(1300)
    assert bench.seen == [(at, key) for at in (0, 600, 1200) for key in ("ns/a", "ns/b")]


async def test_a_mapping_that_raises_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)

    def mapping(change: Change[Widget]) -> Iterable[str]:
        if change.key == "ns/bad":
            raise LookupError
        return (change.key,)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed, mapping)
    async with bench.running(controller):
        bench.feed.put(made("bad"))
        bench.feed.put(made("good"))
        await settle()
    assert [key for _, key in bench.seen] == ["ns/good"]
    assert "mapping a change of ns/bad" in caplog.text


async def test_reconciles_that_never_wait_starve_nobody() -> None:
    bench = Bench()
    rounds = 0

    async def reconcile(key: str) -> Result:
        bench.note(key)
        if len(bench.seen) == 1000:  # Nobody else has run.
            controller.stop()
        return Result(0)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    task = asyncio.create_task(controller.run())
    loop = asyncio.get_running_loop()
    while rounds < 20:
        rounds += 1
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
    assert 0 < len(bench.seen) < 100
    controller.stop()
    await task


async def test_stop_lets_what_has_begun_end_and_drops_the_rest() -> None:
    bench = Bench()
    ended: list[str] = []

    async def reconcile(key: str) -> None:
        bench.note(key)
        await bench.clock.sleep_until(bench.clock.monotonic() + 5)
        ended.append(key)

    controller = Controller(
        "c", reconcile, workers=2, resync=60, clock=bench.clock, registry=bench.registry
    )
    for key in "abc":
        controller.queue.add(key)
    async with bench.running(controller) as task:
        await bench.clock.advance(1)
        controller.stop()
        await bench.clock.advance(1)
        assert not task.done()
        await bench.clock.advance(5)
        await task
    assert ended == ["a", "b"]


async def test_stop_ends_the_wait_for_caches() -> None:
    bench = Bench()
    bench.feed.synced.clear()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    async with bench.running(controller) as task:
        controller.stop()
        await task


async def test_cancelled_it_cancels_the_reconciles() -> None:
    bench = Bench()
    cancelled: list[str] = []

    async def reconcile(key: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(key)
            raise

    controller = Controller("c", reconcile, workers=2, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    controller.queue.add("b")
    async with bench.running(controller) as task:
        pass
    assert task.cancelled()
    assert sorted(cancelled) == ["a", "b"]


async def test_a_reconcile_that_swallows_its_cancellation_is_the_last_one() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    controller.queue.add("b")
    async with bench.running(controller):
        pass
    assert [key for _, key in bench.seen] == ["a"]


@dataclass
class Gate:
    """An elector that leads when told."""

    elected: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        await self.elected.wait()
        await work()


async def test_only_the_leader_reconciles_and_what_came_before_is_there() -> None:
    bench, gate = Bench(), Gate()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller("c", reconcile, leader=gate, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    async with bench.running(controller) as task:
        bench.feed.put(made("a"))
        await bench.clock.advance(5)
        assert bench.seen == []
        gate.elected.set()
        await settle()
        assert bench.seen == [(5, "ns/a")]
        controller.stop()
        await settle()
        assert task.done()


async def test_a_reconcile_that_a_lost_lease_cancelled_is_done_in_the_next_term() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)
        if len(bench.seen) == 1:
            await asyncio.Event().wait()

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    async with bench.running(controller):
        pass
    async with bench.running(controller):
        assert [key for _, key in bench.seen] == ["a", "a"]
    assert controller.queue.running() == []


async def test_stopped_before_it_began_it_does_nothing() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller("c", reconcile, leader=Gate(), registry=bench.registry)
    controller.stop()
    await controller.run()
    assert bench.seen == []


async def test_stop_ends_the_wait_for_the_lease() -> None:
    bench = Bench()

    async def reconcile(key: str) -> None:
        bench.note(key)

    controller = Controller(
        "c", reconcile, leader=Gate(), clock=bench.clock, registry=bench.registry
    )
    async with bench.running(controller) as task:
        controller.stop()
        await task


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["put", "remove"]),
        st.floats(0, 2),
    ),
    max_size=25,
)


@given(STEPS, st.integers(1, 3), st.lists(st.booleans(), max_size=40), st.floats(0, 3))
@settings(max_examples=150, deadline=None)
def test_every_object_is_reconciled_after_its_last_change(
    steps: list[tuple[str, str, float]], workers: int, fails: list[bool], takes: float
) -> None:
    """Whatever fails and however long it takes: in the end all that was seen is the last state."""

    async def scenario() -> None:
        bench = Bench()
        results = iter(fails)
        busy: set[str] = set()
        reconciled: dict[str, Widget | None] = {}

        async def reconcile(key: str) -> None:
            assert key not in busy
            busy.add(key)
            try:
                found = bench.feed.store.get(key)
                await bench.clock.sleep_until(bench.clock.monotonic() + takes)
                if next(results, False):
                    raise ServerUnavailableError(503, "", "later")
                reconciled[key] = found
            finally:
                busy.remove(key)

        controller = Controller(
            "c", reconcile, workers=workers, clock=bench.clock, registry=bench.registry
        )
        controller.watches(bench.feed)
        async with bench.running(controller) as task:
            touched = set()
            for generation, (name, verb, wait) in enumerate(steps):
                if verb == "put":
                    bench.feed.put(made(name, generation))
                    touched.add(f"ns/{name}")
                else:
                    bench.feed.remove(f"ns/{name}")
                await bench.clock.advance(wait)
            await bench.clock.advance(2000)
            assert not task.done()
            assert reconciled == {key: bench.feed.store.get(key) for key in touched}

    asyncio.run(scenario())


async def test_the_driver_reconciles_one_key_at_a_time() -> None:
    bench = Bench()

    async def reconcile(key: str) -> Result | None:
        bench.note(key)
        return Result(60) if key == "ns/a" else None

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.watches(bench.feed)
    driver = QueueDriver(controller)
    bench.feed.put(made("a"))
    bench.feed.put(made("b"))
    assert driver.queued == 2
    assert await driver.step() == "ns/a"
    assert await driver.run_ready() == ["ns/b"]
    assert await driver.step() is None
    await bench.clock.advance(60)
    assert await driver.run_ready() == ["ns/a"]


async def test_the_driver_does_not_spin() -> None:
    bench = Bench()

    async def reconcile(key: str) -> Result:
        bench.note(key)
        return Result(0)

    controller = Controller("c", reconcile, clock=bench.clock, registry=bench.registry)
    controller.queue.add("a")
    with pytest.raises(RuntimeError, match="after 5"):
        await QueueDriver(controller).run_ready(limit=5)
