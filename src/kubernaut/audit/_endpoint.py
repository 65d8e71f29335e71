"""Where DataStorage is, and the failure to get an answer from there."""

from pathlib import Path

import msgspec

_SCHEMES = ("http://", "https://")


class TransportError(Exception):
    """No answer; nothing is known about what was sent."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where DataStorage is and how to reach it.

    Attributes:
        url: base address, for example `https://datastorage:8080`; a path in it is put in front of
            every route.
        token_file: a bearer token, read again when the file changes and after a 401. White space
            around it does not matter.
        ca_file: the certificates to trust (PEM), and no others; read again when the file changes.
        timeout_seconds: for a whole request, from connecting to the end of the answer; in the
            synchronous client for each step up to the answer's head, and then for its body.
        trust_env: whether environment variables (`HTTPS_PROXY`, `SSL_CERT_FILE` and their like)
            have a say. Not without being asked: events stay between this process and the server.

    Raises:
        ValueError: the URL or the time cannot be right; the text says what is wrong.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 30.0
    trust_env: bool = False

    def __post_init__(self) -> None:
        if fault := _fault(self.url):
            raise ValueError(f"the address of DataStorage {fault}")
        if not self.timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be more than 0, not {self.timeout_seconds!r}")


def _fault(url: str) -> str | None:
    """What is wrong with a base address. A login is not repeated: messages end up in logs."""
    from urllib.parse import urlsplit  # noqa: PLC0415  (at first use: importing must be quick)

    fault = None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"is not understood: {str(error)[:1].lower()}{str(error)[1:]}"
    if "@" in (parts.netloc or url):
        fault = "holds a login; a token belongs in token_file"
    elif any(character.isspace() or not character.isprintable() for character in url):
        fault = f"holds white space or control characters: {url!r}"
    elif not url.lower().startswith(_SCHEMES):
        fault = f"must begin with http:// or https://: {url!r}"
    elif not parts.hostname:
        fault = f"names no host: {url!r}"
    elif "?" in url or "#" in url:
        fault = f"must end before a query or fragment: {url!r}"
    return fault
