"""Runs comparisons and collects what they found."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple, Self

from benchmarks.data import Ids
from benchmarks.report import Cpu, Row, cpu_of
from benchmarks.sides import EventFile, Filled, Sample, Sides
from benchmarks.worker import say

COPY: Final = "COPY of the same rows, 2 connections"


class Sizes(NamedTuple):
    """How much of everything."""

    events: int  # In a round at batch 100.
    fewer_events: int  # In a round at batch 1, and of the growth case.
    prefill: int
    small: int  # Rows of the small database of the query case.
    queries: int  # In a round, for each kind and database.


class Goals(NamedTuple):
    """What a median should reach, and could."""

    goal: float
    stretch: float
    events_per_second: float | None = None


class Bench:
    """The benchmark in progress: a context, for the large database that cases share.

    Attributes:
        rows, cpu, samples: what was found so far.
    """

    def __init__(self, sides: Sides, sizes: Sizes) -> None:
        self.sides = sides
        self.sizes = sizes
        self.rows: list[Row] = []
        self.cpu: list[Cpu] = []
        self.samples: dict[str, list[Sample]] = {}
        self._mean_bytes: list[float] = []
        self._stack = ExitStack()
        self._large: Filled | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def mean_event_bytes(self) -> float:
        """Of the events' JSON, over all files that were sent."""
        return statistics.mean(self._mean_bytes) if self._mean_bytes else 0.0

    @contextmanager
    def events(
        self, number: int, ids: Ids, *, batch: int = 100, connections: int = 8
    ) -> Iterator[EventFile]:
        """A file of new events for a load of that form."""
        with self.sides.events(number, ids, batch=batch, connections=connections) as file:
            self._mean_bytes.append(file.mean_bytes)
            yield file

    def large(self) -> Filled:
        """The database with many rows, made at its first use."""
        if self._large is None:
            say(f"filling a database with {self.sizes.prefill:,} events")
            self._large = self._stack.enter_context(self.sides.filled(self.sizes.prefill))
            self._mean_bytes.append(self._large.mean_bytes)
            say(f"  took {self._large.seconds:.0f} s")
        return self._large

    def against_copy(self, case: str, file: EventFile, goals: Goals) -> list[Sample]:
        """Compare the service with COPY; the service's samples."""
        results = self.in_turn(
            case, service=lambda: self.sides.service(file), copy=lambda: self.sides.copy(file)
        )
        self.add_ratio(case, COPY, results, goals)
        return results["service"]

    def in_turn(self, case: str, **sides: Callable[[], Sample]) -> dict[str, list[Sample]]:
        """Run sides in turn, and keep their samples."""
        say(case)
        results = self.sides.in_turn(**sides)
        for side, samples in results.items():
            self.samples[f"{case}: {side}"] = samples
            self.cpu.append(cpu_of(f"{case}: {side}", samples))
        return results

    def add_ratio(
        self, case: str, compared_with: str, results: dict[str, list[Sample]], goals: Goals
    ) -> None:
        """A row with the ratio, round by round, of the first side's rate to the second's."""
        mine, theirs = (
            [sample.events_per_second for sample in samples] for samples in results.values()
        )
        self.rows.append(
            Row(
                case=case,
                compared_with=compared_with,
                unit="ratio",
                values=[a / b for a, b in zip(mine, theirs, strict=True)],
                goal=goals.goal,
                stretch=goals.stretch,
                events_per_second=statistics.median(mine),
                compared_events_per_second=statistics.median(theirs),
                events_per_second_goal=goals.events_per_second,
            )
        )
