"""The measurements of the operator's benchmark, each on a stage of its own.

A case gives values by the keys of `operator_report.ROWS`, one for each round, and whatever else
helps to understand them as `details`.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from benchmarks.operator_load import Life, Load, in_parallel, script
from benchmarks.operator_objects import EXECUTIONS, make_finished, released
from benchmarks.operator_place import OperatorProcess, Place, Stage, stage
from benchmarks.operator_requests import Requests, Sent, served
from benchmarks.operator_trails import trails
from benchmarks.worker import say
from kubernaut.kubernetes import Client
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecutionStatus

_SAMPLE_SECONDS: Final = 0.25
T = TypeVar("T")


class Sizes(NamedTuple):
    """How much of everything.

    Attributes:
        single: WorkflowExecutions one after another.
        in_flight: how many are in flight where many are.
        load: WorkflowExecutions of a load; at least three times as many as are in flight.
        outage: WorkflowExecutions of the load through which DataStorage is away.
        outage_seconds: for how long.
        finished: WorkflowExecutions that are done with when the operator starts.
        many_finished: the same, beside none.
        rounds: of what is repeated.
    """

    single: int
    in_flight: int
    load: int
    outage: int
    outage_seconds: float
    finished: int
    many_finished: int
    rounds: int


FULL: Final = Sizes(20, 200, 1000, 600, 8.0, 5000, 10_000, 3)
QUICK: Final = Sizes(3, 20, 80, 40, 3.0, 200, 300, 1)


class Found:
    """What a case has found."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.details: dict[str, list[Any]] = {}

    def note(self, row: str, value: float) -> None:
        """A round's value of a row."""
        self.values.setdefault(row, []).append(value)
        say(f"  {row}: {value:,.3f}")

    def remark(self, name: str, what: Any) -> None:
        """Something that explains a round's values."""
        self.details.setdefault(name, []).append(what)
        say(f"  ({name}: {what})")


class Steady(NamedTuple):
    """What was measured between the first full round and the last of a load.

    Attributes:
        per_second: WorkflowExecutions that became terminal.
        cpu: seconds of the operator's CPU for each.
        others: of the other processes, by name.
        rss: MiB of the operator at most, over the whole load.
        lives: those that were created in that time.
    """

    per_second: float
    cpu: float
    others: dict[str, float]
    rss: float
    lives: list[Life]


class _Meter:
    """Reads clocks when the first full round of a load is over, and when the last begins."""

    def __init__(self, on: Stage, operator: OperatorProcess, first: int, last: int) -> None:
        self.rss = operator.rss()
        self._on = on
        self._operator = operator
        self._marks = (first, last)
        self._reads: list[tuple[float, float, dict[str, float]]] = []

    def look(self, terminal: int) -> None:
        """So many are terminal by now."""
        if terminal in self._marks:
            others = self._on.cpu() | {"script": time.process_time()}
            self._reads.append((time.monotonic(), self._operator.cpu(), others))

    async def watch_memory(self) -> None:
        """Look at it for ever."""
        while True:
            self.rss = max(self.rss, self._operator.rss())
            await asyncio.sleep(_SAMPLE_SECONDS)

    def steady(self, lives: list[Life]) -> Steady:
        (began, cpu_before, before), (ended, cpu_after, after) = self._reads
        number = self._marks[1] - self._marks[0]
        return Steady(
            per_second=number / (ended - began),
            cpu=(cpu_after - cpu_before) / number,
            others={name: (after[name] - before[name]) / number for name in before},
            rss=self.rss,
            lives=[life for life in lives if life.created >= began],
        )


async def _many(
    on: Stage, operator: OperatorProcess, load: Load, total: int, in_flight: int
) -> Steady:
    """Run a load of many in flight."""
    meter = _Meter(on, operator, in_flight, total - in_flight)
    load.on_terminal = meter.look
    memory = asyncio.create_task(meter.watch_memory())
    try:
        await load.run(total, in_flight)
    finally:
        memory.cancel()
    return meter.steady(load.lives)


