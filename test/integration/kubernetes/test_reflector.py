"""The reflector against the real API server, with whatever can happen to a watch.

After each trouble: the store, and what a handler knows from changes alone, equal a fresh list.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from kubernaut.kubernetes import (
    Client,
    ClientConfig,
    GoneError,
    ObjectMeta,
    TooManyRequestsError,
    TransportError,
)
from kubernaut.local.cluster import LocalCluster
from test.faults.tcp_proxy import TcpProxy
from test.integration.kubernetes.following import following
from test.polling import async_wait_for
from test.unit.kubernetes.widgets import WIDGETS, Widget, WidgetSpec


async def create(client: Client, namespace: str, *names: str, note: str = "") -> list[Widget]:
    return [
        await client.create(
            WIDGETS,
            Widget(
                metadata=ObjectMeta(name=name, namespace=namespace, labels={"for": "test"}),
                spec=WidgetSpec(note=note),
            ),
        )
        for name in names
    ]


async def note(client: Client, namespace: str, name: str, text: str) -> Widget:
    return await client.patch(WIDGETS, name, {"spec": {"note": text}}, namespace=namespace)


async def churn(client: Client, namespace: str) -> None:
    """Create, change, delete, and make one anew under the same name."""
    await create(client, namespace, "new")
    await note(client, namespace, "a", "changed")
    await client.delete(WIDGETS, "b", namespace=namespace)
    await client.delete(WIDGETS, "c", namespace=namespace)
    await create(client, namespace, "c", note="another one")


@pytest.fixture
def proxy(config: ClientConfig) -> Iterator[TcpProxy]:
    address = urlsplit(config.server)
    assert address.hostname is not None
    assert address.port is not None
    with TcpProxy(address.hostname, address.port) as running:
        yield running


@pytest.fixture
async def proxied(config: ClientConfig, proxy: TcpProxy) -> AsyncIterator[Client]:
    """A client whose connections go through the proxy."""
    through = dataclasses.replace(config, server=f"https://127.0.0.1:{proxy.port}")
    async with Client(through, field_manager="test", qps=0, timeout=5) as client:
        yield client


async def test_what_happens_is_told_in_order(client: Client, namespace: str) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(client, namespace) as followed:
        assert [change.kind for change in followed.changes] == ["added"] * 3
        followed.changes.clear()
        await churn(client, namespace)
        await followed.equal()
        told = [(change.kind, change.key.split("/")[1]) for change in followed.changes]
        assert told == [
            ("added", "new"),
            ("modified", "a"),
            ("deleted", "b"),
            ("deleted", "c"),
            ("added", "c"),
        ]
        modified = followed.changes[1]
        assert modified.old is not None
        assert modified.new is not None
        assert (modified.old.spec.note, modified.new.spec.note) == ("", "changed")
        assert followed.reflector.lists == 1


async def test_a_handler_that_comes_late_is_told_what_is_there(
    client: Client, namespace: str
) -> None:
    await create(client, namespace, "a", "b")
    async with following(client, namespace) as followed:
        seen: list[str] = []
        followed.reflector.add_handler(lambda change: seen.append(f"{change.kind} {change.key}"))
        assert sorted(seen) == [f"added {namespace}/a", f"added {namespace}/b"]


async def test_a_handler_that_fails_harms_nobody(client: Client, namespace: str) -> None:
    def fail(_change: object) -> None:
        raise RuntimeError("a bug")

    async with following(client, namespace) as followed:
        followed.reflector.add_handler(fail)
        await create(client, namespace, "a")
        await followed.equal()


async def test_a_label_that_goes_is_a_deletion(client: Client, namespace: str) -> None:
    await create(client, namespace, "a")
    async with following(client, namespace, label_selector="for=test") as followed:
        assert f"{namespace}/a" in followed.store
        body = {"metadata": {"labels": {"for": None}}}
        await client.patch(WIDGETS, "a", body, namespace=namespace)

        async def gone() -> bool:
            return not followed.mirror and not len(followed.store)

        await async_wait_for(gone, 10, "the object left the selector")


async def test_objects_with_next_line_characters(client: Client, namespace: str) -> None:
    async with following(client, namespace) as followed:
        await create(client, namespace, "a", note="x\u0085y\u2028z")
        await followed.equal()
        assert followed.reflector.watches == 1


async def test_an_object_that_does_not_fit_stays_as_it_was(client: Client, namespace: str) -> None:
    await create(client, namespace, "a", "b")
    async with following(client, namespace) as followed:
        with pytest.raises(Exception, match="size"):  # Written all the same: no schema forbids it.
            await client.patch(WIDGETS, "a", {"spec": {"size": "big"}}, namespace=namespace)
        await note(client, namespace, "b", "later")

        async def later() -> bool:
            found = followed.store.get(f"{namespace}/b")
            return found is not None and found.spec.note == "later"

        await async_wait_for(later, 10, "the watch goes on")
        kept = followed.store.get(f"{namespace}/a")
        assert kept is not None
        assert kept.spec.size == 0
        assert list(followed.reflector.unreadable) == [f"{namespace}/a"]
        assert followed.reflector.watches == 1
        await client.patch(WIDGETS, "a", {"spec": {"size": 3}}, namespace=namespace)
        await followed.equal()
        assert not followed.reflector.unreadable


async def test_a_watch_that_the_server_ends(client: Client, namespace: str) -> None:
    async with following(client, namespace, watch_seconds=1) as followed:
        for number in range(3):
            await followed.watching(more_than=number)
            await create(client, namespace, f"w{number}")
        await followed.equal()
        assert followed.reflector.lists == 1


async def test_the_api_server_dies_and_comes_back(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(client, namespace) as followed:
        watches = followed.reflector.watches
        await asyncio.to_thread(cluster.apiserver.kill)
        await asyncio.to_thread(cluster.apiserver.start)
        await churn(client, namespace)
        await followed.watching(more_than=watches)
        await followed.equal(60)


async def test_history_is_compacted_while_nobody_watches(
    cluster: LocalCluster, client: Client, proxied: Client, proxy: TcpProxy, namespace: str
) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(proxied, namespace, judge=client) as followed:
        proxy.refuse()
        await churn(client, namespace)
        cluster.compact_etcd()
        # The API server's cache would still serve old versions; after a start it is empty.
        await asyncio.to_thread(cluster.apiserver.restart)
        assert f"{namespace}/b" in followed.store
        proxy.listen()
        await followed.equal(60)
        assert followed.reflector.lists == 2
        told = [change.kind for change in followed.changes if change.key == f"{namespace}/c"]
        assert told == ["added", "deleted", "added"]  # It is another object.


async def test_a_version_that_is_gone_is_told_as_such(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    first = (await create(client, namespace, "a"))[0]
    await create(client, namespace, "b")
    cluster.compact_etcd()
    await asyncio.to_thread(cluster.apiserver.restart)

    async def watch() -> None:
        async for _ in client.watch(WIDGETS, resource_version=first.metadata.resource_version):
            pass

    async def told() -> bool:
        with pytest.raises((GoneError, TooManyRequestsError)) as error:  # Not ready yet: 429.
            await watch()
        return isinstance(error.value, GoneError)

    await async_wait_for(told, 15, "the version is gone")


async def test_a_watch_that_falls_silent(
    client: Client, proxied: Client, proxy: TcpProxy, namespace: str
) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(proxied, namespace, judge=client, stall_after=1) as followed:
        watches = followed.reflector.watches
        proxy.stall()
        await churn(client, namespace)

        async def noticed() -> bool:
            return isinstance(followed.reflector.last_error, TransportError)

        await async_wait_for(noticed, 15, "the stall is noticed")
        proxy.resume()
        await followed.equal()
        assert followed.reflector.watches > watches
        assert followed.reflector.lists == 1


async def test_the_api_server_stands_still(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(client, namespace, stall_after=1) as followed:
        cluster.apiserver.pause()
        try:

            async def noticed() -> bool:
                return isinstance(followed.reflector.last_error, TransportError)

            await async_wait_for(noticed, 15, "the stall is noticed")
        finally:
            cluster.apiserver.resume()
        await churn(client, namespace)
        await followed.equal(60)
        assert followed.reflector.lists == 1


async def test_connections_are_reset_again_and_again(
    client: Client, proxied: Client, proxy: TcpProxy, namespace: str
) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(proxied, namespace, judge=client) as followed:
        for number in range(5):
            watches = followed.reflector.watches
            proxy.reset()
            await create(client, namespace, f"w{number}")
            await followed.watching(more_than=watches)
        await churn(client, namespace)
        await followed.equal()
        assert followed.reflector.lists == 1


async def test_everything_comes_late(
    client: Client, proxied: Client, proxy: TcpProxy, namespace: str
) -> None:
    await create(client, namespace, "a", "b", "c")
    async with following(proxied, namespace, judge=client) as followed:
        proxy.delay(0.3)
        for number in range(20):
            await create(client, namespace, f"w{number}")
        await churn(client, namespace)
        await followed.equal()
        assert followed.reflector.watches == 1


async def test_a_server_that_refuses_is_not_overrun(
    client: Client, proxied: Client, proxy: TcpProxy, namespace: str
) -> None:
    async with following(proxied, namespace, judge=client) as followed:
        proxy.refuse()
        before = followed.reflector.watches
        beginning = asyncio.get_running_loop().time()

        async def failed_often() -> bool:
            return followed.reflector.watches > before + 3

        await async_wait_for(failed_often, 60, "four attempts")
        took = asyncio.get_running_loop().time() - beginning
        assert took > 0.3
        proxy.listen()
        await create(client, namespace, "a")
        await followed.equal(60)
