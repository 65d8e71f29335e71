"""The cases of ingest: what is run, what it is compared with, and what it should reach."""

import statistics
from collections.abc import Callable
from typing import Final

from benchmarks.comparison import Bench, Goals
from benchmarks.data import Ids, at_random_over, new_id_every
from benchmarks.large import growth, query, size
from benchmarks.report import Row
from benchmarks.sides import Sample

_BATCH: Final = "batch 100 x 8"
_RATE: Final = 10_000


def _batches(bench: Bench, shape: str, ids: Ids, goals: Goals) -> list[Sample]:
    with bench.events(bench.sizes.events, ids) as file:
        return bench.against_copy(f"{_BATCH}, {shape}", file, goals)


def one_id_per_batch(bench: Bench) -> None:
    """One correlation id per batch; also the service's CPU per event, and its latency."""
    goals = Goals(0.35, 0.55, _RATE)
    samples = _batches(bench, "one id per batch", new_id_every(100), goals)
    bench.rows += [
        Row(
            case="CPU of the service per event, HTTP included",
            unit="µs",
            values=[sample.service_cpu for sample in samples],
            goal=45,
            stretch=25,
            at_most=True,
        ),
        Row(
            case=f"p99 / p50 of a request's time, {_BATCH}",
            unit="ratio",
            values=[sample.p99_ms / sample.p50_ms for sample in samples],
            goal=4,
            stretch=2,
            at_most=True,
            details={
                "p50_ms": statistics.median(sample.p50_ms for sample in samples),
                "p99_ms": statistics.median(sample.p99_ms for sample in samples),
            },
        ),
    ]


def ids_at_random(bench: Bench) -> None:
    """Every event on any of a thousand ids."""
    _batches(bench, "ids at random over 1000", at_random_over(1000), Goals(0.30, 0.50, _RATE))


def new_id_every_5(bench: Bench) -> None:
    """Twenty ids in a batch, all new."""
    _batches(bench, "a new id every 5 events", new_id_every(5), Goals(0.30, 0.50, _RATE))


def one_id(bench: Bench) -> None:
    """All events in one chain."""
    _batches(bench, "all on one id", at_random_over(1), Goals(0.35, 0.55, _RATE))


def single(bench: Bench) -> None:
    """One event a request."""
    number, ids = bench.sizes.fewer_events, at_random_over(1000)
    with bench.events(number, ids, batch=1, connections=64) as file:
        bench.against_copy("batch 1 x 64, 1000 ids", file, Goals(0.10, 0.20))


def processes(bench: Bench) -> None:
    """Four services on one database beside one."""
    _four_and_one(bench, "one id per batch", new_id_every(100))
    _four_and_one(bench, "ids at random over 1000", at_random_over(1000))


def _four_and_one(bench: Bench, shape: str, ids: Ids) -> None:
    case = f"4 service processes / 1, {_BATCH}, {shape}"
    with bench.events(bench.sizes.events, ids) as file:
        results = bench.in_turn(
            case,
            four=lambda: bench.sides.service(file, processes=4),
            one=lambda: bench.sides.service(file),
        )
    bench.add_ratio(case, "1 process", results, Goals(0.9, 1.3))


CASES: Final[dict[str, Callable[[Bench], None]]] = {
    "id-per-batch": one_id_per_batch,
    "ids-at-random": ids_at_random,
    "id-every-5": new_id_every_5,
    "one-id": one_id,
    "single": single,
    "processes": processes,
    "size": size,
    "query": query,
    "growth": growth,
}
"""In the order in which they run; the last one changes the large database."""
