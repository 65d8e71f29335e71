"""A proxy for bytes, for what an HTTP proxy cannot do: TLS inside, and answers that never end.

Guarantees:

- What has been let through is in order and whole; only `reset` loses bytes.
- The port stays taken while connections are refused.
- After the `with`, thread and sockets are gone.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

from test.faults.connections import bound, reset, until_alone

T = TypeVar("T")

_TIMEOUT: Final = 10.0
_CHUNK: Final = 2**16


class TcpProxy:
    """Carries bytes between clients and one upstream, as long as its `with` runs.

    Args:
        host: of the upstream.
        port: of the upstream.

    Attributes:
        port: where clients connect to, on 127.0.0.1.
        connections: how many there have been.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._delay = 0.0
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._server: asyncio.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="tcp-proxy")
        self.connections = 0

    def __enter__(self) -> Self:
        self._reservation = bound(0)  # Never listens: it keeps the port.
        self.port: int = self._reservation.getsockname()[1]
        self._thread.start()
        assert self._ready.wait(_TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_TIMEOUT)
        self._reservation.close()
        assert not self._thread.is_alive()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def stall(self) -> None:
        """Let nothing through, on connections of now and later, and end none."""
        self._do(self._stall())

    def resume(self) -> None:
        """Let everything through again, and what was held back first."""
        self._do(self._resume())

    def delay(self, seconds: float) -> None:
        """Hold each piece back for so long; 0 for not any more."""
        self._delay = seconds

    def reset(self) -> None:
        """End all connections with RST, as a crash does."""
        self._do(self._reset())

    def refuse(self) -> None:
        """Refuse new connections and reset those that there are."""
        self._do(self._refuse())

    def listen(self) -> None:
        """Take connections again."""
        self._do(self._listen())

    def _do(self, action: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(_TIMEOUT)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        await self._listen()
        self._ready.set()
        await self._stop.wait()
        self._delay = 0.0
        self._flowing.set()
        await self._refuse()
        # Reset, they end by themselves; cancelled, they would be logged.
        await until_alone(self._reset)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=bound(self.port))

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _stall(self) -> None:
        self._flowing.clear()

    async def _resume(self) -> None:
        self._flowing.set()

    async def _reset(self) -> None:
        for pair in list(self._open):
            for writer in pair:
                reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError):
                await self._carry_both(reader, writer)
        finally:
            reset(writer)

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        pair = (writer, up_writer)
        self._open.add(pair)
        try:
            await asyncio.gather(self._carry(reader, up_writer), self._carry(up_reader, writer))
        finally:
            self._open.discard(pair)
            reset(up_writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self._delay:
                loop = asyncio.get_running_loop()
                passed = asyncio.Event()
                loop.call_later(self._delay, passed.set)
                await passed.wait()
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        await self._flowing.wait()
        if writer.can_write_eof():
            writer.write_eof()
