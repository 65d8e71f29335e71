"""The cases that need a database with millions of events: growth, size, and queries."""

import random
import statistics
from contextlib import ExitStack
from typing import Final, NamedTuple

from benchmarks import load
from benchmarks.comparison import Bench, Goals
from benchmarks.data import NOMINAL_BYTES, new_id_every
from benchmarks.databases import Database
from benchmarks.processes import Service, services
from benchmarks.report import Row
from benchmarks.sides import Filled, Sample, percentiles
from benchmarks.worker import Worker, say

_PAGE: Final = 50
_WARM_UP_QUERIES: Final = 50
_VERIFIED_CHAINS: Final = 5
_EVENTS_FOR_SIZE: Final = 1_000_000


def growth(bench: Bench) -> None:
    """Ingest into a large table beside ingest into an empty one.

    The large database is not made anew for each round: it grows by a round's events.
    """
    _large_and_empty(bench, "one id per batch", 100)
    _large_and_empty(bench, "a new id every 5 events", 5)


def _large_and_empty(bench: Bench, shape: str, every: int) -> None:
    large = bench.large()

    def ingest(into: Database | None) -> Sample:
        with bench.events(bench.sizes.fewer_events, new_id_every(every)) as file:
            return bench.sides.service(file, database=into)

    case = f"ingest with {large.events:,} rows / with 0, {shape}"
    results = bench.in_turn(case, large=lambda: ingest(large.database), empty=lambda: ingest(None))
    bench.add_ratio(case, "0 rows", results, Goals(0.65, 0.85))


def size(bench: Bench) -> None:
    """Bytes in the database, indexes included, scaled to events of 800 bytes of JSON."""
    large = bench.large()
    if large.events < _EVENTS_FOR_SIZE:
        say(f"size: with fewer than {_EVENTS_FOR_SIZE:,} events, pages not yet full weigh more")
    measured = large.database.bytes() / large.database.events()
    bench.rows.append(
        Row(
            case=f"bytes in the database per {NOMINAL_BYTES}-byte event, indexes included",
            unit="bytes",
            values=[measured * NOMINAL_BYTES / large.mean_bytes],
            goal=1250,
            stretch=1000,
            at_most=True,
            details={
                "events": large.events,
                "bytes_per_event_as_measured": measured,
                "mean_event_bytes": large.mean_bytes,
            },
        )
    )


class _Target(NamedTuple):
    """A service on a database with events."""

    service: Service
    filled: Filled

    def check(self) -> None:
        """Make sure that chains verify and fill a page.

        Raises:
            RuntimeError: one does not.
        """
        for name in random.sample(self.filled.long_chains, _VERIFIED_CHAINS):
            body = b'{"correlation_id":"%s"}' % name.encode()
            _, verified = self.service.ask("POST", "/api/v1/audit/verify-chain", body)
            _, page = self.service.ask("GET", _target(name, ""))
            if not verified["is_valid"] or len(page["data"]) != _PAGE:
                raise RuntimeError(f"chain {name} is not as it should be: {verified}")

    def p50_ms(self, suffix: str, queries: int) -> float:
        """The median time of a query, one after the other on one connection."""
        names = random.choices(self.filled.long_chains, k=queries + _WARM_UP_QUERIES)
        job = load.Job(
            ports=[self.service.port],
            connections=1,
            targets=[_target(name, suffix) for name in names],
            warm_up=_WARM_UP_QUERIES,
        )
        with Worker("load", job) as worker:
            worker.wait_until_ready()
            worker.go()
            return percentiles(worker.answer(load.Answer).latencies)[0]


def _target(correlation_id: str, suffix: str) -> str:
    return f"{load.EVENTS_PATH}?correlation_id={correlation_id}{suffix}"


def query(bench: Bench) -> None:
    """A page of one correlation id, in a large table beside a small one."""
    large = bench.large()
    with bench.sides.filled(bench.sizes.small) as small, ExitStack() as stack:
        targets = []
        for filled in (large, small):
            running = services(filled.database.url, bench.sides.directory)
            targets.append(_Target(stack.enter_context(running)[0], filled))
            targets[-1].check()
        for suffix, kind in (("", "with total"), ("&cursor=", "by cursor")):
            say(f"query by correlation id, {kind}")
            times = _times(bench, targets, suffix)
            _add_rows(bench, kind, f"{large.events:,}", f"{small.events:,}", times)


def _times(bench: Bench, targets: list[_Target], suffix: str) -> list[list[float]]:
    """For each target, the median of each round in milliseconds."""
    times: list[list[float]] = [[] for _ in targets]
    for number in range(bench.sides.rounds):
        for mine, target in zip(times, targets, strict=True):
            mine.append(target.p50_ms(suffix, bench.sizes.queries))
        told = ", ".join(
            f"{target.filled.events:,} rows {mine[-1]:.2f} ms"
            for mine, target in zip(times, targets, strict=True)
        )
        say(f"  round {number + 1} of {bench.sides.rounds}: {told}")
    return times


def _add_rows(bench: Bench, kind: str, many: str, few: str, times: list[list[float]]) -> None:
    case = f"query by correlation id, first {_PAGE}, {kind}"
    large, small = times
    bench.rows += [
        Row(
            case=f"{case}: p50 with {many} rows / {few}",
            compared_with=f"{few} rows",
            unit="ratio",
            values=[a / b for a, b in zip(large, small, strict=True)],
            goal=1.5,
            stretch=1.1,
            at_most=True,
            details={"small_p50_ms": statistics.median(small)},
        ),
        Row(
            case=f"{case}: p50 with {many} rows",
            unit="ms",
            values=large,
            goal=3,
            stretch=1.5,
            at_most=True,
        ),
    ]
