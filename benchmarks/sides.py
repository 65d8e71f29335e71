"""The two sides of a comparison: the service under load, and COPY of the same rows."""

import itertools
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import psutil

from benchmarks import copy_baseline, load, prefill
from benchmarks.data import Ids, write_events
from benchmarks.databases import Database, Databases
from benchmarks.processes import CpuMeter, services
from benchmarks.worker import Worker, say

_WARM_UP_REQUESTS: Final = 2  # On each connection.
_PREFILL_SHARE: Final = 100_000  # Fewer events than this are not worth another worker.


class Sample(msgspec.Struct, kw_only=True):
    """One side in one round; CPU in microseconds per event.

    `client_cpu` is that of the load generator, or of the process that copies.
    """

    events_per_second: float
    service_cpu: float = 0
    postgres_cpu: float
    client_cpu: float
    p50_ms: float = 0
    p99_ms: float = 0


class EventFile(NamedTuple):
    """Events to send or copy: `events`, and after them `warm_up` that are not counted."""

    path: Path
    events: int
    warm_up: int
    batch: int
    connections: int
    mean_bytes: float


class Filled(NamedTuple):
    """A database with many events, and ids of chains that fill a page."""

    database: Database
    events: int
    long_chains: list[str]
    mean_bytes: float
    seconds: float


class Sides:
    """Runs a side of a round.

    Args:
        databases: where fresh databases come from.
        directory: for event files and logs.
        postgres: PostgreSQL's main process, if its CPU time can be read.
        rounds: how often every side of a comparison is run.
    """

    def __init__(
        self,
        databases: Databases,
        directory: Path,
        postgres: psutil.Process | None,
        rounds: int,
    ) -> None:
        self.databases = databases
        self.directory = directory
        self.rounds = rounds
        self._postgres = postgres
        self._numbers = itertools.count(1)

    @contextmanager
    def events(
        self, number: int, ids: Ids, *, batch: int = 100, connections: int = 8
    ) -> Iterator[EventFile]:
        """A file of new events for a load of that form."""
        warm_up = batch * connections * _WARM_UP_REQUESTS
        path = self.directory / f"events-{next(self._numbers)}.jsonl"
        mean_bytes = write_events(path, number + warm_up, ids)
        try:
            yield EventFile(path, number, warm_up, batch, connections, mean_bytes)
        finally:
            path.unlink()

    def service(
        self, file: EventFile, *, processes: int = 1, database: Database | None = None
    ) -> Sample:
        """Post the events to so many services, on a fresh database unless one is given."""
        with ExitStack() as stack:
            target = database or stack.enter_context(self.databases.fresh("service"))
            running = stack.enter_context(services(target.url, self.directory, processes))
            job = load.Job(
                ports=[one.port for one in running],
                connections=file.connections,
                events=str(file.path),
                batch=file.batch,
                warm_up=file.warm_up // file.batch,
            )
            worker = stack.enter_context(Worker("load", job))
            before = target.events() if database else 0
            worker.wait_until_ready()
            target.checkpoint()
            meter = CpuMeter(running, self._postgres)
            worker.go()
            answer = worker.answer(load.Answer)
            service_cpu, postgres_cpu = meter.read()
            _check(target.events() - before, file)
        p50, p99 = percentiles(answer.latencies)
        return Sample(
            events_per_second=file.events / answer.seconds,
            service_cpu=service_cpu / file.events * 1e6,
            postgres_cpu=postgres_cpu / file.events * 1e6,
            client_cpu=answer.cpu_seconds / file.events * 1e6,
            p50_ms=p50,
            p99_ms=p99,
        )

    def copy(self, file: EventFile) -> Sample:
        """Copy the events' rows into a fresh database."""
        with self.databases.fresh("copy") as target:
            job = copy_baseline.Job(target.url, str(file.path), file.warm_up)
            with Worker("copy_baseline", job) as worker:
                worker.wait_until_ready()
                target.checkpoint()
                meter = CpuMeter([], self._postgres)
                worker.go()
                answer = worker.answer(copy_baseline.Answer)
                _, postgres_cpu = meter.read()
            _check(target.events(), file)
        return Sample(
            events_per_second=file.events / answer.seconds,
            postgres_cpu=postgres_cpu / file.events * 1e6,
            client_cpu=answer.cpu_seconds / file.events * 1e6,
        )

    def in_turn(self, **sides: Callable[[], Sample]) -> dict[str, list[Sample]]:
        """Run each side once a round, one after the other."""
        results: dict[str, list[Sample]] = {name: [] for name in sides}
        for number in range(self.rounds):
            for name, side in sides.items():
                results[name].append(side())
            told = ", ".join(
                f"{name} {results[name][-1].events_per_second:,.0f}/s" for name in sides
            )
            say(f"  round {number + 1} of {self.rounds}: {told}")
        return results

    @contextmanager
    def filled(self, number: int) -> Iterator[Filled]:
        """A database with so many events, vacuumed and analysed."""
        with self.databases.fresh("filled") as database:
            yield fill(database, number)


def fill(database: Database, number: int) -> Filled:
    """Add so many chained events to an empty database."""
    share = min((psutil.cpu_count() or 1) + 1, -(-number // _PREFILL_SHARE))
    first, last = prefill.span(datetime.now(UTC))
    database.ensure_partition(first.date())
    with ExitStack() as stack:
        workers = []
        for index in range(share):
            part = number // share + (index < number % share)
            job = prefill.Job(database.url, f"worker {index + 1} of {share}", part, first, last)
            workers.append(stack.enter_context(Worker("prefill", job)))
        for worker in workers:
            worker.wait_until_ready()
        for worker in workers:
            worker.go()
        answers = [worker.answer(prefill.Answer) for worker in workers]
    database.settle()
    if database.events() != number:
        raise RuntimeError(f"{database.events()} events were stored, not {number}")
    return Filled(
        database,
        number,
        [name for answer in answers for name in answer.long_chains],
        statistics.mean(answer.mean_bytes for answer in answers),
        max(answer.seconds for answer in answers),
    )


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The 50th and 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


def _check(stored: int, file: EventFile) -> None:
    if stored != file.events + file.warm_up:
        raise RuntimeError(f"{stored} events were stored, not {file.events + file.warm_up}")
