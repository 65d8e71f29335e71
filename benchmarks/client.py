"""Measures the audit client: `make bench-client`, or `python benchmarks/client.py --help`.

Each comparison is made in turn in one run, several rounds, and quoted as medians of ratios:
absolute figures belong to the machine. The whole takes some twenty-five minutes.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # This directory's parent.

from benchmarks import client_delivery as delivery
from benchmarks import client_recording as recording
from benchmarks.processes import services
from benchmarks.worker import say
from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer

RESULTS: Final = Path(__file__).parent / "results"
CASES: Final = ("import", "latency", "commits", "delivery", "outage")


class Sizes(NamedTuple):
    """How much of everything."""

    events: int
    rounds: int
    outage_events: int
    outage_seconds: float


FULL: Final = Sizes(10_000, 5, 1_000_000, 600)
QUICK: Final = Sizes(2_000, 2, 20_000, 5)


@contextmanager
def service(directory: Path) -> Iterator[str]:
    """A DataStorage process on a PostgreSQL of its own; its address."""
    with PostgresServer(directory / "postgres") as server:
        url = server.url("kubernaut_datastorage")
        migrate(url)
        with services(url, directory) as (one,):
            yield f"http://127.0.0.1:{one.port}"


def measure_import(directory: Path, _: Sizes) -> dict[str, Any]:
    """How long the interpreter takes to have the library."""
    return {"import, median of 20 in ms": recording.import_milliseconds(directory)}


def measure_latency(directory: Path, sizes: Sizes) -> dict[str, Any]:
    """Of `record`, alone and in company."""
    found = {
        f"record, {threads} threads": recording.by_threads(directory, threads, sizes.events)
        for threads in (1, 8, 64)
    }
    return found | {"arecord, 64 tasks": recording.by_tasks(directory, 64, sizes.events)}


def measure_commits(directory: Path, sizes: Sizes) -> dict[str, Any]:
    """`record` beside SQLite, and beside append and fdatasync."""
    results = recording.in_turn(
        sizes.rounds,
        say,
        record=lambda: recording.by_threads(directory, 1, sizes.events)["events_per_second"],
        record_64=lambda: recording.by_threads(directory, 64, sizes.events)["events_per_second"],
        sqlite=lambda: recording.sqlite_commits(directory, sizes.events),
        append=lambda: recording.bare_appends(directory, sizes.events),
    )
    return {
        "record, 1 thread / SQLite commits": recording.ratio(results, "record", "sqlite"),
        "record, 64 threads / SQLite commits": recording.ratio(results, "record_64", "sqlite"),
        "record, 1 thread / append + fdatasync": recording.ratio(results, "record", "append"),
        "commits, events per second": medians(results),
    }


def measure_delivery(directory: Path, sizes: Sizes) -> dict[str, Any]:
    """Draining a journal beside posting the same without one."""
    total = sizes.events * 4
    with service(directory) as address:
        results = recording.in_turn(
            sizes.rounds,
            say,
            drain=lambda: delivery.drain(address, directory, total),
            direct=lambda: delivery.direct(address, total, 4),
            end_to_end=lambda: delivery.end_to_end(address, directory, sizes.events),
        )
    return {
        "drain / direct ingest at batch 100": recording.ratio(results, "drain", "direct"),
        "end to end, 1 thread / direct": recording.ratio(results, "end_to_end", "direct"),
        "delivery, events per second": medians(results),
    }


def measure_outage(directory: Path, sizes: Sizes) -> dict[str, Any]:
    """A long outage, its end, and what is lost: nothing."""
    with service(directory) as address:
        found = delivery.outage(address, directory, sizes.outage_events, sizes.outage_seconds)
        rate = delivery.direct(address, min(sizes.outage_events, 100_000), 4)
    found["drain / direct ingest afterwards"] = found["drain_events_per_second"] / rate
    return {"outage": found}


def medians(results: dict[str, list[float]]) -> dict[str, float]:
    """Of each side."""
    return {name: statistics.median(values) for name, values in results.items()}


def main() -> None:
    """Measure, print, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, not for quoting")
    parser.add_argument("--only", action="append", choices=CASES, help="may be repeated")
    options = parser.parse_args()
    logging.getLogger("kubernaut.audit").setLevel(logging.ERROR)  # Outages are on purpose here.
    sizes = QUICK if options.quick else FULL
    found: dict[str, Any] = {}
    for name in options.only or CASES:
        say(name)
        with tempfile.TemporaryDirectory(prefix="kubernaut-bench-") as scratch:
            found |= globals()[f"measure_{name}"](Path(scratch), sizes)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / ("client-quick.local.json" if options.quick else "client.json")
    before = json.loads(kept.read_text()) if options.only and kept.exists() else {}
    kept.write_text(json.dumps(before | {"machine": machine} | found, indent=2) + "\n")
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {figure:,.2f}" for key, figure in value.items()))
        else:
            print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
