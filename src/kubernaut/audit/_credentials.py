"""The token and the trusted certificates of an endpoint, in files that others replace at any time.

What was read last serves until there is something better: a file that is away, empty or half
written changes nothing. Only the first reading, and that after a 401, must succeed.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kubernaut.audit._endpoint import Endpoint, TransportError

if TYPE_CHECKING:
    import ssl

    Trust = ssl.SSLContext | Literal[True]

log = logging.getLogger("kubernaut.audit")


class _WatchedFile:
    """A file's content, read again when the file was replaced or written."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        """Whether the file is another than when `read` was called last."""
        try:
            return self._state() != self._seen
        except OSError:
            return False  # Between two versions of it; the old content serves until then.

    def _state(self) -> tuple[int, int, int]:
        status = self._path.stat()
        # The time of change, unlike that of modification, is not copied from elsewhere.
        return (status.st_ctime_ns, status.st_ino, status.st_size)

    def read(self) -> str:
        """The content.

        Raises:
            TransportError: it cannot be read.
        """
        try:
            # Noted before reading, so that what is written meanwhile shows as a change; and in
            # any case, so that a bad file is read once and not for every request.
            self._seen = self._state()
            return self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TransportError(f"cannot read {self._path}: {error}") from error


class Credentials:
    """The token and the trusted certificates of an endpoint, as they are now."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._token_file = _WatchedFile(endpoint.token_file) if endpoint.token_file else None
        self._is_plain = endpoint.url.lower().startswith("http://") and not endpoint.trust_env
        self._ca_file = _WatchedFile(endpoint.ca_file) if endpoint.ca_file else None
        self._token: str | None = None

    def headers(self) -> dict[str, str]:
        """The `Authorization` header, if there is a token file.

        Raises:
            TransportError: there is no token to be read: no request is better than one without
                credentials.
        """
        if self._token_file is None:
            return {}
        if self._token is None:
            self._token = _read_token(self._token_file)
        elif self._token_file.changed():
            try:
                self._token = _read_token(self._token_file)
            except TransportError as error:
                log.warning("the token read before serves on: %s", error)
        return {"Authorization": f"Bearer {self._token}"}

    def forget_token(self) -> None:
        """After a 401: read the token anew."""
        self._token = None

    def new_trust(self) -> "Trust | None":
        """What to trust from now on; None: what was trusted before."""
        if self._ca_file is None or not self._ca_file.changed():
            return None
        try:
            return self.trust()
        except TransportError as error:
            log.warning("the certificates read before serve on: %s", error)
            return None

    def trust(self) -> "Trust":
        """What to trust.

        Raises:
            TransportError: the certificates cannot be read.
        """
        import ssl  # noqa: PLC0415  (loaded at first use: importing must be quick)

        if self._ca_file is None:
            # Loading the system's certificates would take longer than to send.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self._is_plain else True

        # Certificates are ASCII; what is not stands in the comments between them.
        content = self._ca_file.read().encode("ascii", "ignore").decode("ascii")
        if not content.strip():
            # The library would take "" for "none given", and trust everybody the system trusts.
            raise TransportError("the file of certificates is empty")
        try:
            return ssl.create_default_context(cadata=content)
        except ssl.SSLError as error:
            raise TransportError(f"the certificates are not usable: {error}") from error


def _read_token(file: _WatchedFile) -> str:
    token = file.read().strip()
    if not token:
        raise TransportError("the token file is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise TransportError("the token file holds something that is not one token")
    return token
