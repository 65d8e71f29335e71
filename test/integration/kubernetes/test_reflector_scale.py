"""The reflector with many objects, in bursts and storms. Prints what it measures (pytest -s)."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kubernaut.kubernetes import (
    Client,
    ClientConfig,
    KubernetesError,
    ObjectMeta,
    OwnerReference,
    TooManyRequestsError,
)
from kubernaut.local.cluster import LocalCluster
from test.faults.tcp_proxy import TcpProxy
from test.integration.kubernetes.following import following
from test.polling import async_wait_for, wait_for
from test.unit.kubernetes.widgets import WIDGETS, Widget, WidgetSpec

ROOT = Path(__file__).resolve().parents[3]
OBJECTS = 10_000
UPDATES = 5_000
STORM = "storm"


def sized(namespace: str, number: int) -> Widget:
    """About half a kilobyte, of which no two are alike."""
    owner = OwnerReference("v1", "ConfigMap", f"owner-{number}", f"{number:032x}")
    return Widget(
        metadata=ObjectMeta(
            name=f"widget-{number:05d}",
            namespace=namespace,
            labels={"app": f"app-{number % 100}", "run": f"{number:08x}"},
            owner_references=[owner],
        ),
        spec=WidgetSpec(size=number, note=f"{number:08x}" * 12),
    )


async def all_of(tasks: int, work: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Do the work with so many tasks."""
    left = iter(work)

    async def worker() -> None:
        for one in left:
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(worker())


async def fill(client: Client, namespace: str, count: int) -> None:
    def making(number: int) -> Callable[[], Awaitable[object]]:
        return lambda: client.create(WIDGETS, sized(namespace, number))

    await all_of(16, map(making, range(count)))


async def update(client: Client, namespace: str, objects: int, updates: int) -> None:
    def changing(number: int) -> Callable[[], Awaitable[object]]:
        name, body = f"widget-{number % objects:05d}", {"spec": {"note": f"update {number}"}}
        return lambda: client.patch(WIDGETS, name, body, namespace=namespace)

    await all_of(16, map(changing, range(updates)))


