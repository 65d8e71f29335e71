"""Three processes that want to lead, against a real API server, and everything that befalls them.

What must hold: in the history of the object that leaders write, terms never go back; and no write
of a term is accepted after the lease has passed to the next.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kubernaut.kubernetes import LEASES, Change, Client, Lease, Reflector, Store
from kubernaut.local.cluster import LocalCluster
from test.faults.tcp_proxy import TcpProxy
from test.integration.kubernetes import candidate
from test.polling import async_wait_for
from test.reporting import Report
from test.unit.kubernetes.widgets import WIDGETS, Widget

ROUNDS = 100 if os.environ.get("KUBERNAUT_CHAOS") == "long" else 10
FAULTS = ("stop", "kill", "partition", "reset", "end")
ALLOWED = 1.0
"""Seconds for the requests themselves and for the judge to see it, on two busy cores."""
PROGRAM = Path(candidate.__file__)


@dataclass
class Contender:
    """One candidate process behind a proxy of its own."""

    name: str
    proxy: TcpProxy
    arguments: tuple[str, str]
    starts: int = 0
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(PROGRAM),
                f"https://127.0.0.1:{self.proxy.port}",
                *self.arguments,
                f"{self.name}-{self.starts}",
            ],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[3])},
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Judge:
    """Sees every version of the lease and of the ledger, in the server's order."""

    terms: list[tuple[int, int, str]] = field(default_factory=list)
    """Version, term and holder of each take-over."""
    writes: list[tuple[int, int]] = field(default_factory=list)
    """Version and term of each write."""
    taken_at: float = 0.0
    holder: str = ""

    def lease(self, change: Change[Lease]) -> None:
        lease = change.new
        assert lease is not None
        spec = lease.spec
        holder = spec.holder_identity or ""
        if holder and (not self.terms or holder != self.terms[-1][2]):
            self.terms.append(
                (int(lease.metadata.resource_version), spec.lease_transitions or 0, holder)
            )
            self.taken_at = time.monotonic()
        self.holder = holder

    def ledger(self, change: Change[Widget]) -> None:
        if change.new is not None:
            term = int(change.new.spec.note.split()[0])
            self.writes.append((int(change.new.metadata.resource_version), term))

    def late(self) -> list[tuple[int, int]]:
        """Writes of a term after the lease had passed to a later one."""
        return [
            (version, term)
            for version, term in self.writes
            if any(taken < version and later > term for taken, later, _ in self.terms)
        ]

    async def leads(self, above: int) -> str:
        """Wait until a leader of a term above `above` has written, and return its name."""

        async def written() -> bool:
            return bool(self.writes) and self.writes[-1][1] > above and self.holder != ""

        await async_wait_for(written, 60, f"a leader after term {above}")
        return self.holder


@asynccontextmanager
async def judged(client: Client, namespace: str) -> AsyncIterator[Judge]:
    judge = Judge()
    leases = Reflector(client, LEASES, Store[Lease](), namespace=namespace)
    widgets = Reflector(client, WIDGETS, Store[Widget](), namespace=namespace)
    leases.add_handler(judge.lease)
    widgets.add_handler(judge.ledger)
    running = [asyncio.create_task(each.run()) for each in (leases, widgets)]
    try:
        await asyncio.gather(leases.synced.wait(), widgets.synced.wait())
        yield judge
        # Of a list it would see the last version only.
        assert (leases.lists, widgets.lists) == (1, 1)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


@pytest.fixture
def contenders(cluster: LocalCluster, namespace: str) -> Iterator[list[Contender]]:
    upstream = urlsplit(cluster.url)
    assert upstream.hostname is not None
    assert upstream.port is not None
    made: list[Contender] = []
    with ExitStack() as stack:
        for number in range(3):
            proxy = stack.enter_context(TcpProxy(upstream.hostname, upstream.port))
            contender = Contender(f"c{number}", proxy, (str(cluster.kubeconfig_path), namespace))
            contender.start()
            stack.callback(contender.end)
            made.append(contender)
        yield made


def strike(contender: Contender, fault: str) -> None:
    match fault:
        case "stop":
            os.kill(contender.process.pid, signal.SIGSTOP)
        case "kill":
            contender.end()
        case "partition":
            contender.proxy.stall()
        case "reset":
            contender.proxy.refuse()
        case _:
            contender.process.terminate()


def mend(contender: Contender, fault: str) -> None:
    match fault:
        case "stop":
            os.kill(contender.process.pid, signal.SIGCONT)
        case "partition":
            contender.proxy.resume()
        case "reset":
            contender.proxy.listen()
        case _:
            contender.end()
            contender.start()


async def test_no_write_of_a_former_leader_takes_effect(
    client: Client, namespace: str, contenders: list[Contender], report: Report
) -> None:
    rng = random.Random(7)  # noqa: S311  (a repeatable test)
    clock = client.clock
    took: dict[str, list[float]] = {fault: [] for fault in FAULTS}
    async with judged(client, namespace) as judge:
        await judge.leads(above=-1)
        for number in range(ROUNDS):
            fault = FAULTS[number % len(FAULTS)]
            # At any moment between two renewals, and in the middle of requests.
            await clock.sleep_until(clock.monotonic() + rng.uniform(0.2, 1.5))
            term = judge.terms[-1][1]
            leader = next(each for each in contenders if judge.holder.startswith(each.name))
            struck = time.monotonic()
            await asyncio.to_thread(strike, leader, fault)
            # The former leader wakes up when the next one has begun its work.
            await judge.leads(above=term)
            took[fault].append(judge.taken_at - struck)
            await asyncio.to_thread(mend, leader, fault)
        term = judge.terms[-1][1]
        await clock.sleep_until(clock.monotonic() + candidate.LEASE_DURATION)
        assert judge.terms[-1][1] == term, "whoever leads goes on leading"
    terms = [term for _, term in judge.writes]
    assert terms == sorted(terms)
    assert judge.late() == []
    assert len(judge.writes) > 10 * ROUNDS
    longest = {fault: round(max(times), 2) for fault, times in took.items()}
    report(f"{ROUNDS} hand-overs, {len(terms)} writes; longest by fault in seconds: {longest}")
    retry = candidate.RETRY_PERIOD + ALLOWED
    assert longest.pop("end") <= retry
    assert max(longest.values()) <= candidate.LEASE_DURATION + retry


async def test_a_short_outage_changes_no_leader(
    client: Client, namespace: str, contenders: list[Contender]
) -> None:
    clock = client.clock
    async with judged(client, namespace) as judge:
        await judge.leads(above=-1)
        term = judge.terms[-1][1]
        for contender in contenders:
            await asyncio.to_thread(contender.proxy.refuse)
        await clock.sleep_until(clock.monotonic() + 0.5)
        for contender in contenders:
            await asyncio.to_thread(contender.proxy.listen)
        await clock.sleep_until(clock.monotonic() + 2 * candidate.LEASE_DURATION)
        assert judge.terms[-1][1] == term
