"""A proxy between an HTTP/1.1 client and its server that does with each request what a test says.

Guarantees:

- Behaviours of the script are used up one for each request, in the order in which requests have
  come in whole; then `default` is what is done.
- A request is in `requests` before anything is done with it, and has `ended` before the client can
  know of its answer or end, so that requests which overlap there did overlap.
- The port stays taken while connections are refused, so that nobody else gets it.
- After the `with`, thread, sockets and waiting requests are gone. An error of the proxy itself is
  raised there.
"""

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from test.faults.connections import HOST, bound, reset, until_alone
from test.faults.http_faults import PASS, Behaviour
from test.faults.http_seen import Seen
from test.faults.http_wire import LIMIT, Message, read_answer, read_request

T = TypeVar("T")

_TIMEOUT: Final = 10.0


class _Reader(asyncio.StreamReader):
    """A client's side of a connection, which says at once when the client has left."""

    left: Callable[[], None] = staticmethod(lambda: None)

    def feed_eof(self) -> None:
        self.left()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        self.left()
        super().set_exception(exc)


class _Exchange:
    """One request with its two connections, for a behaviour."""

    def __init__(
        self, proxy: "FaultProxy", seen: Seen, request: Message, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._seen = seen
        self._request = request
        self._writer = writer
        self.connection_ended = request.ends_connection

    @property
    def body(self) -> bytes:
        return self._seen.body

    def ended(self) -> None:
        if self._seen.ended is None:
            self._seen.ended = self._proxy.tick()

    def left(self) -> None:
        if self._seen.ended is None:
            self._seen.abandoned = True
            self.ended()

    async def forward(self) -> Message:
        address = urlsplit(self._proxy.upstream)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=LIMIT)
        try:
            self._seen.forwarded = True
            writer.write(self._request.raw)
            await writer.drain()
            answer = await read_answer(reader, self._seen.method)
        finally:
            await _closed(writer)
        self._seen.upstream_status = int(answer.start[1])
        return answer

    async def send(self, data: bytes, *, last: bool = True) -> None:
        if last:
            self.ended()
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        self.ended()
        self.connection_ended = True
        reset(self._writer)

    def close(self) -> None:
        self.ended()
        self.connection_ended = True


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class FaultProxy:
    """A proxy for one upstream, which runs while its `with` does.

    Args:
        upstream: the server's address, as `http://127.0.0.1:8080`; may be set at any time.
        default: what is done with requests that the script has nothing for; may be set too.

    `url` and `port` are there in the `with`.
    """

    def __init__(self, upstream: str, default: Behaviour = PASS) -> None:
        self.upstream = upstream
        self.default = default
        self.requests: list[Seen] = []
        self.connections = 0
        self._script: deque[Behaviour] = deque()
        self._order = itertools.count()
        self._ready = threading.Event()
        self._errors: list[Exception] = []
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault-proxy")

    def __enter__(self) -> Self:
        self._reservation = bound(0)  # Never listens: it keeps the port.
        self.port: int = self._reservation.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._thread.start()
        assert self._ready.wait(_TIMEOUT)
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        if self._errors and error is None:
            raise self._errors[0]

    def end(self) -> None:
        """Reset all connections and go away, as at the end of the `with`."""
        with suppress(RuntimeError):  # The loop has ended already.
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_TIMEOUT)
        self._reservation.close()
        assert not self._thread.is_alive()

    def script(self, *behaviours: Behaviour) -> None:
        """What is done with the next requests, after those that the script has already."""
        self._script.extend(behaviours)

    def times(self, count: int, behaviour: Behaviour) -> None:
        """The same for so many requests."""
        self.script(*[behaviour] * count)

    @property
    def unused(self) -> int:
        """How many behaviours of the script are left."""
        return len(self._script)

    def clear(self) -> None:
        """Forget the rest of the script."""
        self._script.clear()

    def refuse(self, *, drop: bool = True) -> None:
        """Refuse new connections; `drop`: and reset those that there are, as a crash does."""
        self._do(self._refuse(drop=drop))

    def listen(self) -> None:
        """Take connections again, on the same port."""
        self._do(self._listen())

    def drop(self) -> None:
        """Reset the connections that there are."""
        self._do(self._drop())

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections meanwhile."""
        self.refuse()
        try:
            yield
        finally:
            self.listen()

    def tick(self) -> int:
        """The next place in the order of beginnings and ends."""
        return next(self._order)

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_TIMEOUT)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await self._refuse(drop=True)
        await until_alone(self._drop)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(self._protocol, sock=bound(self.port))

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = _Reader(limit=LIMIT, loop=self._loop)
        return asyncio.StreamReaderProtocol(reader, self._connected, loop=self._loop)

    async def _refuse(self, *, drop: bool) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if drop:
            await self._drop()

    async def _drop(self) -> None:
        tasks = dict(self._open)
        for task, writer in tasks.items():
            reset(writer)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        self.connections += 1
        task = self._loop.create_task(self._serve(self.connections, reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _serve(self, number: int, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader)) is not None:
                if await self._exchanged(number, request, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            reset(writer)  # One side has gone; the other sees that.
        except Exception as error:  # noqa: BLE001  (raised at the end of the `with`)
            self._errors.append(error)
            reset(writer)
        finally:
            await _closed(writer)

    async def _exchanged(
        self, connection: int, request: Message, reader: _Reader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do with the request what is its turn; True: the connection has come to its end."""
        behaviour = self._script.popleft() if self._script else self.default
        method, path, _ = request.start
        what = (connection, method, path, request.headers, request.body, behaviour)
        seen = Seen(len(self.requests), *what, began=self.tick())
        self.requests.append(seen)
        exchange = _Exchange(self, seen, request, writer)
        reader.left = exchange.left
        try:
            await behaviour(exchange)
        finally:
            exchange.ended()
        return exchange.connection_ended
