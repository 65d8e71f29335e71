"""What delivery costs, beside a loop that does nothing but post; and a long outage."""

import asyncio
import time
from pathlib import Path
from typing import Final

import httpx2
import psutil

from benchmarks import data
from benchmarks.client_recording import NOWHERE, UNBOUNDED, recording, some_events
from benchmarks.worker import say
from kubernaut.audit import AuditStore, uuid7

_PATIENCE: Final = 1800
_BATCH: Final = 100
_CHUNK: Final = 2000


def direct(address: str, total: int, connections: int) -> float:
    """Events per second of requests of 100, encoded beforehand, with the same HTTP library."""
    made = list(data.events(total, data.at_random_over(1000)))
    waiting = [
        b"[" + b",".join(made[start : start + _BATCH]) + b"]" for start in range(0, total, _BATCH)
    ]

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


def drain(address: str, directory: Path, total: int) -> float:
    """Events per second that leave the journal once the server is back."""
    journal = directory / uuid7().hex
    with AuditStore(NOWHERE, journal, max_bytes=UNBOUNDED) as store:
        for event in some_events(total):
            store.record(event, mode="best_effort")
        store.close(timeout=0)
    started = time.perf_counter()
    store = AuditStore(address, journal, max_bytes=UNBOUNDED)
    left = store.flush(_PATIENCE).pending
    seconds = time.perf_counter() - started
    store.close()
    if left:
        raise SystemExit(f"{left} events were not delivered")
    return total / seconds


def end_to_end(address: str, directory: Path, total: int) -> float:
    """Events per second from the first `record` of one thread until all are acknowledged."""
    events = some_events(total)
    with recording(directory, address) as store:
        started = time.perf_counter()
        for event in events:
            store.record(event)
        if store.flush(_PATIENCE).pending:
            raise SystemExit("not everything was delivered")
        return total / (time.perf_counter() - started)


class Memory:
    """Resident memory of this process, at its highest since the start."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.idle = self.peak = self._process.memory_info().rss

    def look(self) -> None:
        """Take note of it now."""
        self.peak = max(self.peak, self._process.memory_info().rss)

    @property
    def mib_over_idle(self) -> float:
        """MiB above what it was at the start."""
        return (self.peak - self.idle) / 2**20


def record_through_outage(store: AuditStore, total: int, seconds: float, memory: Memory) -> float:
    """Record while nothing listens, spread over so many seconds; how long it took."""
    started = time.monotonic()
    for done in range(0, total, _CHUNK):
        for event in some_events(min(_CHUNK, total - done)):
            store.record(event)
        memory.look()
        ahead = done / total * seconds - (time.monotonic() - started)
        if ahead > 0:
            time.sleep(ahead)
    return time.monotonic() - started


def drain_after_outage(address: str, journal: Path, total: int, memory: Memory) -> dict[str, float]:
    """A new process's store on the journal that the outage has filled: rate, and what is lost."""
    opening = time.monotonic()
    store = AuditStore(address, journal, max_bytes=UNBOUNDED)
    opened = time.monotonic()
    while store.flush(1).pending:
        memory.look()
    drained = time.monotonic() - opened
    stats = store.stats()
    store.close()
    if stats.recorded != total or stats.created != total:
        raise SystemExit(f"lost or sent twice: {stats}")
    say(f"  delivered {stats.created} of {total}: lost 0, duplicates {stats.duplicates}")
    return {
        "open_seconds": opened - opening,
        "drain_events_per_second": total / drained,
        "lost": float(total - stats.delivered),
        "duplicates": float(stats.duplicates),
    }


def outage(address: str, directory: Path, total: int, seconds: float) -> dict[str, float]:
    """The whole story: an outage of so long, with so many events, then delivery."""
    journal = directory / uuid7().hex
    some_events(_CHUNK)
    store = AuditStore(NOWHERE, journal, max_bytes=UNBOUNDED)
    store.record(some_events(1)[0])
    store.flush(0.2)
    memory = Memory()
    took = record_through_outage(store, total - 1, seconds, memory)
    during = memory.mib_over_idle
    store.close(timeout=0)
    say(f"  recorded {total} events in {took:.0f} s, {during:.1f} MiB above idle")
    found = drain_after_outage(address, journal, total, memory)
    return {
        "events": float(total),
        "outage_seconds": took,
        "peak_mib_over_idle_during": during,
        "peak_mib_over_idle": memory.mib_over_idle,
        "journal_mib_left": sum(p.stat().st_size for p in journal.iterdir()) / 2**20,
        **found,
    }