async def test_ten_thousand_objects_and_a_burst(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    await fill(client, namespace, OBJECTS)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "test.integration.kubernetes.measured_sync",
        str(cluster.kubeconfig_path),
        namespace,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    found = json.loads(out)
    ratio = found["growth"] / found["json"]
    print(  # noqa: T201
        f"\n{found['objects']} objects of {found['json'] / found['objects']:.0f} bytes: synced in "
        f"{found['seconds']:.2f} s ({found['cpu_seconds']:.2f} s CPU), {found['idle'] >> 20} MiB "
        f"idle, {found['growth'] >> 20} MiB more with them: {ratio:.1f} x their JSON"
    )
    assert found["objects"] == OBJECTS
    assert ratio <= 6
    async with following(client, namespace) as followed:
        assert len(followed.store) == OBJECTS
        followed.changes.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await update(client, namespace, OBJECTS, UPDATES)
        took = loop.time() - began
        await followed.equal()
        print(f"{UPDATES} updates in {took:.1f} s")  # noqa: T201
        assert len(followed.changes) == UPDATES
        assert (followed.reflector.lists, followed.reflector.watches) == (1, 1)


async def test_the_api_server_dies_in_a_burst(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    await fill(client, namespace, 200)
    async with following(client, namespace) as followed:
        stop = asyncio.Event()

        async def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                name, body = f"widget-{number % 200:05d}", {"spec": {"note": f"{number}"}}
                try:
                    if number % 7:
                        await client.patch(WIDGETS, name, body, namespace=namespace)
                    else:
                        await client.delete(WIDGETS, name, namespace=namespace)
                        await client.create(WIDGETS, sized(namespace, number % 200))
                except KubernetesError:  # What a crash does to a write; the list will tell.
                    await asyncio.to_thread(wait_for, cluster_answers, 60, "the server answers")

        def cluster_answers() -> bool:
            return cluster.api("GET", "/readyz").status == 200

        writers = [asyncio.create_task(write()) for _ in range(4)]
        seen = len(followed.changes)

        async def more() -> bool:
            return len(followed.changes) > seen + 100

        await async_wait_for(more, 30, "changes come")
        await asyncio.to_thread(cluster.apiserver.restart)
        seen = len(followed.changes)
        await async_wait_for(more, 60, "changes come again")
        stop.set()
        await asyncio.gather(*writers)
        await followed.equal(60)


@asynccontextmanager
async def storm(cluster: LocalCluster, namespace: str) -> AsyncIterator[None]:
    """Priority and fairness refuses what the user `STORM` asks, with 429.

    It has one seat, and a write that waits for a paused etcd sits on it.
    """
    base = "/apis/flowcontrol.apiserver.k8s.io/v1"
    limited = {
        "nominalConcurrencyShares": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    level = {"metadata": {"name": STORM}, "spec": {"type": "Limited", "limited": limited}}
    everything: dict[str, Any] = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "clusterScope": True,
        "namespaces": ["*"],
    }
    rule = {
        "subjects": [{"kind": "User", "user": {"name": STORM}}],
        "resourceRules": [everything],
    }
    schema = {
        "metadata": {"name": STORM},
        "spec": {
            "priorityLevelConfiguration": {"name": STORM},
            "matchingPrecedence": 2,  # 1 is kept for the exempt.
            "rules": [rule],
        },
    }
    assert cluster.api("POST", f"{base}/prioritylevelconfigurations", level).status == 201
    assert cluster.api("POST", f"{base}/flowschemas", schema).status == 201
    config = ClientConfig.load(cluster.kubeconfig_for(STORM))
    cluster.etcd.pause()
    try:
        async with Client(config, field_manager=STORM, timeout=60) as sitting:
            seat = asyncio.create_task(sitting.create(WIDGETS, sized(namespace, 9999)))
            await async_wait_for(lambda: is_refused(config), 30, "the storm is there")
            yield
            cluster.etcd.resume()
            await seat
    finally:
        cluster.etcd.resume()
    assert cluster.api("DELETE", f"{base}/flowschemas/{STORM}").status == 200
    assert cluster.api("DELETE", f"{base}/prioritylevelconfigurations/{STORM}").status == 200


@pytest.fixture
async def stormy(
    cluster: LocalCluster, config: ClientConfig
) -> AsyncIterator[tuple[Client, TcpProxy, list[int | None]]]:
    """A client of the user `STORM` through a proxy, and the statuses that it gets."""
    base = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    cluster.api("POST", f"{base}/clusterroles", {"metadata": {"name": STORM}, "rules": rules})
    binding = {
        "metadata": {"name": STORM},
        "subjects": [{"kind": "User", "name": STORM}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": STORM},
    }
    cluster.api("POST", f"{base}/clusterrolebindings", binding)
    statuses: list[int | None] = []
    address = urlsplit(config.server)
    assert address.port is not None
    with TcpProxy("127.0.0.1", address.port) as proxy:
        through = dataclasses.replace(
            ClientConfig.load(cluster.kubeconfig_for(STORM)),
            server=f"https://127.0.0.1:{proxy.port}",
        )
        async with Client(
            through,
            field_manager=STORM,
            after_attempt=lambda _request, status, _seconds: statuses.append(status),
        ) as client:
            yield client, proxy, statuses


async def test_a_storm_of_429(
    cluster: LocalCluster,
    client: Client,
    namespace: str,
    stormy: tuple[Client, TcpProxy, list[int | None]],
) -> None:
    refused, proxy, statuses = stormy
    await fill(client, namespace, 20)
    async with following(refused, namespace, judge=client) as followed:
        proxy.refuse()
        await update(client, namespace, 20, 40)
        await client.delete(WIDGETS, "widget-00003", namespace=namespace)
        async with storm(cluster, namespace):
            proxy.listen()
            loop = asyncio.get_running_loop()
            statuses.clear()
            began = loop.time()

            async def refuses() -> bool:
                return isinstance(followed.reflector.last_error, TooManyRequestsError)

            await async_wait_for(refuses, 60, "the watch is refused")
            late = asyncio.create_task(refused.create(WIDGETS, sized(namespace, 5000)))

            async def refused_often() -> bool:
                return statuses.count(429) >= 5

            await async_wait_for(refused_often, 60, "watch and write are refused again")
            # Retry-After is 1 second, for each of the two.
            assert len(statuses) <= 2 * (1 + loop.time() - began)
        assert (await late).spec.size == 5000
        await followed.equal(60)
        assert followed.reflector.lists == 1


async def is_refused(config: ClientConfig) -> bool:
    async with Client(config, field_manager="probe", retry_for=0, timeout=1) as client:
        try:
            # Out of the API server's cache: it must not wait for etcd and take the seat.
            async with aclosing(client.watch(WIDGETS, resource_version="0")) as watch:
                await anext(watch)
        except KubernetesError as error:
            return isinstance(error, TooManyRequestsError)
    return False
