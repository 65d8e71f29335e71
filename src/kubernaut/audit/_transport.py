"""HTTP to DataStorage, for a client that outlives tokens and certificates."""

import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from kubernaut.audit._credentials import Credentials
from kubernaut.audit._endpoint import Endpoint, TransportError

if TYPE_CHECKING:
    import httpx2

    from kubernaut.audit._credentials import Trust

__all__ = ["Answered", "AsyncTransport", "Endpoint", "Transport", "TransportError", "described"]

Answered = tuple[int, Mapping[str, str], bytes]
"""Status, headers (by any case of their names) and body of an answer."""

_UNAUTHORIZED: Final = 401


class _Connections:
    """What both transports share: credentials, and which connections are in use.

    Connections whose certificates are out of date take no further requests, and are closed when
    the last of theirs has ended.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._credentials = Credentials(endpoint)
        self._closed = False
        self._in_use: dict[Any, int] = {}

    def forget_token(self) -> None:
        """Read the token anew for the next request."""
        self._credentials.forget_token()

    def _has_another_token(self, sent: Mapping[str, str]) -> bool:
        """After a 401: whether another token is there now, with which to ask again."""
        if "Authorization" not in sent:
            return False
        self._credentials.forget_token()
        try:
            return self._credentials.headers()["Authorization"] != sent["Authorization"]
        except TransportError:
            return False

    def _headers(self, extra: Mapping[str, str], body: bytes | None) -> dict[str, str]:
        content_type = {} if body is None else {"Content-Type": "application/json"}
        return self._credentials.headers() | content_type | dict(extra)

    def _new_trust(self, *, connected: bool) -> "Trust | None":
        """What to trust from now on, if connections must be made anew for it."""
        if self._closed:
            raise TransportError("the client is closed")
        return self._credentials.new_trust() if connected else self._credentials.trust()

    def _release(self, client: Any, current: Any) -> bool:
        """A request has ended; True if the connections are to be closed."""
        self._in_use[client] -= 1
        if self._in_use[client] or client is current:
            return False
        del self._in_use[client]
        return True

    def _retire(self, client: Any) -> bool:
        """No further requests; True if the connections are to be closed at once."""
        if client is None or self._in_use.get(client):
            return False
        self._in_use.pop(client, None)
        return True

    def _options(self, trust: "Trust") -> dict[str, Any]:
        return {
            "base_url": self._endpoint.url,
            "verify": trust,
            "timeout": self._endpoint.timeout_seconds,
            "trust_env": self._endpoint.trust_env,
            "follow_redirects": False,
        }

    def _late(self) -> TransportError:
        return TransportError(f"no whole answer within {self._endpoint.timeout_seconds:g} s")


class Transport(_Connections):
    """Synchronous requests over connections that are kept, from any number of threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._client: httpx2.Client | None = None
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answered:
        """The answer to one request. After a 401 it is sent once more if there is a new token.

        Raises:
            TransportError: no answer came.
        """
        with self._lock:
            sent = self._headers(headers, body)
        answer = self._send(method, path, params, sent, body)
        if answer[0] == _UNAUTHORIZED:
            with self._lock:
                again = self._has_another_token(sent)
                sent = self._headers(headers, body) if again else sent
            if again:
                answer = self._send(method, path, params, sent, body)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answered:
        import httpx2  # noqa: PLC0415  (imported at first use: recording must start fast)

        content = []
        try:
            with (
                self._lease() as client,
                client.stream(method, path, params=params, content=body, headers=headers) as answer,
            ):
                # The library's time-outs are for each read; a server that drips would never end.
                deadline = time.monotonic() + self._endpoint.timeout_seconds
                for part in answer.iter_bytes():
                    content.append(part)
                    if time.monotonic() > deadline:
                        raise self._late()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error
        return answer.status_code, answer.headers, b"".join(content)

    @contextmanager
    def _lease(self) -> "Iterator[httpx2.Client]":
        """Connections for one request."""
        import httpx2  # noqa: PLC0415

        old = None
        with self._lock:
            trust = self._new_trust(connected=self._client is not None)
            if trust is not None:
                old = self._client if self._retire(self._client) else None
                self._client = httpx2.Client(**self._options(trust))
            client = self._client
            assert client is not None  # noqa: S101  (for the type checker)
            self._in_use[client] = self._in_use.get(client, 0) + 1
        if old is not None:
            old.close()
        try:
            yield client
        finally:
            with self._lock:
                unused = self._release(client, self._client)
            if unused:
                client.close()

    def close(self) -> None:
        """Take no more requests, and close the connections; those in use when they end."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
            unused = self._retire(client)
        if client is not None and unused:
            client.close()


class AsyncTransport(_Connections):
    """`Transport` for asyncio; the whole of a request has the endpoint's time."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._client: httpx2.AsyncClient | None = None

    async def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answered:
        """The answer to one request. After a 401 it is sent once more if there is a new token.

        Raises:
            TransportError: no answer came.
        """
        sent = self._headers(headers, body)
        answer = await self._send(method, path, params, sent, body)
        if answer[0] == _UNAUTHORIZED and self._has_another_token(sent):
            sent = self._headers(headers, body)
            answer = await self._send(method, path, params, sent, body)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answered:
        import asyncio  # noqa: PLC0415

        import httpx2  # noqa: PLC0415

        try:
            async with asyncio.timeout(self._endpoint.timeout_seconds), self._lease() as client:
                answer = await client.request(
                    method, path, params=params, content=body, headers=headers
                )
        except TimeoutError as error:
            raise self._late() from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error
        return answer.status_code, answer.headers, answer.content

    @asynccontextmanager
    async def _lease(self) -> "AsyncIterator[httpx2.AsyncClient]":
        """Connections for one request."""
        import httpx2  # noqa: PLC0415

        trust = self._new_trust(connected=self._client is not None)
        old = None
        if trust is not None:
            old = self._client if self._retire(self._client) else None
            self._client = httpx2.AsyncClient(**self._options(trust))
        client = self._client
        assert client is not None  # noqa: S101  (for the type checker)
        self._in_use[client] = self._in_use.get(client, 0) + 1
        try:
            if old is not None:
                await old.aclose()
            yield client
        finally:
            if self._release(client, self._client):
                await client.aclose()

    async def close(self) -> None:
        """Take no more requests, and close the connections; those in use when they end."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None and self._retire(client):
            await client.aclose()


def described(value: Any) -> str:
    """A value for a log line, cut to a readable length."""
    text = str(value)
    return text if len(text) <= 300 else f"{text[:297]}..."  # noqa: PLR2004
