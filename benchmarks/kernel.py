"""Measures the reconciler kernel beside kopf: `make bench-kernel`, or `--help`.

Both see the same objects of a custom kind in one real API server, on loopback, and do nothing
with them. Each runs in a process of its own, in turn, several rounds; figures are medians, and
ratios medians of each round's ratio. kopf's handler is `on.event`, the one that writes nothing:
`on.create` and `on.update` keep their state in annotations. In `kopf+cache` the handler keeps
the objects in a dictionary, as our store does. The server runs on the same cores, so latency and
the time to start are its too.

* reconciles/s: from the first call to the last, with all objects listed, at most so many workers.
  kopf with a limit leaves an object's worker at once (`idle_timeout`), or it would take 5 s each;
  `any` is kopf as it comes, without a limit, beside 8 workers of ours.
* start: from nothing but imports to the call with the last object; the list is in it.
* memory: RSS when all is quiet; idle is the same program without an object.
* latency: from sending a change to the call, at a steady rate; `watch` is a bare watch, the floor.
* CPU: of the whole process per change of an object, at that rate and in a burst. In a burst our
  queue may coalesce changes of one object; kopf calls the handler for each.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # This directory's parent.

from benchmarks.kernel_objects import CRD, Bytes, Writer, writer
from benchmarks.kernel_sides import Answer, Job, SideName
from benchmarks.worker import Worker, say
from kubernaut.local.cluster import LocalCluster

RESULTS: Final = Path(__file__).parent / "results"
WORKERS: Final = (1, 8, 32)
_MIB: Final = 2**20
_SETTLE: Final = 7.0
"""Seconds: kopf's workers stay for 5 after their last event."""
_MANY, _FEW, _NONE = "many", "few", "none"  # The namespaces.


class Sizes(NamedTuple):
    """How much of everything."""

    objects: int
    few: int
    paced_rounds: int
    burst_rounds: int
    per_second: float
    rounds: int


FULL: Final = Sizes(10_000, 1_000, 1, 2, 100, 3)
QUICK: Final = Sizes(1_000, 200, 2, 5, 100, 1)
GOALS: Final = {"reconciles/s": (">=", 5.0), "RSS, MiB": ("<=", 0.5), "RSS over idle": ("<=", 0.5)}
"""By the beginning of a row's name: what the ratio to kopf is to be."""

Samples = dict[str, dict[str, list[float]]]


class Bench:
    """One run: a server with objects, and what was measured."""

    def __init__(self, kubeconfig: Path, writing: Writer, sizes: Sizes, size: Bytes) -> None:
        self.samples: Samples = defaultdict(lambda: defaultdict(list))
        self._kubeconfig = str(kubeconfig)
        self._writer = writing
        self._sizes = sizes
        self._size = size

    async def round(self, number: int) -> None:
        """Measure all sides once; every other round in the opposite order."""
        turn = 1 if number % 2 else -1
        for workers in WORKERS:
            for side in self._sides("kernel", "kopf")[::turn]:
                answer = await self._start(side, workers)
                self._rate(f"reconciles/s, workers: {workers}", side, answer)
        for side in self._sides("kernel", "kopf", "kopf+cache")[::turn]:
            await self._memory(side)
        for side in self._sides("kernel", "kopf", "watch")[::turn]:
            await self._latency(side)
        for side in self._sides("kernel", "kopf")[::turn]:
            await self._burst(side)

    @staticmethod
    def _sides(*names: SideName) -> tuple[SideName, ...]:
        return names

    async def _start(self, side: SideName, workers: int | None, settle: float = 0.0) -> Answer:
        many = self._sizes.objects
        job = Job(side, self._kubeconfig, _MANY, many, workers, settle=settle)
        return await asyncio.to_thread(_answer, job)

    async def _memory(self, side: SideName) -> None:
        workers = 8 if side == "kernel" else None
        job = Job(side, self._kubeconfig, _NONE, 0, workers, settle=3.0)
        idle = await asyncio.to_thread(_answer, job)
        full = await self._start(side, workers, _SETTLE)
        self._rate("reconciles/s, workers: any", side, full)
        over = full.rss - idle.rss
        self._note("start, s until all are reconciled", side, full.last)
        self._note("start, s until the first call", side, full.first)
        self._note("RSS idle, MiB", side, idle.rss)
        self._note("RSS, MiB", side, full.rss)
        self._note("RSS at its peak, MiB", side, full.peak)
        self._note("RSS over idle, MiB", side, over)
        self._note("RSS over idle / JSON served", side, over * _MIB / self._size.served)
        bare = self._size.without_managed_fields
        self._note("RSS over idle / JSON without managedFields", side, over * _MIB / bare)

    async def _latency(self, side: SideName) -> None:
        sizes = self._sizes
        answer = await self._changes(side, sizes.paced_rounds, sizes.per_second)
        # The quantiles of a hundred, whose 50th and 99th are wanted.
        cut = statistics.quantiles(answer.latencies, n=100)
        self._note("latency p50, ms", side, cut[49] / 1e6)
        self._note("latency p99, ms", side, cut[98] / 1e6)
        changes = sizes.paced_rounds * sizes.few
        self._note("CPU per event, steady, µs", side, answer.cpu / changes * 1e6)

    async def _burst(self, side: SideName) -> None:
        sizes = self._sizes
        answer = await self._changes(side, sizes.burst_rounds, None)
        changes = sizes.burst_rounds * sizes.few
        self._note("CPU per event, burst, µs", side, answer.cpu / changes * 1e6)
        self._note("changes/s, burst (the server's)", side, changes / answer.wall)
        self._note("calls per change, burst", side, answer.calls / changes)

    async def _changes(self, side: SideName, rounds: int, per_second: float | None) -> Answer:
        few, last = self._sizes.few, self._writer.round + rounds
        workers = 8 if side == "kernel" else None
        job = Job(side, self._kubeconfig, _FEW, few, workers, round=last)
        with Worker("kernel_sides", job) as worker:
            await asyncio.to_thread(worker.wait_until_ready)
            worker.go()
            await self._writer.change(_FEW, few, rounds, per_second)
            return await asyncio.to_thread(worker.answer, Answer)

    def _rate(self, row: str, side: SideName, answer: Answer) -> None:
        self._note(row, side, (self._sizes.objects - 1) / (answer.last - answer.first))
        self._note(f"{row}, start included", side, self._sizes.objects / answer.last)

    def _note(self, row: str, side: SideName, value: float) -> None:
        self.samples[row][side].append(value)
        say(f"  {row}: {side} {value:,.2f}")


