"""Processes that record numbered events until they are killed, for `test_client_kill.py`.

Run as a program this is a server that has everything imported and forks a fresh process for each
request on its standard input, a socket: so a process begins to record within milliseconds, and
many can be killed in a minute. Each correlation has one writer, a thread or an asyncio task, which
counts on. A line tells of each event after `record` has returned for it.
"""

import asyncio
import contextlib
import importlib
import json
import os
import signal
import socket
import threading
from itertools import count
from typing import Any

from kubernaut.audit import AsyncClient, AuditStore, DeliveryLimits, TransportError

# Quick, so that requests are under way in a life of milliseconds; small, so that there are several.
LIMITS = DeliveryLimits(batch_events=50, linger=0.005, backoff_cap=0.5)

MAX_BYTES = 2**22  # Whoever records more than is sent waits, and is killed while waiting.


def event(life: int, correlation: str, number: int) -> dict[str, Any]:
    return {
        "event_category": "workflow",
        "event_action": "counted",
        "correlation_id": correlation,
        "event_data": {"life": life, "number": number},
    }


def tell(correlation: str, number: int) -> None:
    os.write(1, b"%s %d\n" % (correlation.encode(), number))  # Whole: it is short.


def record(store: AuditStore, life: int, correlation: str, first: int) -> None:
    for number in count(first):
        store.record(event(life, correlation, number))
        tell(correlation, number)


async def arecord(store: AuditStore, life: int, correlation: str, first: int) -> None:
    for number in count(first):
        await store.arecord(event(life, correlation, number))
        tell(correlation, number)


async def live(url: str, directory: str, life: int, writers: list[tuple[str, int]]) -> None:
    store = AuditStore(url, directory, limits=LIMITS, max_bytes=MAX_BYTES, full_timeout=60)
    half = len(writers) // 2
    for correlation, first in writers[:half]:
        threading.Thread(target=record, args=(store, life, correlation, first)).start()
    await asyncio.gather(
        *(arecord(store, life, correlation, first) for correlation, first in writers[half:])
    )


def end(failed: threading.ExceptHookArgs) -> None:
    """No writer may fail while the others go on unnoticed."""
    threading.__excepthook__(failed)
    os._exit(1)


async def import_everything() -> None:
    """What the audit client imports at first use would be imported by every process."""
    importlib.import_module("kubernaut.audit._delivery")
    async with AsyncClient("http://127.0.0.1:1") as client:
        with contextlib.suppress(TransportError):
            await client.health()


def serve(requests: socket.socket) -> None:
    """Fork a process for each request, and answer with its id."""
    asyncio.run(import_everything())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody has to wait for them.
    while True:
        request, (output,), _, _ = socket.recv_fds(requests, 2**16, 1)
        pid = os.fork()
        if pid == 0:
            os.dup2(output, 1)
            os.close(output)
            requests.close()
            asyncio.run(live(*json.loads(request)))
        os.close(output)
        requests.send(b"%d" % pid)


if __name__ == "__main__":
    threading.excepthook = end
    serve(socket.socket(fileno=0))
