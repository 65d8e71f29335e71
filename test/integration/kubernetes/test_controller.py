"""A controller against a real API server, under faults: every object ends reconciled."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from kubernaut.kubernetes import (
    CONFIG_MAPS,
    Client,
    ClientConfig,
    ConfigMap,
    KubernetesError,
    NotFoundError,
    ObjectMeta,
    Reflector,
    Store,
    apply,
)
from kubernaut.kubernetes._controller import Controller
from kubernaut.kubernetes._leader import LeaderElection, LeadershipLostError
from kubernaut.kubernetes._lease import LeaseLock
from kubernaut.kubernetes._owners import by_owner, split_key
from kubernaut.local.cluster import LocalCluster
from test.faults.tcp_proxy import TcpProxy
from test.polling import async_wait_for
from test.unit.kubernetes.widgets import WIDGETS, Widget, WidgetSpec

WIDGET_COUNT = 30


class Mirror:
    """Keeps a config map beside each widget, with its note."""

    def __init__(self, client: Client, namespace: str, leader: LeaderElection | None) -> None:
        self.client = client
        self.widgets = Reflector(
            client, WIDGETS, Store[Widget](), namespace=namespace, stall_after=6
        )
        self.children = Reflector(
            client, CONFIG_MAPS, Store[ConfigMap](), namespace=namespace, stall_after=6
        )
        self.registry = CollectorRegistry()
        self.controller = Controller(
            "mirror",
            self.reconcile,
            workers=4,
            time_limit=10,
            leader=leader,
            registry=self.registry,
        )
        self.controller.watches(self.widgets)
        self.controller.watches(self.children, by_owner(WIDGETS))
        self.reconciled: dict[str, str] = {}
        self.busy: set[str] = set()

    async def reconcile(self, key: str) -> None:
        assert key not in self.busy
        self.busy.add(key)
        try:
            await self._reconcile(key)
        finally:
            self.busy.remove(key)

    async def _reconcile(self, key: str) -> None:
        namespace, name = split_key(key)
        widget = self.widgets.store.get(key)
        if widget is None:
            with suppress(NotFoundError):
                await self.client.delete(CONFIG_MAPS, name, namespace=namespace)
            self.reconciled[key] = ""
            return
        child = self.children.store.get(key)
        owner = WIDGETS.owner_reference(widget)
        if (
            child is None
            or child.data != {"note": widget.spec.note}
            or child.metadata.owner_references != [owner]
        ):
            body = {
                "metadata": {"ownerReferences": [msgspec.to_builtins(owner)]},
                "data": {"note": widget.spec.note},
            }
            await apply(self.client, CONFIG_MAPS, name, body, namespace=namespace, force=True)
        self.reconciled[key] = widget.metadata.resource_version

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.ensure_future(each.run())
            for each in (self.widgets, self.children, self.controller)
        ]
        try:
            yield
            assert not any(task.done() for task in tasks), tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def all_reconciled(judge: Client, namespace: str, mirror: Mirror) -> None:
    async def done() -> bool:
        pages = judge.list(WIDGETS, namespace=namespace)
        widgets = {each.key: each async for page in pages for each in page.items}
        found = judge.list(CONFIG_MAPS, namespace=namespace)
        children = {each.key: each async for page in found for each in page.items}
        assert children.keys() == widgets.keys()
        for key, widget in widgets.items():
            assert children[key].data == {"note": widget.spec.note}
            assert mirror.reconciled[key] == widget.metadata.resource_version
        return True

    await async_wait_for(done, 60, "every widget is reconciled after its last change")


class Users:
    """People who change, delete and make widgets, and meddle with what isn't theirs."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.random = random.Random(3)  # noqa: S311  (a repeatable test)
        self.changes = 0

    async def make(self, name: str) -> None:
        metadata = ObjectMeta(name=name, namespace=self.namespace)
        spec = WidgetSpec(note=f"{name} is new")
        await self.client.create(WIDGETS, Widget(metadata=metadata, spec=spec))

    async def work(self) -> None:
        while True:
            name = f"w{self.random.randrange(WIDGET_COUNT)}"
            try:
                await self._act(name, self.random.randrange(10))
                self.changes += 1
            except KubernetesError:
                pass  # The server is away, or the widget is.
            await self.client.clock.sleep_until(self.client.clock.monotonic() + 0.01)

    async def _act(self, name: str, choice: int) -> None:
        where = {"namespace": self.namespace}
        match choice:
            case 0:
                await self.client.delete(WIDGETS, name, **where)  # type: ignore[arg-type]  # text
            case 1:
                await self.make(name)
            case 2:
                await self.client.delete(CONFIG_MAPS, name, **where)  # type: ignore[arg-type]  # text
            case 3:
                meddled = {"data": {"note": "meddled"}}
                await self.client.patch(CONFIG_MAPS, name, meddled, namespace=self.namespace)
            case _:
                note = {"spec": {"note": f"change {self.changes}"}}
                await self.client.patch(WIDGETS, name, note, namespace=self.namespace)


