"""A model of a lock behind a network, and of processes that can be stopped, under a virtual clock.

For the timing of leader election alone. What the API server really does with a Lease is tested in
`test/integration/kubernetes`.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kubernaut.kubernetes._clock import Timer, sleep_on
from kubernaut.kubernetes._errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    TransportError,
)
from kubernaut.kubernetes._leader import LeaderElection, LeadershipLostError
from kubernaut.kubernetes._lease import Tenure
from kubernaut.kubernetes.testing import VirtualClock

T = TypeVar("T")


class Server:
    """Holds one lock; every accepted change of holder is told to `on_new_holder`."""

    def __init__(self) -> None:
        self.tenure: Tenure | None = None
        self.version = 0
        self.on_new_holder: Callable[[str], None] = lambda _: None

    def get(self) -> Tenure | None:
        return self.tenure

    def create(self, tenure: Tenure) -> Tenure:
        if self.tenure is not None:
            raise AlreadyExistsError(409, "AlreadyExists", "the lock exists")
        return self._accept(tenure)

    def update(self, tenure: Tenure) -> Tenure:
        if self.tenure is None:
            raise NotFoundError(404, "NotFound", "no lock")
        if self.tenure.version != tenure.version:
            raise ConflictError(409, "Conflict", "another version")
        return self._accept(tenure)

    def delete(self) -> None:
        self.tenure = None

    def _accept(self, tenure: Tenure) -> Tenure:
        if tenure.holder and (self.tenure is None or self.tenure.holder != tenure.holder):
            self.on_new_holder(tenure.holder)
        self.version += 1
        self.tenure = replace(tenure, version=str(self.version))
        return self.tenure


class _MachineTimer:
    def __init__(self, machine: "Machine", callback: Callable[[], object]) -> None:
        self.machine = machine
        self.callback: Callable[[], object] | None = callback

    def fire(self) -> None:
        if self.machine.stopped:
            self.machine.missed.append(self)
        elif self.callback is not None:
            self.callback()

    def cancel(self) -> None:
        self.callback = None


class Machine:
    """The clock of one process: stopped, nothing of it runs, and its time goes on."""

    def __init__(self, base: VirtualClock, skew: float) -> None:
        self.base = base
        self.skew = skew
        self.stopped = False
        self.missed: list[_MachineTimer] = []

    def monotonic(self) -> float:
        return self.base.monotonic()

    def time(self) -> float:
        return self.base.time() + self.skew

    def call_at(self, deadline: float, callback: Callable[[], object]) -> Timer:
        timer = _MachineTimer(self, callback)
        self.base.call_at(deadline, timer.fire)
        return timer

    async def sleep_until(self, deadline: float) -> None:
        if deadline > self.monotonic():
            await sleep_on(self, deadline)

    def resume(self) -> None:
        self.stopped = False
        missed, self.missed = self.missed, []
        for timer in missed:
            timer.fire()


@dataclass
class Link:
    """One process' way to the server. It is the `Lock` that the election is given."""

    server: Server
    machine: Machine
    random: random.Random
    slowest: float = 0.0
    partitioned: bool = False
    replies_lost: bool = False
    name: str = "lock"

    def latency(self) -> float:
        return self.random.uniform(0, self.slowest) if self.slowest else 0.0

    async def get(self) -> Tenure | None:
        return await self.ask(self.server.get)

    async def create(self, tenure: Tenure) -> Tenure:
        return await self.ask(lambda: self.server.create(tenure))

    async def update(self, tenure: Tenure) -> Tenure:
        return await self.ask(lambda: self.server.update(tenure))

    async def ask(self, operate: Callable[[], T]) -> T:
        arrival = self.machine.monotonic() + self.latency()
        outcomes: list[T | Exception] = []

        def arrive() -> None:
            # On the network's own clock: what was sent arrives, whatever became of the sender.
            if not self.partitioned:
                try:
                    outcomes.append(operate())
                except (AlreadyExistsError, ConflictError, NotFoundError) as error:
                    outcomes.append(error)

        self.machine.base.call_at(arrival, arrive)
        await sleep_on(self.machine, arrival + self.latency())
        if not outcomes or self.partitioned:
            await sleep_on(self.machine, self.machine.monotonic() + 1e6)
        if self.replies_lost:
            raise TransportError("connection reset")
        outcome = outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@dataclass
class Process:
    """A candidate that works while it leads, and starts again as another when it lost."""

    base: VirtualClock
    link: Link
    number: int
    lease: int
    renew: float
    retry: float
    on_write: Callable[[str], None] = lambda _: None
    starts: int = 0
    working: bool = False
    election: LeaderElection = field(init=False)
    task: "asyncio.Task[None]" = field(init=False)

    def start(self) -> None:
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            self.starts += 1
            self.election = LeaderElection(
                self.link,
                identity=f"p{self.number}-{self.starts}",
                lease_duration=self.lease,
                renew_deadline=self.renew,
                retry_period=self.retry,
                clock=self.link.machine,
                rng=self.link.random,
            )
            try:
                await self.election.run(self._work)
            except LeadershipLostError:
                continue

    async def _work(self) -> None:
        identity, machine = self.election.identity, self.link.machine
        self.working = True
        try:
            while True:
                self.election.fence()
                # A request takes its time; the margin of the lease is for that.
                arrival = machine.monotonic() + min(self.link.latency(), self.lease - self.renew)
                self.base.call_at(arrival, lambda: self.on_write(identity))
                await sleep_on(machine, arrival + 0.1)
        finally:
            self.working = False

    async def kill(self) -> None:
        """SIGKILL: nothing is released."""
        self.link.partitioned = True
        self.task.cancel()
        self.link.machine.resume()