def _with_script(on: Stage, work: Callable[[Client, Sent], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with script(on.cluster.kubeconfig_path) as (client, sent):
            return await work(client, sent)

    return asyncio.run(run())


def _operators_own(on: Stage, before: Requests, script_sent: Requests) -> Requests:
    return +(served(on.cluster) - before - script_sent)


def single(sizes: Sizes) -> Found:
    """One in flight, one after another."""
    found = Found()
    with stage() as on:
        place = on.place()
        with on.operator(place):
            load = _with_script(on, lambda client, _: _one_by_one(client, place, sizes.single))
        lives = load.lives
        found.note("end", statistics.median(each.terminal - each.written for each in lives))
        found.note("start", statistics.median(each.exists - each.created for each in lives))
        stored = trails(on.database, lives)
        found.note("stored", statistics.median(stored.seconds))
        found.remark("events lost, repeated", (stored.lost, stored.repeated))
        spread = [round((each.terminal - each.written) * 1000) for each in lives]
        found.remark("status written to terminal, ms", spread)
        spread = [round((each.exists - each.created) * 1000) for each in lives]
        found.remark("create to PipelineRun, ms", spread)
        found.remark("completed to stored, ms", [round(each * 1000) for each in stored.seconds])
    return found


async def _one_by_one(client: Client, place: Place, number: int) -> Load:
    load = Load(client, place, "single")
    # The first one opens connections and warms up what is made on first use.
    await Load(client, place, "warm").run(1, 1, until_audited=True)
    await load.run(number, 1, until_audited=True)
    return load


def many(sizes: Sizes) -> Found:
    """Many in flight."""
    found = Found()
    with stage() as on:
        for _ in range(sizes.rounds):
            place = on.place()
            with on.operator(place) as operator:
                _many_once(found, sizes, on, place, operator)
    return found


def _many_once(
    found: Found, sizes: Sizes, on: Stage, place: Place, operator: OperatorProcess
) -> None:
    async def work(client: Client, sent: Sent) -> tuple[Load, Steady, Requests]:
        load = Load(client, place, "many")
        before = served(on.cluster)
        steady = await _many(on, operator, load, sizes.load, sizes.in_flight)
        await asyncio.to_thread(operator.wait_until_quiet)  # Events are written beside the work.
        return load, steady, _operators_own(on, before, sent.requests)

    load, steady, requests = _with_script(on, work)
    found.note("rate", steady.per_second)
    starts = [each.exists - each.created for each in steady.lives]
    found.note("start, many", statistics.median(starts))
    found.note("requests", requests.total() / sizes.load)
    found.note("cpu", steady.cpu)
    found.note("rss", steady.rss)
    stored = trails(on.database, load.lives)
    ends = [each.terminal - each.written for each in steady.lives]
    found.remark("status written to terminal, p50, s", round(statistics.median(ends), 3))
    told = [each.audited - each.terminal for each in steady.lives]
    found.remark("Completed to AuditRecorded=True, p50, s", round(statistics.median(told), 3))
    found.remark("events lost, repeated", (stored.lost, stored.repeated))
    found.remark("requests each", {k: round(n / sizes.load, 2) for k, n in requests.items()})
    found.remark("CPU each, ms", {k: round(v * 1000, 1) for k, v in steady.others.items()})


def outage(sizes: Sizes) -> Found:
    """DataStorage is killed in the middle of a load, and comes back after some seconds."""
    found = Found()

    async def work(client: Client, _: Sent) -> tuple[Load, float]:
        load = Load(client, place, "outage")
        half = asyncio.Event()

        def look(terminal: int) -> None:
            if terminal == sizes.outage // 2:
                half.set()

        load.on_terminal = look
        running = asyncio.create_task(load.run(sizes.outage, sizes.in_flight))
        await half.wait()
        on.datastorage.kill()
        await asyncio.sleep(sizes.outage_seconds)
        await asyncio.to_thread(on.datastorage.start_again)
        back = time.monotonic()
        await running
        return load, back

    with stage() as on:
        place = on.place()
        with on.operator(place):
            load, back = _with_script(on, work)
        stored = trails(on.database, load.lives)
        found.note("lost", stored.lost)
        found.remark("events repeated", stored.repeated)
        late = max(each.audited for each in load.lives) - back
        found.remark("s from the return to the last AuditRecorded=True", round(late, 1))
        waited = max(each.audited - each.terminal for each in load.lives)
        found.remark("s from Completed to AuditRecorded=True, at most", round(waited, 1))
    return found


def finished(sizes: Sizes) -> Found:
    """The operator starts, and works, where thousands are done with."""
    found = Found()
    with stage() as on:
        place = on.place()
        with on.operator(place) as operator:
            _with_script(on, lambda client, _: _fill(client, place, sizes.finished, operator))
            for _ in range(sizes.rounds):
                operator.stop()
                _restart(found, on, operator)
            number, in_flight = 3 * sizes.in_flight, sizes.in_flight
            steady = _with_script(
                on,
                lambda client, _: _many(
                    on, operator, Load(client, place, "rss"), number, in_flight
                ),
            )
            found.note("rss, finished", steady.rss)
    return found


def _restart(found: Found, on: Stage, operator: OperatorProcess) -> None:
    before = served(on.cluster)
    began = time.monotonic()
    operator.start().wait_until_ready()
    ready = time.monotonic() - began
    cpu = operator.wait_until_quiet()
    requests = _operators_own(on, before, Requests())
    found.note("restart", cpu)
    emitted = sum(number for what, number in requests.items() if what.endswith(" events"))
    found.note("emitted", emitted)
    found.remark("s until it is ready and leads", round(ready, 1))
    found.remark("RSS once it is quiet, MiB", round(operator.rss(), 1))
    found.remark("requests", dict(requests))


async def _fill(client: Client, place: Place, number: int, operator: OperatorProcess) -> None:
    """Make finished ones: copies of one that the operator itself has finished.

    The operator is stopped meanwhile, and stays so.
    """
    load = Load(client, place, "model")
    await load.run(1, 1)
    name = load.lives[0].name
    model = await client.get(WORKFLOW_EXECUTIONS, name, place.executions)
    await asyncio.to_thread(operator.stop)
    status: WorkflowExecutionStatus = released(model.status)
    body = {"status": msgspec.to_builtins(status)}
    await client.patch(EXECUTIONS, name, body, namespace=place.executions, subresource="status")

    async def one(index: int) -> None:
        await make_finished(client, place.executions, f"finished-{index:05}", status)

    began = time.monotonic()
    await in_parallel(one, range(number))
    say(f"  {number:,} finished ones made in {time.monotonic() - began:.0f} s")


def scaling(sizes: Sizes) -> Found:
    """The same load where none are done with, and then where thousands are; in turn."""
    found = Found()
    for _ in range(sizes.rounds):
        with stage() as on:
            place = on.place()
            with on.operator(place) as operator:
                none, some = _compare(sizes, on, place, operator)
        found.note("scaling", some.per_second / none.per_second)
        found.remark("WFEs/s with none, with many", (none.per_second, some.per_second))
        found.remark("CPU each with none, with many, ms", (none.cpu * 1e3, some.cpu * 1e3))
        found.remark("RSS with none, with many, MiB", (none.rss, some.rss))
    return found


def _compare(
    sizes: Sizes, on: Stage, place: Place, operator: OperatorProcess
) -> tuple[Steady, Steady]:
    def rate(name: str) -> Steady:
        return _with_script(
            on,
            lambda client, _: _many(
                on, operator, Load(client, place, name), sizes.load, sizes.in_flight
            ),
        )

    none = rate("none")
    _with_script(on, lambda client, _: _fill(client, place, sizes.many_finished, operator))
    operator.start().wait_until_ready()
    operator.wait_until_quiet()
    return none, rate("some")


CASES: Final[dict[str, Callable[[Sizes], Found]]] = {
    "single": single,
    "many": many,
    "outage": outage,
    "finished": finished,
    "scaling": scaling,
}
