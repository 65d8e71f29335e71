"""A small HTTP server whose answers a test decides, for what a real DataStorage never says.

It stands for what may be between or instead of it: proxies, redirects, slow lines, TLS.
"""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

OK = b'{"status":"healthy","database":"connected"}'


class Received(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to answer; a body in parts is sent part by part."""

    status: int = 200
    body: bytes | Iterator[bytes] = OK
    headers: Mapping[str, str] = {}


class AnsweringServer(ThreadingHTTPServer):
    """Answers each request with what `decide` says, over TLS if there is a context."""

    daemon_threads = False

    def __init__(
        self, decide: Callable[[Received], Answer], context: ssl.SSLContext | None = None
    ) -> None:
        self.decide = decide
        self.context = context
        self.received: list[Received] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://localhost:{self.server_address[1]}"

    @classmethod
    @contextmanager
    def running(
        cls,
        decide: Callable[[Received], Answer] = lambda _: Answer(),
        context: ssl.SSLContext | None = None,
    ) -> Iterator[Self]:
        with cls(decide, context) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    @classmethod
    def always(cls, answer: Answer) -> AbstractContextManager[Self]:
        return cls.running(lambda _: answer)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up or refuses the certificate is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: AnsweringServer

    def setup(self) -> None:
        if self.server.context is not None:
            # In the thread of this connection: a handshake must not hold up the others.
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers,
            self.rfile.read(length),
        )
        self.server.received.append(received)
        status, body, more = self.server.decide(received)
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        if isinstance(body, bytes):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for part in [body] if isinstance(body, bytes) else body:
            self.wfile.write(part)

    do_GET = answer  # noqa: N815  (http.server's names)
    do_POST = answer  # noqa: N815
    do_PUT = answer  # noqa: N815
    do_PATCH = answer  # noqa: N815
    do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the tests look at what was received."""
