"""Requests to the API server: connection, rate limit, retries, errors.

Guarantees:

- Every attempt waits for the rate limit, then passes `before_request`, and then goes out. A hook
  that raises ends the request; nothing was sent.
- A request has one total time, body included; a hook may shorten it.
- Repeated here is only what is safe to repeat: any request that was refused with 429 and
  Retry-After, or that never left; reads also after lost answers and after 503 with Retry-After.
  All within `retry_for` seconds. Everything else is the caller's to judge, by `retryable`.
- Nothing is compressed: gzip costs both sides more than a cluster's network does, and it holds
  watch events back. No redirect is followed: it would carry the credentials away.
"""

import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from yarl import URL

from kubernaut.kubernetes._backoff import Tokens
from kubernaut.kubernetes._clock import Clock
from kubernaut.kubernetes._config import ClientConfig
from kubernaut.kubernetes._errors import (
    KubernetesError,
    ServerUnavailableError,
    TooManyRequestsError,
    TransportError,
    described,
    error_of_answer,
)
from kubernaut.kubernetes._jitter import JitteredBackoff

log = logging.getLogger("kubernaut.kubernetes")

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 90.0
"""How long an unused connection is kept."""
_DEAD_PEER_MILLISECONDS: Final = 30_000
"""Unacknowledged data for so long ends a connection, as in client-go."""
_MOST_ATTEMPTS: Final = 10
_MOST_WARNINGS: Final = 1000
_FIRST_ERROR: Final = 300


