"""A process that wants to lead, and writes while it does: `candidate.py SERVER KUBECONFIG ...`.

While it leads it writes its term into one object, over and over, each time from what it has just
read. Every request that changes something passes the fence. SIGTERM ends it in good order.
"""

import asyncio
import signal
import sys
from dataclasses import replace

import msgspec

from kubernaut.kubernetes import Client, ClientConfig, KubernetesError, NotFoundError, ObjectMeta
from kubernaut.kubernetes._leader import LeaderElection, LeadershipLostError
from kubernaut.kubernetes._lease import LeaseLock
from test.unit.kubernetes.widgets import WIDGETS, Widget, WidgetSpec

LEASE_NAME = "leader"
LEDGER = "ledger"
LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD = 3, 2.0, 0.5
PAUSE = 0.03


class Candidate:
    def __init__(self, config: ClientConfig, namespace: str, identity: str) -> None:
        self.config = config
        self.namespace = namespace
        self.identity = identity
        self.term = 0

    async def live(self) -> None:
        async with Client(self.config, field_manager="election", qps=0, retry_for=0) as unfenced:
            lock = LeaseLock(unfenced, self.namespace, LEASE_NAME)
            for number in range(1_000_000):
                self.election = LeaderElection(
                    lock,
                    identity=f"{self.identity}-{number}",
                    lease_duration=LEASE_DURATION,
                    renew_deadline=RENEW_DEADLINE,
                    retry_period=RETRY_PERIOD,
                )
                async with Client(
                    self.config,
                    field_manager="writer",
                    qps=0,
                    retry_for=0,
                    before_request=self.election.fence_writes,
                ) as self.client:
                    try:
                        await self.election.run(self.work)
                    except LeadershipLostError:
                        print("lost", flush=True)  # noqa: T201

    async def work(self) -> None:
        # Of this lead, once and for all: what another one does later is not ours to claim.
        term = self.election.term
        clock = self.client.clock
        while True:
            try:
                await self.write(f"{term} {self.election.identity}")
            except LeadershipLostError:
                print("fenced", flush=True)  # noqa: T201
                raise
            except KubernetesError:
                pass  # A conflict, or a partition: read again.
            await clock.sleep_until(clock.monotonic() + PAUSE)

    async def write(self, note: str) -> None:
        spec = WidgetSpec(note=note)
        try:
            ledger = await self.client.get(WIDGETS, LEDGER, self.namespace)
        except NotFoundError:
            metadata = ObjectMeta(name=LEDGER, namespace=self.namespace)
            await self.client.create(WIDGETS, Widget(metadata=metadata, spec=spec))
        else:
            spec = WidgetSpec(note=note, size=ledger.spec.size + 1)
            await self.client.replace(WIDGETS, msgspec.structs.replace(ledger, spec=spec))


async def main(server: str, kubeconfig: str, namespace: str, identity: str) -> None:
    config = replace(ClientConfig.load(kubeconfig), server=server)
    task = asyncio.ensure_future(Candidate(config, namespace, identity).live())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait({task})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
