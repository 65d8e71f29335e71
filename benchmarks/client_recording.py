"""What recording costs: `record` by itself, and beside the two things that it cannot beat."""

import asyncio
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import data
from kubernaut.audit import AuditStore, uuid7

NOWHERE: Final = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""
UNBOUNDED: Final = 2**40
_IMPORTS: Final = 20


def some_events(count: int, correlations: int = 1000) -> list[dict[str, Any]]:
    """Diverse events, without ids and times: those are what `record` gives."""
    rng = random.Random()
    ids = data.at_random_over(correlations)
    made = []
    for _ in range(count):
        one = data.event(rng, next(ids), datetime.now(UTC), f"{rng.getrandbits(48):012x}")
        del one["event_id"], one["event_timestamp"]
        made.append(one)
    return made


@contextmanager
def recording(directory: Path, url: str = NOWHERE, **options: Any) -> Iterator[AuditStore]:
    """A store of its own; what is left in it is not waited for."""
    store = AuditStore(url, directory / uuid7().hex, max_bytes=UNBOUNDED, **options)
    try:
        yield store
    finally:
        store.close(timeout=0)


def by_threads(directory: Path, threads: int, total: int) -> dict[str, float]:
    """Latency and rate of `record` with so many threads."""
    shares = [some_events(total // threads) for _ in range(threads)]
    latencies: list[list[float]] = [[] for _ in range(threads)]

    def work(events: list[dict[str, Any]], mine: list[float]) -> None:
        for event in events:
            started = time.perf_counter()
            store.record(event)
            mine.append(time.perf_counter() - started)

    pairs = list(zip(shares, latencies, strict=True))
    with recording(directory) as store:
        workers = [threading.Thread(target=work, args=pair) for pair in pairs]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - started
    return latency([value for mine in latencies for value in mine], seconds)


def by_tasks(directory: Path, tasks: int, total: int) -> dict[str, float]:
    """Latency and rate of `arecord` with so many tasks on one event loop."""
    latencies: list[float] = []

    async def work(store: AuditStore, events: list[dict[str, Any]]) -> None:
        for event in events:
            started = time.perf_counter()
            await store.arecord(event)
            latencies.append(time.perf_counter() - started)

    async def main() -> float:
        shares = [some_events(total // tasks) for _ in range(tasks)]
        async with AuditStore(NOWHERE, directory / uuid7().hex, max_bytes=UNBOUNDED) as store:
            started = time.perf_counter()
            await asyncio.gather(*(work(store, share) for share in shares))
            seconds = time.perf_counter() - started
            await store.aclose(timeout=0)
        return seconds

    return latency(latencies, asyncio.run(main()))


def latency(values: list[float], seconds: float) -> dict[str, float]:
    """Percentiles in microseconds, and the rate."""
    ordered = sorted(values)
    return {
        "p50_us": ordered[len(ordered) // 2] * 1e6,
        "p99_us": ordered[len(ordered) * 99 // 100] * 1e6,
        "events_per_second": len(values) / seconds,
    }


def encoded(total: int) -> list[bytes]:
    """The same events as they are in a journal."""
    filled = {"event_id": str(uuid7()), "event_timestamp": "2026-11-25T00:00:00Z"}
    return [msgspec.json.encode(event | filled) for event in some_events(total)]


def sqlite_commits(directory: Path, total: int) -> float:
    """Rows of the same size per second, one commit each, in the same mode of SQLite."""
    bodies = encoded(total)
    connection = sqlite3.connect(directory / f"{uuid7().hex}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
    started = time.perf_counter()
    for body in bodies:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t (body) VALUES (?)", (body,))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return total / seconds


def bare_appends(directory: Path, total: int) -> float:
    """Lines of the same size per second, one `fdatasync` each."""
    bodies = encoded(total)
    path = directory / f"{uuid7().hex}.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started = time.perf_counter()
    for body in bodies:
        os.write(descriptor, body + b"\n")
        os.fdatasync(descriptor)
    seconds = time.perf_counter() - started
    os.close(descriptor)
    return total / seconds


def import_milliseconds(directory: Path) -> dict[str, float]:
    """Medians of a new interpreter that imports the library, what it builds on, and nothing.

    With bytecode, as after an installation: what is compiled is kept in `directory`.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(directory)

    def milliseconds(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return (time.perf_counter() - started) * 1000

    codes = {
        "kubernaut.audit": "import kubernaut.audit",
        "msgspec, sqlite3, logging": "import msgspec, sqlite3, logging, pathlib",
        "nothing": "pass",
    }
    for code in codes.values():
        milliseconds(code)  # Compiles.
    times: dict[str, list[float]] = {what: [] for what in codes}
    for _ in range(_IMPORTS):
        for what, code in codes.items():
            times[what].append(milliseconds(code))
    return {what: statistics.median(values) for what, values in times.items()}


def in_turn(
    rounds: int, say: Callable[[str], None], **sides: Callable[[], float]
) -> dict[str, list[float]]:
    """Measure each side once a round, one after the other."""
    results: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            results[name].append(side())
        say(f"  round {number + 1} of {rounds}")
    return results


def ratio(results: dict[str, list[float]], one: str, other: str) -> float:
    """The median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(results[one], results[other], strict=True))