def _answer(job: Job) -> Answer:
    with Worker("kernel_sides", job) as worker:
        return worker.answer(Answer)


def summary(samples: Samples) -> dict[str, dict[str, Any]]:
    """Of each row: medians, ratios of ours to the others, and whether a goal is met."""
    found: dict[str, dict[str, Any]] = {}
    for name, sides in samples.items():
        row: dict[str, Any] = {side: statistics.median(values) for side, values in sides.items()}
        for other in ("kopf", "kopf+cache"):
            if other in sides:
                pairs = zip(sides["kernel"], sides[other], strict=True)
                row[f"/ {other}"] = statistics.median(ours / theirs for ours, theirs in pairs)
        for start, (sign, bound) in GOALS.items():
            if name.startswith(start) and "/ JSON" not in name:
                ratio = row["/ kopf"]
                row["goal"] = f"{sign} {bound:g}"
                row["met"] = ratio >= bound if sign == ">=" else ratio <= bound
        found[name] = row
    return found


def table(rows: dict[str, dict[str, Any]]) -> str:
    """For a terminal."""
    columns = ("kernel", "kopf", "/ kopf", "kopf+cache", "/ kopf+cache", "watch")
    lines = [" " * 44 + "".join(f"{column:>13}" for column in columns) + "  goal"]
    for name, row in rows.items():
        cells = "".join(f"{row[c]:>13,.2f}" if c in row else " " * 13 for c in columns)
        goal = f"  {row['goal']}: {'met' if row['met'] else 'MISSED'}" if "goal" in row else ""
        lines.append(f"{name:<44}{cells}{goal}")
    return "\n".join(lines)


async def measure(kubeconfig: Path, sizes: Sizes) -> dict[str, Any]:
    """Make the objects, and measure all."""
    async with writer(kubeconfig) as writing:
        say(f"making {sizes.objects:,} objects")
        await writing.make(_MANY, sizes.objects)
        await writing.make(_FEW, sizes.few)
        await writing.make(_NONE, 0)
        size = await writing.sizes(_MANY)
        bench = Bench(kubeconfig, writing, sizes, size)
        for number in range(1, sizes.rounds + 1):
            say(f"round {number} of {sizes.rounds}")
            await bench.round(number)
    return {"sizes": sizes._asdict() | {"json_bytes": size._asdict()}, "samples": bench.samples}


def main() -> None:
    """Measure, print the table, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, not for quoting")
    options = parser.parse_args()
    started = time.monotonic()
    with LocalCluster(
        controller_manager=False, scheduler=False, kwok=False, crds=[CRD], report=say
    ) as cluster:
        found = asyncio.run(measure(cluster.kubeconfig_path, QUICK if options.quick else FULL))
    rows = summary(found["samples"])
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / ("kernel-quick.local.json" if options.quick else "kernel.json")
    head = {"machine": machine, "kopf": version("kopf"), "medians": rows}
    kept.write_text(json.dumps(head | found, indent=2) + "\n")
    print(table(rows))
    say(f"written: {kept}; {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
