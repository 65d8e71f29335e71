"""How much is measured, what is found, and how a load of many in flight is measured.

Only what lies between the first full round of a load and its last counts: before that the script
has created all at once, and after it fewer and fewer are in flight.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

from benchmarks.operator_load import Life, Load, script
from benchmarks.operator_place import OperatorProcess, Stage
from benchmarks.operator_requests import Requests, Sent, served
from benchmarks.worker import say
from kubernaut.kubernetes import Client

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
        """What came of it."""
        (began, cpu_before, before), (ended, cpu_after, after) = self._reads
        number = self._marks[1] - self._marks[0]
        return Steady(
            per_second=number / (ended - began),
            cpu=(cpu_after - cpu_before) / number,
            others={name: (after[name] - before[name]) / number for name in before},
            rss=self.rss,
            lives=[life for life in lives if life.created >= began],
        )


async def many_in_flight(
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


def with_script(on: Stage, work: Callable[[Client, Sent], Coroutine[Any, Any, T]]) -> T:
    """Do something with the script's client, in an event loop of its own."""

    async def run() -> T:
        async with script(on.cluster.kubeconfig_path) as (client, sent):
            return await work(client, sent)

    return asyncio.run(run())


def operators_own(on: Stage, before: Requests, script_sent: Requests) -> Requests:
    """The operator's requests since `before`."""
    return +(served(on.cluster) - before - script_sent)
