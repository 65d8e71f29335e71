"""Measures the audit client: recording, delivering, and a long outage.

Each comparison is made in turn in one run, several rounds, and quoted as medians and ratios:
absolute figures belong to the machine.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import psutil

from kubernaut.audit import AuditStore, uuid7
from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer

RESULTS = Path(__file__).parent / "results"
NOWHERE = "http://127.0.0.1:9"  # Nothing listens on the discard port.
UNBOUNDED = 2**40


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def event(number: int, correlations: int = 100) -> dict[str, Any]:
    """An event of about 500 bytes; no two are alike."""
    return {
        "event_category": "workflow",
        "event_action": "workflow.progressed",
        "event_outcome": ("success", "failure", "pending")[number % 3],
        "correlation_id": f"rr-{number % correlations:06d}",
        "resource_type": "WorkflowExecution",
        "resource_id": f"restart-{number * 7919 % 100003}",
        "event_data": {
            "step": number,
            "image": f"registry.example/workflow-{number % 61}@sha256:{number * 2654435761:064x}",
            "message": "x" * (number * 37 % 120),
        },
    }


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def record_latency(store: AuditStore, threads: int, total: int) -> dict[str, float]:
    """Latency of `record` in microseconds, and events per second, with so many threads."""
    latencies: list[list[float]] = [[] for _ in range(threads)]

    def work(mine: list[float], share: int, offset: int) -> None:
        for number in range(share):
            one = event(offset + number)
            started = time.perf_counter()
            store.record(one)
            mine.append(time.perf_counter() - started)

    workers = [
        threading.Thread(target=work, args=(mine, total // threads, index * total))
        for index, mine in enumerate(latencies)
    ]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    return _latency([value for mine in latencies for value in mine], seconds)


def record_latency_tasks(store: AuditStore, tasks: int, total: int) -> dict[str, float]:
    """The same for `arecord` with so many tasks on one event loop."""
    latencies: list[float] = []

    async def work(share: int, offset: int) -> None:
        for number in range(share):
            one = event(offset + number)
            started = time.perf_counter()
            await store.arecord(one)
            latencies.append(time.perf_counter() - started)

    async def main() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(work(total // tasks, index * total) for index in range(tasks)))
        return time.perf_counter() - started

    return _latency(latencies, asyncio.run(main()))


def _latency(values: list[float], seconds: float) -> dict[str, float]:
    return {
        "p50_us": percentile(values, 0.5) * 1e6,
        "p99_us": percentile(values, 0.99) * 1e6,
        "events_per_second": len(values) / seconds,
    }


def sqlite_commits(directory: Path, total: int) -> float:
    """Rows of the same size per second, one commit each, in the same mode of SQLite."""
    connection = sqlite3.connect(directory / f"{uuid7().hex}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
    bodies = [msgspec.json.encode(event(number)) for number in range(total)]
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
    bodies = [msgspec.json.encode(event(number)) + b"\n" for number in range(total)]
    descriptor = os.open(directory / f"{uuid7().hex}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started = time.perf_counter()
    for body in bodies:
        os.write(descriptor, body)
        os.fdatasync(descriptor)
    seconds = time.perf_counter() - started
    os.close(descriptor)
    return total / seconds


@contextmanager
def recording(directory: Path, url: str = NOWHERE) -> Iterator[AuditStore]:
    """A store of its own; what is left in it is not waited for."""
    store = AuditStore(url, directory / uuid7().hex, max_bytes=UNBOUNDED)
    try:
        yield store
    finally:
        store.close(timeout=0)


@contextmanager
def service(directory: Path) -> Iterator[str]:
    """A DataStorage process on an embedded PostgreSQL; its address."""
    with PostgresServer(directory / "postgres") as server:
        url = server.url("kubernaut_datastorage")
        migrate(url)
        port = _free_port()
        environment = os.environ | {
            "KUBERNAUT_DATASTORAGE_DATABASE__URL": url,
            "KUBERNAUT_DATASTORAGE_SERVER__PORT": str(port),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "kubernaut", "datastorage", "serve"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{address}/health", trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise SystemExit("DataStorage did not start")


def bodies(total: int, batch: int) -> list[bytes]:
    """Batches encoded beforehand, with ids, as the client would send them."""
    events = [
        event(number) | {"event_id": str(uuid7()), "event_timestamp": "2026-11-24T00:00:00Z"}
        for number in range(total)
    ]
    return [msgspec.json.encode(events[start : start + batch]) for start in range(0, total, batch)]


def direct_rate(address: str, total: int, connections: int) -> float:
    """Events per second of a loop that does nothing but post, with the same HTTP library."""
    waiting = bodies(total, 100)

    async def work(client: httpx2.AsyncClient) -> None:
        while waiting:
            answer = await client.post(
                "/api/v1/audit/events/batch",
                content=waiting.pop(),
                headers={"Content-Type": "application/json", "Prefer": "handling=lenient"},
            )
            answer.raise_for_status()

    async def main() -> float:
        async with httpx2.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
            started = time.perf_counter()
            await asyncio.gather(*(work(client) for _ in range(connections)))
            return time.perf_counter() - started

    return total / asyncio.run(main())


def drain_rate(address: str, directory: Path, total: int) -> float:
    """Events per second that leave the journal once the server is back."""
    journal = directory / uuid7().hex
    with AuditStore(NOWHERE, journal, max_bytes=UNBOUNDED) as store:
        for number in range(total):
            store.record(event(number), mode="best_effort")
        store.close(timeout=0)
    store = AuditStore(address, journal, max_bytes=UNBOUNDED)
    started = time.perf_counter()
    left = store.flush(600).pending
    seconds = time.perf_counter() - started
    store.close()
    if left:
        raise SystemExit(f"{left} events were not delivered")
    return total / seconds


def end_to_end(address: str, directory: Path, total: int) -> float:
    """Events per second from the first `record` until all are acknowledged."""
    with recording(directory, address) as store:
        started = time.perf_counter()
        for number in range(total):
            store.record(event(number))
        if store.flush(600).pending:
            raise SystemExit("not everything was delivered")
        return total / (time.perf_counter() - started)


def outage(directory: Path, total: int, seconds: float) -> dict[str, float]:
    """Record while nothing listens for so long, then deliver; memory at its highest."""
    process = psutil.Process()
    journal = directory / uuid7().hex
    store = AuditStore(NOWHERE, journal, max_bytes=UNBOUNDED)
    store.record(event(0))
    idle = process.memory_info().rss
    peak = idle
    started = time.monotonic()
    for number in range(1, total):
        store.record(event(number), mode="best_effort")
        if number % 1000 == 0:
            peak = max(peak, process.memory_info().rss)
            ahead = number / total * seconds - (time.monotonic() - started)
            if ahead > 0:
                time.sleep(ahead)  # Spread over the outage, as real events would be.
    store.close(timeout=0)
    took = time.monotonic() - started
    say(f"  recorded {total} events in {took:.0f} s")
    with service(directory) as address:
        store = AuditStore(address, journal, max_bytes=UNBOUNDED)
        started = time.monotonic()
        while store.flush(1).pending:
            peak = max(peak, process.memory_info().rss)
        drained = time.monotonic() - started
        stats = store.stats()
        store.close()
    if stats.delivered != total or stats.duplicates:
        raise SystemExit(f"lost or duplicated: {stats}")
    return {
        "events": total,
        "outage_seconds": took,
        "drain_events_per_second": total / drained,
        "peak_mib_over_idle": (peak - idle) / 2**20,
    }


def in_turn(rounds: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
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


def measure(directory: Path, *, quick: bool) -> dict[str, Any]:
    """Everything; seconds when quick, else some twenty minutes."""
    total = 2_000 if quick else 10_000
    rounds = 2 if quick else 5
    found: dict[str, Any] = {}
    say("latency of record()")
    for threads in (1, 8, 64):
        with recording(directory) as store:
            found[f"record, {threads} threads"] = record_latency(store, threads, total)
    with recording(directory) as store:
        found["arecord, 64 tasks"] = record_latency_tasks(store, 64, total)
    say("record() beside SQLite and beside append + fdatasync")

    def recorded() -> float:
        with recording(directory) as store:
            return record_latency(store, 1, total)["events_per_second"]

    results = in_turn(
        rounds,
        record=recorded,
        sqlite=lambda: sqlite_commits(directory, total),
        append=lambda: bare_appends(directory, total),
    )
    found["record / raw SQLite commits"] = ratio(results, "record", "sqlite")
    found["record / append and fdatasync"] = ratio(results, "record", "append")
    found["events per second"] = {
        name: statistics.median(values) for name, values in results.items()
    }
    say("delivery")
    with service(directory) as address:
        results = in_turn(
            rounds,
            drain=lambda: drain_rate(address, directory, total * 2),
            direct=lambda: direct_rate(address, total * 2, 4),
            end_to_end=lambda: end_to_end(address, directory, total),
        )
    found["drain / direct ingest at batch 100"] = ratio(results, "drain", "direct")
    found["delivery, events per second"] = {
        name: statistics.median(values) for name, values in results.items()
    }
    say("outage")
    found["outage"] = outage(directory, 20_000 if quick else 1_000_000, 5 if quick else 600)
    return found


def main() -> None:
    """Measure, print a table, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, not for quoting")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="kubernaut-bench-") as scratch:
        found = measure(Path(scratch), quick=quick)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "quick": quick}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "client.json").write_text(json.dumps({"machine": machine, **found}, indent=2) + "\n")
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {figure:,.1f}" for key, figure in value.items()))
        else:
            print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
