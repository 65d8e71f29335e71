"""The work queue against a model of client-go's rules, step by step under a virtual clock."""

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from kubernaut.kubernetes._backoff import ExponentialBackoff
from kubernaut.kubernetes._workqueue import QueueShutDownError, WorkQueue
from kubernaut.kubernetes.testing import VirtualClock, settle

BASE, LONGEST = 0.5, 6.0
KEYS = st.sampled_from(["a", "b", "c", "d"])
SECONDS = st.integers(0, 16).map(lambda quarters: quarters / 4)


class Model:
    """What the queue should do, in the plainest way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue: list[str] = []
        self.dirty: set[str] = set()
        self.processing: dict[str, float] = {}
        self.due: dict[str, tuple[float, int]] = {}
        self.failures: Counter[str] = Counter()
        self.adds = self.retries = self.order = self.waiting = self.went_home = 0
        self.got: list[str] = []
        self.closed = False

    def add(self, key: str) -> None:
        if self.closed or key in self.dirty:
            return
        self.adds += 1
        self.dirty.add(key)
        if key not in self.processing:
            self.queue.append(key)

    def add_after(self, key: str, seconds: float) -> None:
        if self.closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        self.order += 1
        at = self.now + seconds
        if key not in self.due or at < self.due[key][0]:
            self.due[key] = (at, self.order)

    def add_rate_limited(self, key: str) -> None:
        if self.closed:
            return
        self.retries += 1
        delay = min(LONGEST, BASE * 2 ** self.failures[key])
        self.failures[key] += 1
        self.add_after(key, delay)

    def done(self, key: str) -> None:
        del self.processing[key]
        if key in self.dirty:
            self.queue.append(key)

    def hand_out(self) -> None:
        while self.queue and self.waiting:
            key = self.queue.pop(0)
            self.waiting -= 1
            self.dirty.remove(key)
            assert key not in self.processing
            self.processing[key] = self.now
            self.got.append(key)
        if self.closed:
            self.went_home += self.waiting
            self.waiting = 0

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and min(self.due.values())[0] <= end:
            key = min(self.due, key=lambda each: self.due[each])
            self.now = self.due.pop(key)[0]
            self.add(key)
            self.hand_out()
        self.now = end

    def shut_down(self) -> None:
        self.closed = True
        self.due.clear()


class QueueAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.clock = VirtualClock()
        self.registry = CollectorRegistry()
        backoff = ExponentialBackoff(BASE, LONGEST)
        self.queue = self.runner.run(self.make(backoff))
        self.getters: list[asyncio.Task[None]] = []
        self.got: list[str] = []
        self.went_home = 0
        self.drained: asyncio.Task[None] | None = None

    async def make(self, backoff: ExponentialBackoff) -> WorkQueue:
        return WorkQueue("q", clock=self.clock, backoff=backoff, registry=self.registry)

    async def worker(self) -> None:
        try:
            self.got.append(await self.queue.get())
        except QueueShutDownError:
            self.went_home += 1

    def settle(self) -> None:
        self.model.hand_out()
        self.runner.run(settle())
        self.getters = [task for task in self.getters if not task.done()]

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.model.add(key)
        self.queue.add(key)
        self.settle()

    @rule(keys=st.lists(KEYS, max_size=6))
    def add_many_at_once(self, keys: list[str]) -> None:
        for key in keys:
            self.model.add(key)
            self.queue.add(key)
        self.settle()

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: float) -> None:
        self.model.add_after(key, seconds)
        self.queue.add_after(key, seconds)
        self.settle()

    @rule(key=KEYS)
    def add_rate_limited(self, key: str) -> None:
        self.model.add_rate_limited(key)
        self.queue.add_rate_limited(key)
        self.settle()

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.model.failures.pop(key, None)
        self.queue.forget(key)

    @rule()
    def get(self) -> None:
        self.model.waiting += 1
        self.getters.append(self.runner.get_loop().create_task(self.worker()))
        self.settle()

    @precondition(lambda self: self.getters)
    @rule(data=st.data())
    def cancel_a_getter(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.getters)).cancel()
        self.model.waiting -= 1
        self.settle()

    @precondition(lambda self: self.getters)
    @rule(key=KEYS, data=st.data())
    def add_and_cancel_who_was_woken(self, key: str, data: st.DataObject) -> None:
        """Another getter, or the next one, must take the key."""
        getter = data.draw(st.sampled_from(self.getters))
        self.queue.add(key)
        getter.cancel()
        self.model.waiting -= 1
        self.model.add(key)
        self.settle()

    @precondition(lambda self: self.model.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.processing)))
        self.model.done(key)
        self.queue.done(key)
        self.settle()

    @rule(seconds=SECONDS)
    def advance(self, seconds: float) -> None:
        self.model.advance(seconds)
        self.runner.run(self.clock.advance(seconds))
        self.settle()

    @rule(drain=st.booleans())
    def shut_down(self, *, drain: bool) -> None:
        self.model.shut_down()
        if drain and self.drained is None:
            loop = self.runner.get_loop()
            self.drained = loop.create_task(self.queue.shut_down_with_drain())
        else:
            self.queue.shut_down()
        self.settle()

    @invariant()
    def agrees(self) -> None:
        model = self.model
        assert self.got == model.got
        assert self.went_home == model.went_home
        assert len(self.getters) == model.waiting
        assert len(self.queue) == len(model.queue)
        assert self.queue.delayed == len(model.due)
        assert all(self.queue.failures(key) == model.failures[key] for key in "abcd")
        running = [model.now - since for since in model.processing.values()]
        assert sorted(self.queue.running()) == sorted(running)

    @invariant()
    def drains_when_idle(self) -> None:
        if self.drained is not None:
            assert self.drained.done() == (not self.model.queue and not self.model.processing)

    @invariant()
    def measures(self) -> None:
        def value(name: str) -> float | None:
            return self.registry.get_sample_value(name, {"name": "q"})

        running = self.queue.running()
        assert value("workqueue_depth") == len(self.queue)
        assert value("workqueue_adds_total") == self.model.adds
        assert value("workqueue_retries_total") == self.model.retries
        assert value("workqueue_unfinished_work_seconds") == sum(running)
        assert value("workqueue_longest_running_processor_seconds") == max(running, default=0)
        assert value("workqueue_queue_duration_seconds_count") == len(self.got)

    def teardown(self) -> None:
        self.runner.close()


QueueAgainstModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestQueueAgainstModel = QueueAgainstModel.TestCase
