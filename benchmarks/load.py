"""A load generator: keep-alive connections that each send the next request once answered.

A process of its own, with requests encoded beforehand and as little work per answer as will tell
its status and its end, because it shares the cores with what it measures.
"""

import asyncio
import gc
import re
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import uvloop

from benchmarks.data import read_events
from benchmarks.worker import Stopwatch, run, wait_for_go

EVENTS_PATH: Final = "/api/v1/audit/events"
_DEADLINE_SECONDS: Final = 600
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"


class Job(msgspec.Struct, kw_only=True):
    """What to send.

    Attributes:
        ports: those of the services; connections take turns on them.
        connections: how many in all.
        events: a file of events to post, one a line.
        batch: events in a request; 1 posts single events.
        warm_up: so many requests at the end of the file are sent before the measurement.
        targets: to query instead: paths, the last `warm_up` of them for the warm-up.
    """

    ports: list[int]
    connections: int
    events: str = ""
    batch: int = 1
    warm_up: int = 0
    targets: list[str] = []


class Answer(msgspec.Struct):
    """What was measured: seconds in all, of this process's CPU, and of each request."""

    seconds: float
    cpu_seconds: float
    latencies: list[float]


class _Run:
    """The requests that are left, and what came of those that were sent."""

    def __init__(self, requests: list[bytes], status: bytes) -> None:
        self.requests = deque(requests)
        self.status = status
        self.latencies: list[float] = []
        self.open = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(reason))


class _Connection(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next."""

    def __init__(self) -> None:
        self._run: _Run | None = None
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._missing = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._run is not None:
            self._run.fail(f"the service closed a connection: {exc}")

    def start(self, of: _Run) -> None:
        """Begin with the next request."""
        self._run = of
        of.open += 1
        self._next(of)

    def data_received(self, data: bytes) -> None:
        of = self._run
        if of is None:
            return
        if self._missing:
            self._missing -= len(data)
        elif not self._begin(of, self._head + data):
            return
        if self._missing <= 0:
            of.latencies.append(time.perf_counter() - self._sent)
            self._next(of)

    def _begin(self, of: _Run, data: bytes) -> bool:
        """Read an answer's head; False while it is not complete or not what it should be."""
        end = data.find(_HEAD_END)
        length = _LENGTH.search(data, 0, end) if end >= 0 else None
        if length is None:
            self._head = data
            return False
        if data[9:12] != of.status:
            of.fail(f"an answer was not {of.status.decode()}: {data[:2000].decode()}")
            return False
        self._head = b""
        self._missing = end + len(_HEAD_END) + int(length[1]) - len(data)
        return True

    def _next(self, of: _Run) -> None:
        if of.requests:
            request = of.requests.popleft()
            self._sent = time.perf_counter()
            if self._transport:
                self._transport.write(request)
            return
        self._run = None
        of.open -= 1
        if not of.open and not of.done.done():
            of.done.set_result(None)


def _posts(job: Job) -> list[bytes]:
    events = read_events(Path(job.events))
    if job.batch == 1:
        return [_post(EVENTS_PATH, event) for event in events]
    return [
        _post(f"{EVENTS_PATH}/batch", b"[" + b",".join(events[start : start + job.batch]) + b"]")
        for start in range(0, len(events), job.batch)
    ]


def _post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


async def _send(connections: list[_Connection], requests: list[bytes], status: bytes) -> _Run:
    of = _Run(requests, status)

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        of.fail(f"{context['message']}: {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(fail)
    for connection in connections:
        connection.start(of)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await of.done
    return of


async def _work(job: Job) -> Answer:
    requests = [_get(target) for target in job.targets] or _posts(job)
    status = b"200" if job.targets else b"201"
    loop = asyncio.get_running_loop()
    connections = []
    for number in range(job.connections):
        port = job.ports[number % len(job.ports)]
        connections.append((await loop.create_connection(_Connection, "127.0.0.1", port))[1])
    counted = len(requests) - job.warm_up
    await _send(connections, requests[counted:], status)
    del requests[counted:]
    gc.collect()
    gc.disable()  # The tail that is measured should be the service's.
    wait_for_go()
    watch = Stopwatch()
    done = await _send(connections, requests, status)
    return Answer(*watch.read(), done.latencies)


if __name__ == "__main__":
    run(Job, lambda job: uvloop.run(_work(job)))
