"""What the fault proxy does with one request: small objects whose text says what they do.

Each is a value: equal ones do the same, and what Hypothesis prints of one makes it again (but for
those with a gate).
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from test.faults.http_wire import Message


class Exchange(Protocol):
    """One request at the proxy, as a behaviour sees it."""

    @property
    def body(self) -> bytes:
        """What the client sent."""

    async def forward(self) -> Message:
        """Let upstream have the request, and read its whole answer."""

    async def send(self, data: bytes, *, last: bool = True) -> None:
        """Give the client these bytes of an answer; `last` says that there will be no more."""

    def reset(self) -> None:
        """End the client's connection with a RST."""

    def close(self) -> None:
        """End the client's connection with a FIN."""


class Behaviour(Protocol):
    """What is done with a request."""

    async def __call__(self, exchange: Exchange) -> None: ...


async def pause(seconds: float) -> None:
    """Let time pass for one request, not for the others."""
    passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    try:
        await passed
    finally:
        timer.cancel()


class Gate:
    """Requests wait at it until the test opens it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = False
        self._wake: list[Callable[[], object]] = []
        self.waiting = 0

    def open(self) -> None:
        """Let through all who wait, and all who come."""
        with self._lock:
            self._opened = True
            wake, self._wake = self._wake, []
            for call in wake:
                call()

    async def passed(self) -> None:
        """Wait until it is open."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def call() -> None:
            loop.call_soon_threadsafe(event.set)

        with self._lock:
            if self._opened:
                return
            self._wake.append(call)
            self.waiting += 1
        try:
            await event.wait()
        finally:
            with self._lock:
                self.waiting -= 1
                if call in self._wake:
                    self._wake.remove(call)


@dataclass(frozen=True)
class PassThrough:
    """What upstream answers."""

    async def __call__(self, exchange: Exchange) -> None:
        answer = await exchange.forward()
        await exchange.send(answer.raw)
        if answer.ends_connection:
            exchange.close()


PASS: Final = PassThrough()


@dataclass(frozen=True)
class ResetBefore:
    """RST; upstream never hears of the request."""

    async def __call__(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True)
class ResetAfter:
    """RST when upstream has answered: it is committed, and the client does not know."""

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.forward()
        exchange.reset()


@dataclass(frozen=True)
class CutAnswer:
    """Only a part of upstream's answer, then FIN or RST.

    `keep` is the part of the head if `in_head`, and otherwise of the body, after the whole head.
    """

    keep: float = 0.5
    reset: bool = False
    in_head: bool = False

    async def __call__(self, exchange: Exchange) -> None:
        answer = await exchange.forward()
        head = len(answer.head)
        length = head * self.keep if self.in_head else head + (len(answer.raw) - head) * self.keep
        await exchange.send(answer.raw[: int(length)])
        if self.reset:
            exchange.reset()
        else:
            exchange.close()


@dataclass(frozen=True)
class StallBefore:
    """Upstream gets the request when the gate opens, even if the client has left by then."""

    gate: Gate
    then: Behaviour = PASS

    async def __call__(self, exchange: Exchange) -> None:
        await self.gate.passed()
        await self.then(exchange)


@dataclass(frozen=True)
class StallAfter:
    """Upstream answers at once, the client gets the answer when the gate opens."""

    gate: Gate

    async def __call__(self, exchange: Exchange) -> None:
        answer = await exchange.forward()
        await self.gate.passed()
        await exchange.send(answer.raw)
        if answer.ends_connection:
            exchange.close()


@dataclass(frozen=True)
class Delay:
    """Some seconds more before anything happens."""

    seconds: float
    then: Behaviour = PASS

    async def __call__(self, exchange: Exchange) -> None:
        await pause(self.seconds)
        await self.then(exchange)


@dataclass(frozen=True)
class Drip:
    """Upstream's answer in drops, by default a byte every 10 ms."""

    tick: float = 0.01
    size: int = 1

    async def __call__(self, exchange: Exchange) -> None:
        answer = await exchange.forward()
        raw = answer.raw
        for start in range(0, len(raw), self.size):
            await exchange.send(raw[start : start + self.size], last=start + self.size >= len(raw))
            await pause(self.tick)
        if answer.ends_connection:
            exchange.close()


@dataclass(frozen=True)
class Answer:
    """An answer of the proxy's own; upstream never hears of the request."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def problem(cls, status: int, slug: str = "about:blank", **headers: str) -> "Answer":
        """An RFC 9457 problem; underscores in names of headers stand for hyphens."""
        title = _reason(status)
        body = json.dumps({"type": slug, "title": title, "status": status}).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, body, "application/problem+json", names)

    def raw(self) -> bytes:
        headers = dict(self.headers)
        if self.content_type is not None:
            headers["Content-Type"] = self.content_type
        if self.status not in {204, 304}:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {_reason(self.status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.send(self.raw())


@dataclass(frozen=True)
class ReplaceAnswer:
    """Upstream has the request, and the client gets this for its answer."""

    answer: Answer

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.forward()
        await exchange.send(self.answer.raw())


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
