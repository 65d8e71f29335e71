"""HTTP to DataStorage, for a client that outlives tokens and certificates."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import ssl

    import httpx2

    Trust = ssl.SSLContext | Literal[True]


class Endpoint(NamedTuple):
    """Where DataStorage is and how to reach it.

    Attributes:
        url: base address, for example `https://datastorage:8080`.
        token_file: a bearer token, read again when the file changes and after a 401.
        ca_file: the certificates to trust, and no others; read again when the file changes.
        timeout_seconds: for a whole request, from connecting to the end of the answer.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 30.0


class TransportError(Exception):
    """No answer; nothing is known about what was sent."""


class _WatchedFile:
    """A file's content, read again when the file was replaced or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        """Whether the file is another than when `read` was called last."""
        try:
            status = self._path.stat()
        except OSError:
            return False  # Between two versions of it; the old content serves until then.
        return (status.st_mtime_ns, status.st_ino, status.st_size) != self._seen

    def read(self) -> str:
        """The content.

        Raises:
            TransportError: it cannot be read.
        """
        try:
            status = self._path.stat()
            content = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TransportError(f"cannot read {self._path}: {error}") from error
        self._seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        return content


class Credentials:
    """The token and the trusted certificates of an endpoint, as they are now."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._token_file = _WatchedFile(endpoint.token_file) if endpoint.token_file else None
        self._ca_file = _WatchedFile(endpoint.ca_file) if endpoint.ca_file else None
        self._token: str | None = None

    def headers(self) -> dict[str, str]:
        """The `Authorization` header, if there is a token file.

        Raises:
            TransportError: the token cannot be read, or is empty: no request is better than one
                without credentials.
        """
        if self._token_file is None:
            return {}
        if self._token is None or self._token_file.changed():
            token = self._token_file.read().strip()
            if not token:
                raise TransportError("the token file is empty")
            self._token = token
        return {"Authorization": f"Bearer {self._token}"}

    def forget_token(self) -> None:
        """After a 401: read the token anew."""
        self._token = None

    def trust_changed(self) -> bool:
        """Whether connections must be made anew."""
        return self._ca_file is not None and self._ca_file.changed()

    def trust(self) -> "Trust":
        """What to trust.

        Raises:
            TransportError: the certificates cannot be read.
        """
        if self._ca_file is None:
            return True
        import ssl  # noqa: PLC0415  (loaded at first use: importing must be quick)

        content = self._ca_file.read()
        try:
            return ssl.create_default_context(cadata=content)
        except ssl.SSLError as error:
            raise TransportError(f"the certificates are not usable: {error}") from error


class _Connections:
    """What both transports share: credentials, and when to connect anew."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._credentials = Credentials(endpoint)

    def forget_token(self) -> None:
        """After a 401: read the token anew."""
        self._credentials.forget_token()

    def _headers(self, extra: Mapping[str, str], body: bytes | None) -> dict[str, str]:
        content_type = {} if body is None else {"Content-Type": "application/json"}
        return self._credentials.headers() | content_type | dict(extra)

    def _new_trust(self, *, connected: bool) -> "Trust | None":
        """What to trust from now on, if connections must be made anew for it."""
        if connected:
            if not self._credentials.trust_changed():
                return None
            try:
                return self._credentials.trust()
            except TransportError:
                return None  # A half-written file: what was trusted serves on.
        return self._credentials.trust()

    def _options(self, trust: "Trust") -> dict[str, Any]:
        return {
            "base_url": self._endpoint.url,
            "verify": trust,
            "timeout": self._endpoint.timeout_seconds,
            "follow_redirects": False,
        }


class Transport(_Connections):
    """Synchronous requests over connections that are kept."""

    _client: "httpx2.Client | None" = None

    def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (names in lower case) and body of the answer.

        Raises:
            TransportError: no answer came.
        """
        import httpx2  # noqa: PLC0415  (imported at first use: recording must start fast)

        try:
            trust = self._new_trust(connected=self._client is not None)
            if trust is not None:
                self.close()
                self._client = httpx2.Client(**self._options(trust))
            assert self._client is not None  # noqa: S101  (for the type checker)
            answer = self._client.request(
                method, path, params=params, content=body, headers=self._headers(headers, body)
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error
        return answer.status_code, answer.headers, answer.content

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


class AsyncTransport(_Connections):
    """`Transport` for asyncio; the whole of a request has the endpoint's time."""

    _client: "httpx2.AsyncClient | None" = None

    async def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (names in lower case) and body of the answer.

        Raises:
            TransportError: no answer came.
        """
        import asyncio  # noqa: PLC0415

        import httpx2  # noqa: PLC0415

        try:
            trust = self._new_trust(connected=self._client is not None)
            if trust is not None:
                await self.close()
                self._client = httpx2.AsyncClient(**self._options(trust))
            assert self._client is not None  # noqa: S101  (for the type checker)
            # The library's time-outs are for each read; a server that drips would never end.
            async with asyncio.timeout(self._endpoint.timeout_seconds):
                answer = await self._client.request(
                    method, path, params=params, content=body, headers=self._headers(headers, body)
                )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error
        return answer.status_code, answer.headers, answer.content

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def described(value: Any) -> str:
    """A value for a log line, cut to a readable length."""
    text = str(value)
    return text if len(text) <= 300 else f"{text[:297]}..."  # noqa: PLR2004
