"""A process that syncs a reflector of widgets and prints what that took, as JSON.

Arguments: a kubeconfig and a namespace.
"""

import asyncio
import gc
import json
import sys
import time
from contextlib import suppress

import psutil

from kubernaut.kubernetes import (
    NAMESPACES,
    Client,
    ClientConfig,
    Reflector,
    Store,
    namespace_of,
    owner_uids_of,
)
from test.unit.kubernetes.widgets import WIDGETS, Widget


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def main(kubeconfig: str, namespace: str) -> None:
    async with Client(ClientConfig.load(kubeconfig), field_manager="measure") as client:
        await client.get(NAMESPACES, namespace)
        store = Store[Widget]({"namespace": namespace_of, "owner": owner_uids_of})
        reflector = Reflector(client, WIDGETS, store, namespace=namespace)
        idle, cpu, began = resident(), time.process_time(), time.perf_counter()
        running = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        growth = resident() - idle
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        found = {
            "objects": len(store),
            "seconds": seconds,
            "cpu_seconds": cpu,
            "idle": idle,
            "growth": growth,
            # Without managedFields: the stricter measure.
            "json": sum(len(WIDGETS.encode(obj)) for obj in store.list()),
        }
        print(json.dumps(found))  # noqa: T201  (what it is for)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