@dataclass(slots=True)
class Request:
    """One request, as hooks see it.

    Attributes:
        method: of HTTP.
        path: of the API, quoted.
        params: the query.
        body: JSON, or None.
        content_type: of the body.
        timeout: seconds for one attempt; a hook may shorten it.
        attempt: 0 for the first.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    timeout: float = 30.0
    attempt: int = 0

    @property
    def writes(self) -> bool:
        """Whether the request asks for a change."""
        return self.method != "GET"


BeforeRequest = Callable[[Request], None]
AfterAttempt = Callable[[Request, int | None, float], None]


class Transport:
    """The connections to one API server. Belongs to one event loop.

    Args:
        config: where and who.
        user_agent: of the requests.
        bucket: the rate limit; None for none.
        clock: for waits.
        retry_for: seconds from the first attempt after which nothing is repeated.
        before_request: called right before each attempt; may raise.
        after_attempt: called with the HTTP status (None: no answer) and seconds of each attempt,
            when it has ended; so for a watch, minutes later.
    """

    def __init__(  # noqa: PLR0913  (parts given by the one who builds it)
        self,
        config: ClientConfig,
        *,
        user_agent: str,
        bucket: Tokens | None,
        clock: Clock,
        retry_for: float,
        before_request: BeforeRequest | None,
        after_attempt: AfterAttempt | None,
    ) -> None:
        self._base = config.server.rstrip("/")
        self._ssl = config.ssl_context() if self._base.startswith("https:") else None
        self._token = config.token_source()
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._headers["User-Agent"] = user_agent
        self._bucket = bucket
        self._clock = clock
        self._retry_for = retry_for
        self.before_request = before_request
        self._after_attempt = after_attempt
        self._opened: aiohttp.ClientSession | None = None
        self._warned: set[str] = set()

    async def close(self) -> None:
        """Close the connections; requests under way fail."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def send(self, request: Request) -> bytes:
        """The body of the answer.

        Raises:
            ApiError: the answer is no success.
            TransportError: there was no whole answer.
        """
        backoff = JitteredBackoff(first=0.2, cap=5.0)
        deadline = self._clock.monotonic() + self._retry_for
        while True:
            try:
                async with self._exchange(request, _limits(request.timeout)) as response:
                    return await response.read()
            except KubernetesError as error:
                wait = _wait(request, error, backoff)
                until = self._clock.monotonic() + (wait or 0)
                if wait is None or until > deadline or request.attempt + 1 >= _MOST_ATTEMPTS:
                    raise
                log.debug("%s %s again in %.1f s: %s", request.method, request.path, wait, error)
            await self._clock.sleep_until(until)
            request.attempt += 1

    @asynccontextmanager
    async def stream(
        self, request: Request, *, silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of a long answer; `silence` is how many seconds may pass without one.

        Raises:
            ApiError: the answer is no success.
            TransportError: no answer, silence, or an end before the end.
        """
        limits = _limits(request.timeout, silence)
        async with self._exchange(request, limits) as response:
            try:
                yield response.content.iter_any()
            finally:
                # Left before its end: TLS would say good-bye in the background, to a peer that may
                # be silent, and nobody would wait for that.
                if (connection := response.connection) and connection.transport:
                    connection.transport.abort()

    @asynccontextmanager
    async def _exchange(
        self, request: Request, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._bucket is not None and (wait := self._bucket.reserve()):
            await self._clock.sleep_until(self._clock.monotonic() + wait)
        limits = self._allowed(request, limits)
        headers = self._headers_of(request)
        started = self._clock.monotonic()
        status: int | None = None
        try:
            async with self._session().request(
                request.method,
                self._url(request),
                data=request.body,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                status = response.status
                self._look_for_warnings(response)
                if not response.ok or status >= _FIRST_ERROR:
                    raise error_of_answer(status, response.headers, await response.read())
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            refused = TransportError(self._said(request, error), sent=False)
            refused.retryable = False
            raise refused from error
        except aiohttp.ClientConnectorError as error:
            raise TransportError(self._said(request, error), sent=False) from error
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError.
            raise TransportError(self._said(request, error)) from error
        finally:
            if self._after_attempt is not None:
                self._after_attempt(request, status, self._clock.monotonic() - started)

    def _allowed(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
        """Ask the hook, which may raise or shorten the time."""
        if self.before_request is not None:
            timeout = request.timeout
            self.before_request(request)
            if request.timeout < timeout:
                limits = _limits(request.timeout, limits.sock_read)
            request.timeout = timeout  # The next attempt's hook decides anew.
        return limits

    def _headers_of(self, request: Request) -> dict[str, str]:
        headers = dict(self._headers)
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        return headers

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:  # Made here, because it belongs to the running loop.
            connector = aiohttp.TCPConnector(
                limit=0,  # Callers bound their own concurrency; a watch must not starve writes.
                ssl=self._ssl or True,
                keepalive_timeout=_IDLE_SECONDS,
                socket_factory=_socket,
            )
            self._opened = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
                read_bufsize=2**18,
            )
        return self._opened

    def _url(self, request: Request) -> URL:
        query = URL.build(query=dict(request.params)).raw_query_string
        return URL(f"{self._base}{request.path}{'?' + query if query else ''}", encoded=True)

    def _said(self, request: Request, error: Exception) -> str:
        return f"{request.method} {self._base}{request.path}: {described(error)}"

    def _look_for_warnings(self, response: aiohttp.ClientResponse) -> None:
        """Log each of the API server's warnings (deprecations, dropped fields) once."""
        for warning in response.headers.getall("Warning", ()):
            if warning not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(warning)
                log.warning("the API server warns: %s", warning)


def _limits(total: float, silence: float | None = None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT_SECONDS, sock_read=silence)


def _wait(request: Request, error: KubernetesError, backoff: JitteredBackoff) -> float | None:
    """Seconds until `request` may be repeated; None: it may not be, here."""
    match error:
        case TooManyRequestsError(retry_after=float(seconds)):
            pass
        case ServerUnavailableError(retry_after=float(seconds)) if not request.writes:
            pass
        case TransportError(retryable=True) if not (error.sent and request.writes):
            return backoff.next()
        case _:
            return None
    # All who were refused got the same number: spread them.
    return seconds * random.uniform(1.0, 1.25) + backoff.next()  # noqa: S311


def _socket(address: Any) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux. Elsewhere the system's hours apply.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MILLISECONDS)
    return made
