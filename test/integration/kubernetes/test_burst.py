"""A burst of changes against a real API server: many changes of an object are one reconcile."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from kubernaut.kubernetes import Client, Controller, ObjectMeta, Reflector, Store
from test.polling import async_wait_for
from test.reporting import Report
from test.unit.kubernetes.widgets import WIDGETS, Widget, WidgetSpec

UPDATES = 5_000
OBJECTS = 50
WRITERS = 8
RECONCILE_SECONDS = 0.02


async def write(client: Client, namespace: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        name = f"w{number % OBJECTS}"
        await client.patch(WIDGETS, name, {"spec": {"size": number}}, namespace=namespace)


async def test_5000_updates_are_coalesced_and_the_last_of_each_is_reconciled(
    client: Client, namespace: str, report: Report
) -> None:
    for number in range(OBJECTS):
        meta = ObjectMeta(name=f"w{number}", namespace=namespace)
        await client.create(WIDGETS, Widget(metadata=meta, spec=WidgetSpec(size=0)))
    widgets = Reflector(client, WIDGETS, Store[Widget](), namespace=namespace)
    reconciles: Counter[str] = Counter()
    seen: dict[str, int] = {}
    for_ever = asyncio.Event()

    async def reconcile(key: str) -> None:
        reconciles[key] += 1
        found = widgets.store.get(key)
        assert found is not None
        size = found.spec.size
        try:  # As if it asked another service: the changes go on meanwhile.
            async with asyncio.timeout(RECONCILE_SECONDS):
                await for_ever.wait()
        except TimeoutError:
            seen[found.metadata.name] = size

    controller = Controller("burst", reconcile, workers=2, registry=CollectorRegistry())
    controller.watches(widgets)
    tasks = [asyncio.create_task(widgets.run()), asyncio.create_task(controller.run())]
    await widgets.synced.wait()
    await asyncio.gather(
        *(
            write(client, namespace, range(1 + writer, UPDATES + 1, WRITERS))
            for writer in range(WRITERS)
        )
    )
    stored = {
        item.metadata.name: item.spec.size
        async for page in client.list(WIDGETS, namespace=namespace)
        for item in page.items
    }

    async def all_seen() -> bool:
        return seen == stored

    await async_wait_for(all_seen, 60, "a reconcile after each last change")
    controller.stop()
    await tasks[1]
    tasks[0].cancel()
    await asyncio.wait(tasks)
    total = reconciles.total()
    report(f"kernel: {UPDATES} updates of {OBJECTS} objects were {total} reconciles")
    assert OBJECTS <= total < UPDATES / 2
