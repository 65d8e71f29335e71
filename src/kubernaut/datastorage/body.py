"""Reads request bodies: within a time, a size, and a budget of bytes that all requests share."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from kubernaut.datastorage import metrics
from kubernaut.datastorage.database import RETRY_AFTER_SECONDS
from kubernaut.datastorage.problems import Problem
from kubernaut.datastorage.settings import LimitSettings

Receive = Callable[[], Awaitable[Any]]

_GZIP: Final = 16 + zlib.MAX_WBITS
_THREAD_BYTES: Final = 256 * 1024
"""Larger bodies are decompressed beside the event loop."""


class ClientGoneError(Exception):
    """The client hung up before its request was complete; nobody waits for an answer."""


class Admission:
    """What is worked on at one time, counted in requests and in bytes of their bodies.

    Full means refused at once: waiting would only move the queue to where it has no bound.
    The rest of a refused body is read and thrown away by the server, not held: closing at once
    would reset the connection of a client that still sends, before it reads the answer.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._requests = 0
        self._bytes = 0
        self._decompressing = asyncio.Lock()
        metrics.INFLIGHT_REQUESTS.set_function(lambda: self._requests)
        metrics.INFLIGHT_BYTES.set_function(lambda: self._bytes)

    @contextlib.contextmanager
    def request(self) -> Any:
        """Count a request while it is worked on.

        Raises:
            Problem: too many are.
        """
        if self._requests >= self._limits.max_concurrent_requests:
            metrics.REFUSALS.labels("max_concurrent_requests").inc()
            raise _overloaded("too many requests are being worked on")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    @contextlib.asynccontextmanager
    async def body(
        self, receive: Receive, headers: Mapping[str, str], timeout_seconds: float
    ) -> AsyncIterator[bytes]:
        """The request's body, which counts as held until the context ends.

        Raises:
            Problem: the type or encoding is wrong (400, 415), it is too large (413), it does not
                come in time (408), or too many bytes are held already (503).
            ClientGoneError: the client hung up.
        """
        held = _Held(self)
        try:
            yield await self._read(receive, headers, held, timeout_seconds)
        finally:
            held.release()

    async def _read(
        self, receive: Receive, headers: Mapping[str, str], held: "_Held", timeout_seconds: float
    ) -> bytes:
        _check_type(headers)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise Problem(
                "unsupported-content-encoding",
                f"the content encoding {encoding!r} is not supported; use gzip or none",
                headers={"Accept-Encoding": "gzip"},
            )
        length = headers.get("content-length", "")
        if length.isdigit():
            if int(length) > self._limits.max_body_bytes:
                raise self._too_large()
            held.add(int(length))
        try:
            async with asyncio.timeout(timeout_seconds):
                body = await self._receive(receive, held)
        except TimeoutError:
            raise Problem(
                "request-timeout",
                f"the request's body did not come within {timeout_seconds:g} seconds",
                close=True,
            ) from None
        return await self._gunzip(body, held) if encoding == "gzip" else body

    async def _receive(self, receive: Receive, held: "_Held") -> bytes:
        chunks = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(chunk)
            if size > self._limits.max_body_bytes:
                raise self._too_large()
            held.at_least(size)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _gunzip(self, body: bytes, held: "_Held") -> bytes:
        if len(body) > _THREAD_BYTES:
            async with self._decompressing:  # One at a time, since none says how long it will be.
                plain = await asyncio.to_thread(self._decompress, body)
        else:
            plain = self._decompress(body)
        held.at_least(len(plain))
        return plain

    def _decompress(self, body: bytes) -> bytes:
        cap = self._limits.max_body_bytes
        stream = zlib.decompressobj(_GZIP)
        try:
            plain = stream.decompress(body, cap + 1)
        except zlib.error:
            raise Problem("validation-error", "the body is not gzip") from None
        if len(plain) > cap:
            raise self._too_large()
        if not stream.eof or stream.unused_data:
            raise Problem("validation-error", "the gzip body is cut off or has trailing bytes")
        return plain

    def _too_large(self) -> Problem:
        return Problem(
            "request-too-large",
            "Request body exceeds the maximum allowed size."
            f" ({self._limits.max_body_bytes} bytes, also after decompression)",
        )

    def hold(self, size: int, already: int) -> None:
        """Count `size` more bytes as held, for a request that holds `already`."""
        others = self._bytes - already
        if others and self._bytes + size > self._limits.max_inflight_bytes:
            metrics.REFUSALS.labels("max_inflight_bytes").inc()
            raise _overloaded("the bodies being worked on fill the memory set aside for them")
        self.change(size)

    def change(self, size: int) -> None:
        """Count bytes without asking."""
        self._bytes += size


class _Held:
    """The bytes one request holds of the shared budget."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0

    def add(self, size: int) -> None:
        self._admission.hold(size, self._bytes)
        self._bytes += size

    def at_least(self, size: int) -> None:
        if size > self._bytes:
            self.add(size - self._bytes)

    def shrink_to(self, size: int) -> None:
        self._admission.change(size - self._bytes)
        self._bytes = size

    def release(self) -> None:
        self.shrink_to(0)


def _overloaded(reason: str) -> Problem:
    return Problem(
        "overloaded",
        f"{reason}; nothing of this request was stored, send it again",
        retry_after=RETRY_AFTER_SECONDS,
    )


def _check_type(headers: Mapping[str, str]) -> None:
    given = headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type != "application/json":
        what = f"not {given!r}" if given else "and none was given"
        raise Problem("validation-error", f"the Content-Type must be application/json, {what}")