async def test_every_object_is_reconciled_after_its_last_change_under_faults(
    cluster: LocalCluster, config: ClientConfig, client: Client, namespace: str
) -> None:
    upstream = urlsplit(cluster.url)
    assert upstream.hostname is not None
    assert upstream.port is not None
    clock = client.clock

    async def during(seconds: float) -> None:
        await clock.sleep_until(clock.monotonic() + seconds)

    with TcpProxy(upstream.hostname, upstream.port) as proxy:
        through = replace(config, server=f"https://127.0.0.1:{proxy.port}")
        async with Client(through, field_manager="mirror", qps=0, timeout=5) as behind:
            mirror = Mirror(behind, namespace, None)
            users = Users(client, namespace)
            await asyncio.gather(*(users.make(f"w{number}") for number in range(WIDGET_COUNT)))
            async with mirror.running():
                await all_reconciled(client, namespace, mirror)
                working = asyncio.create_task(users.work())
                for round_ in range(2):
                    await during(1)
                    await asyncio.to_thread(proxy.reset)
                    await during(1)
                    await asyncio.to_thread(proxy.refuse)
                    await during(1)
                    await asyncio.to_thread(proxy.listen)
                    await during(1)
                    await asyncio.to_thread(proxy.stall)
                    await during(8)
                    await asyncio.to_thread(proxy.resume)
                    if round_:
                        await asyncio.to_thread(cluster.compact_etcd)
                    await asyncio.to_thread(cluster.apiserver.restart)
                working.cancel()
                await asyncio.wait({working})
                await all_reconciled(client, namespace, mirror)
    assert users.changes > WIDGET_COUNT
    value = mirror.registry.get_sample_value
    assert value("controller_runtime_active_workers", {"controller": "mirror"}) == 0
    assert value("workqueue_depth", {"name": "mirror"}) == 0


async def test_a_standby_takes_over_when_the_leader_stops(
    config: ClientConfig, client: Client, namespace: str
) -> None:
    """Both have full caches; one reconciles; stopped, it releases the lease to the other."""

    def election(identity: str, lock: LeaseLock) -> LeaderElection:
        return LeaderElection(
            lock, identity=identity, lease_duration=15, renew_deadline=10, retry_period=0.5
        )

    users = Users(client, namespace)
    await asyncio.gather(*(users.make(f"w{number}") for number in range(5)))
    one, two = (election(name, LeaseLock(client, namespace, "mirror")) for name in ("one", "two"))
    async with (
        Client(config, field_manager="a", qps=0, before_request=one.fence_writes) as first_client,
        Client(config, field_manager="a", qps=0, before_request=two.fence_writes) as second_client,
    ):
        first = Mirror(first_client, namespace, one)
        second = Mirror(second_client, namespace, two)
        tasks = [asyncio.create_task(run) for run in (first.widgets.run(), first.children.run())]
        leading = asyncio.create_task(first.controller.run())
        await asyncio.wait_for(one.elected.wait(), 30)
        async with second.running():
            await all_reconciled(client, namespace, first)
            assert second.reconciled == {}
            first.controller.stop()
            await leading
            with pytest.raises(LeadershipLostError):
                await first_client.delete(CONFIG_MAPS, "w0", namespace=namespace)
            await asyncio.wait_for(two.elected.wait(), 5)
            await client.patch(WIDGETS, "w0", {"spec": {"note": "later"}}, namespace=namespace)
            await all_reconciled(client, namespace, second)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
