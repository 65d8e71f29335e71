"""The timing of leader election, on a model of the lock."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kubernaut.kubernetes._leader import LeaderElection, LeadershipLostError
from kubernaut.kubernetes._lease import Tenure
from kubernaut.kubernetes._transport import Request
from kubernaut.kubernetes.testing import VirtualClock, settle
from test.unit.kubernetes.lock_model import Link, Machine, Process, Server

Timing = tuple[int, float, float]
LEASE, RENEW, RETRY = DEFAULT = (15, 10.0, 2.0)
TIMINGS = st.sampled_from([DEFAULT, (12, 11.0, 2.0), (3, 2.0, 0.5), (60, 15.0, 5.0)])


class Cluster:
    """A server and processes, and what must hold between them at every moment."""

    def __init__(
        self, processes: int, *, seed: int = 0, slowest: float = 0.0, timing: Timing = DEFAULT
    ) -> None:
        self.clock = VirtualClock()
        self.server = Server()
        self.server.on_new_holder = self._new_holder
        self.holders: list[tuple[float, str]] = []
        self.violations: list[str] = []
        self.writes = 0
        rng = random.Random(seed)  # noqa: S311  (a repeatable test)
        self.processes = [
            Process(
                self.clock,
                Link(self.server, Machine(self.clock, rng.uniform(-1e6, 1e6)), rng, slowest),
                number,
                *timing,
                self._write,
            )
            for number in range(processes)
        ]

    def _new_holder(self, identity: str) -> None:
        now = self.clock.monotonic()
        self.holders.append((now, identity))
        for process in self.processes:
            if process.election.leading:
                self.violations.append(f"{now}: {identity} got it from {process.election.identity}")

    def _write(self, identity: str) -> None:
        self.writes += 1
        tenure = self.server.tenure
        if tenure is None or tenure.holder not in ("", identity):
            self.violations.append(f"{self.clock.monotonic()}: late write of {identity}: {tenure}")

    def leaders(self) -> list[Process]:
        return [process for process in self.processes if process.working]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Cluster"]:
        for process in self.processes:
            process.start()
        await settle()
        try:
            yield self
        finally:
            for process in self.processes:
                process.link.machine.resume()
                process.task.cancel()
            for process in self.processes:
                while not process.task.done():
                    await self.clock.advance(RETRY)


FAULTS = st.lists(
    st.tuples(
        st.floats(0.01, 1),  # Of the lease.
        st.integers(0, 2),
        st.sampled_from(["stop", "partition", "lose replies", "heal", "kill"]),
    ),
    max_size=12,
)


@given(FAULTS, st.integers(0, 2**16), st.sampled_from([0.0, 0.05, 0.4]), TIMINGS)
@settings(max_examples=200, deadline=None)
def test_no_write_of_an_old_term_whatever_happens(
    faults: list[tuple[float, int, str]], seed: int, slowness: float, timing: Timing
) -> None:
    lease, renew, retry = timing
    slowest = slowness * renew

    async def scenario() -> None:
        cluster = Cluster(3, seed=seed, slowest=slowest, timing=timing)
        async with cluster.running():
            for wait, number, fault in faults:
                await cluster.clock.advance(wait * lease)
                await apply(cluster.processes[number], fault)
            for process in cluster.processes:
                await apply(process, "heal")
            # The last link is fast enough to renew, so that somebody must come to lead.
            for process in cluster.processes:
                process.link.slowest = min(slowest, 0.05 * renew)
            before = cluster.writes
            await cluster.clock.advance(2 * (lease + retry))
            assert cluster.violations == []
            assert len(cluster.leaders()) == 1
            assert cluster.writes > before

    asyncio.run(scenario())


async def apply(process: Process, fault: str) -> None:
    link = process.link
    match fault:
        case "stop":
            link.machine.stopped = True
        case "partition":
            link.partitioned = True
        case "lose replies":
            link.replies_lost = True
        case "kill":
            await process.kill()
            await settle()
            link.partitioned = link.replies_lost = False
            process.start()
            await settle()
        case _:
            link.partitioned = link.replies_lost = False
            link.machine.resume()


@given(
    st.floats(0, 30),
    st.sampled_from(["stop", "partition", "kill"]),
    st.integers(0, 2**16),
    TIMINGS,
)
@settings(max_examples=100, deadline=None)
def test_a_hand_over_takes_no_longer_than_the_lease_and_a_retry(
    until: float, fault: str, seed: int, timing: Timing
) -> None:
    lease, _, retry = timing

    async def scenario() -> None:
        cluster = Cluster(3, seed=seed, timing=timing)
        async with cluster.running():
            await cluster.clock.advance(until)
            (leader,) = cluster.leaders()
            if fault == "kill":
                await leader.kill()
            else:
                await apply(leader, fault)
            failed = cluster.clock.monotonic()
            changes = len(cluster.holders)
            await cluster.clock.advance(lease + retry)
            assert len(cluster.holders) == changes + 1
            assert cluster.holders[-1][0] - failed <= lease + retry
            assert cluster.violations == []

    asyncio.run(scenario())


async def test_a_leader_that_ends_hands_over_within_a_retry_period() -> None:
    cluster = Cluster(2)
    async with cluster.running():
        await cluster.clock.advance(5)
        (leader,) = cluster.leaders()
        leader.task.cancel()
        await cluster.clock.advance(RETRY)
        (successor,) = cluster.leaders()
        assert successor is not leader
        assert cluster.violations == []


async def test_an_outage_shorter_than_the_renew_deadline_is_survived() -> None:
    cluster = Cluster(2)
    async with cluster.running():
        await cluster.clock.advance(5)
        (leader,) = cluster.leaders()
        for process in cluster.processes:
            process.link.partitioned = True
        await cluster.clock.advance(RENEW - RETRY - 0.1)
        for process in cluster.processes:
            process.link.partitioned = False
        await cluster.clock.advance(60)
        assert cluster.leaders() == [leader]
        assert len(cluster.holders) == 1


async def test_work_stops_before_the_lease_can_pass() -> None:
    cluster = Cluster(1)
    async with cluster.running():
        await cluster.clock.advance(5)
        (leader,) = cluster.leaders()
        leader.link.partitioned = True
        await cluster.clock.advance(RENEW)
        assert cluster.leaders() == []


async def test_a_stopped_process_wakes_up_fenced() -> None:
    cluster = Cluster(1)
    async with cluster.running():
        await cluster.clock.advance(5)
        (leader,) = cluster.leaders()
        leader.link.machine.stopped = True
        await cluster.clock.advance(RENEW)
        # Nothing of it has run since, and the very first thing that it does is refused.
        assert leader.working
        with pytest.raises(LeadershipLostError):
            leader.election.fence()


class SlowReplies(Link):
    """Requests arrive at once, answers take four seconds."""

    asked = 0

    def latency(self) -> float:
        self.asked += 1
        return 4.0 if self.asked % 2 == 0 else 0.0


async def test_the_lease_counts_from_when_the_renewal_was_sent() -> None:
    clock, server = VirtualClock(), Server()
    link = SlowReplies(server, Machine(clock, 0), random.Random(1))  # noqa: S311  (repeatable)
    election = LeaderElection(link, clock=clock, registry=CollectorRegistry())
    task = asyncio.create_task(election.run(asyncio.Event().wait))  # type: ignore[arg-type]  # waits
    await clock.advance(8)  # Read at 0, made at 4, known at 8.
    assert election.elected.is_set()
    link.partitioned = True
    await clock.advance(5.9)
    election.fence()
    await clock.advance(0.1)
    with pytest.raises(LeadershipLostError):
        election.fence()
    with pytest.raises(LeadershipLostError):
        await task


async def test_a_deleted_lease_is_made_again() -> None:
    cluster = Cluster(1)
    async with cluster.running():
        await cluster.clock.advance(5)
        cluster.server.delete()
        await cluster.clock.advance(RETRY)
        assert cluster.server.tenure is not None
        assert len(cluster.leaders()) == 1


async def test_another_holder_seen_is_a_loss_at_once() -> None:
    cluster = Cluster(1)
    async with cluster.running():
        await cluster.clock.advance(5)
        (leader,) = cluster.leaders()
        first = leader.election
        cluster.server.tenure = Tenure("thief", 15, None, None, 7, "99")
        await cluster.clock.advance(RETRY)
        with pytest.raises(LeadershipLostError):
            first.fence()
        assert cluster.leaders() == []


def candidate(clock: VirtualClock, server: Server, registry: CollectorRegistry) -> LeaderElection:
    link = Link(server, Machine(clock, 0), random.Random(1))  # noqa: S311  (a repeatable test)
    return LeaderElection(link, clock=clock, registry=registry)


async def test_work_that_ends_releases_and_work_that_fails_does_too() -> None:
    clock, server = VirtualClock(), Server()
    election = candidate(clock, server, CollectorRegistry())

    async def work() -> None:
        election.fence()

    async def failing() -> None:
        raise LookupError

    task = asyncio.create_task(election.run(work))
    await clock.advance(0)
    await task
    assert server.tenure is not None
    assert server.tenure.holder == ""
    assert not election.leading
    task = asyncio.create_task(election.run(failing))
    await clock.advance(RETRY)
    with pytest.raises(LookupError):
        await task
    assert server.tenure.holder == ""
    assert election.term == 1


async def test_a_failure_of_work_that_was_being_cancelled_is_the_cause() -> None:
    clock, server = VirtualClock(), Server()
    election = candidate(clock, server, CollectorRegistry())

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError

    task = asyncio.create_task(election.run(work))
    await clock.advance(5)
    server.tenure = Tenure("thief", 15, None, None, 7, "99")
    await clock.advance(RETRY)
    with pytest.raises(LeadershipLostError) as caught:
        await task
    assert isinstance(caught.value.__cause__, LookupError)


async def test_work_that_cleans_up_after_a_loss_is_fenced() -> None:
    clock, server = VirtualClock(), Server()
    election = candidate(clock, server, CollectorRegistry())
    fenced = False

    async def work() -> None:
        nonlocal fenced
        try:
            await asyncio.Event().wait()
        finally:
            try:
                election.fence()
            except LeadershipLostError:
                fenced = True

    task = asyncio.create_task(election.run(work))
    await clock.advance(5)
    server.tenure = Tenure("thief", 15, None, None, 7, "99")
    await clock.advance(RETRY)
    with pytest.raises(LeadershipLostError):
        await task
    assert fenced


async def test_work_goes_on_being_led_while_it_ends() -> None:
    clock, server = VirtualClock(), Server()
    election = candidate(clock, server, CollectorRegistry())
    last_write = None

    async def work() -> None:
        nonlocal last_write
        try:
            await clock.sleep_until(1e6)
        finally:
            await clock.sleep_until(clock.monotonic() + 60)
            election.fence()
            last_write = clock.monotonic()

    task = asyncio.create_task(election.run(work))
    await clock.advance(5)
    task.cancel()
    await clock.advance(61)
    assert task.cancelled()
    assert last_write == 65


async def test_work_that_does_not_end_stays_fenced_for_ever() -> None:
    clock, server = VirtualClock(), Server()
    election = candidate(clock, server, CollectorRegistry())
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(election.run(stubborn))
    await clock.advance(5)
    server.tenure = Tenure("thief", 15, None, None, 7, "99")
    await clock.advance(RETRY + LEASE - RENEW)
    with pytest.raises(LeadershipLostError):
        await task
    with pytest.raises(LeadershipLostError, match="earlier term"):
        await election.run(stubborn)
    release.set()
    await settle()


async def test_writes_are_fenced_and_bounded_and_reads_pass() -> None:
    clock, server = VirtualClock(), Server()
    election = candidate(clock, server, CollectorRegistry())
    election.fence_writes(Request("GET", "/"))
    with pytest.raises(LeadershipLostError):
        election.fence_writes(Request("PATCH", "/"))
    task = asyncio.create_task(election.run(asyncio.Event().wait))  # type: ignore[arg-type]  # waits
    await clock.advance(1)
    request = Request("PATCH", "/", timeout=30)
    election.fence_writes(request)
    assert request.timeout == LEASE - 1
    task.cancel()
    await clock.advance(1)


async def test_the_metric_says_who_leads() -> None:
    clock, server, registry = VirtualClock(), Server(), CollectorRegistry()
    election = candidate(clock, server, registry)

    def status() -> float | None:
        return registry.get_sample_value("leader_election_master_status", {"name": "lock"})

    assert status() == 0
    task = asyncio.create_task(election.run(asyncio.Event().wait))  # type: ignore[arg-type]  # waits
    await clock.advance(1)
    assert status() == 1
    task.cancel()
    await clock.advance(1)
    assert status() == 0


@pytest.mark.parametrize(
    ("lease", "renew", "retry"), [(10, 10.0, 2.0), (15, 2.0, 2.0), (15, 10.0, 0.0)]
)
def test_durations_that_guarantee_nothing_are_refused(
    lease: int, renew: float, retry: float
) -> None:
    link = Link(Server(), Machine(VirtualClock(), 0), random.Random(1))  # noqa: S311  (repeatable)
    with pytest.raises(ValueError, match="lease_duration > renew_deadline"):
        LeaderElection(link, lease_duration=lease, renew_deadline=renew, retry_period=retry)
