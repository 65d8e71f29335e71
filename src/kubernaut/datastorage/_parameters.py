"""Query parameters: from the URL's text to typed values, with a fault for each that is wrong."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from kubernaut.audit.wire import Fault
from kubernaut.datastorage.problems import Problem

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAYS: Final = re.compile(r"(\d{1,7})d")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_SPACE_FOR_PLUS: Final = re.compile(r"(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:\d\d)$")
_KEY: Final = re.compile(r"[a-zA-Z0-9_]{1,100}")

Parser = Callable[[str], Any]


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """A place in a listing: the time (microseconds since 1970) and id of the last event seen."""

    microseconds: int
    event_id: UUID

    @classmethod
    def at(cls, timestamp: datetime, event_id: UUID) -> "Cursor":
        """The place just after an event."""
        return cls((timestamp - EPOCH) // _MICROSECOND, event_id)

    @property
    def timestamp(self) -> datetime:
        """The time as PostgreSQL wants it."""
        return EPOCH + self.microseconds * _MICROSECOND

    def token(self) -> str:
        """The opaque text that clients hand back."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, token: str) -> "Cursor":
        """The cursor of a token.

        Raises:
            ValueError: the token is none of ours.
        """
        try:
            padded = token + "=" * (-len(token) % 4)
            cursor = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
            _ = cursor.timestamp
        except (msgspec.DecodeError, binascii.Error, OverflowError, UnicodeError) as error:
            raise ValueError("a cursor that an earlier answer gave") from error
        return cursor


def text(limit: int) -> Parser:
    """A parser for a non-empty text of at most `limit` characters."""

    def parse(value: str) -> str:
        if not 0 < len(value) <= limit:
            raise ValueError(f"a text of 1 to {limit} characters")
        return value

    return parse


def integer(least: int, most: int) -> Parser:
    """A parser for a whole number within bounds."""

    def parse(value: str) -> int:
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):  # noqa: PLR2004
            raise ValueError(f"a whole number from {least} to {most}")
        number = int(value)
        if not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return parse


def choice(*allowed: str) -> Parser:
    """A parser for one of a few words."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return value

    return parse


def key(value: str) -> str:
    """A name of a payload's member."""
    if not _KEY.fullmatch(value):
        raise ValueError("letters, digits and underscores, at most 100")
    return value


def cursor(value: str) -> Cursor | None:
    """A cursor; empty text is the start of the listing."""
    return Cursor.parse(value) if value else None


def moment(now: datetime) -> Parser:
    """A parser for times: RFC 3339, a UTC date or time, or a span before now (`7d`, `1h30m`)."""

    def parse(value: str) -> datetime:
        rule = "an RFC 3339 time, YYYY-MM-DD, YYYY-MM-DDTHH:MM:SS, or a span like 24h or 7d"
        try:
            if days := _DAYS.fullmatch(value):
                return now - timedelta(days=int(days[1]))
            if _DURATION.fullmatch(value):
                parts = _DURATION_PART.findall(value)
                return now - timedelta(seconds=sum(float(n) * _SECONDS[u] for n, u in parts))
            # A "+" that was not percent-encoded arrives as a space.
            iso = _SPACE_FOR_PLUS.sub(r"\1+\2", value)
            if not re.match(r"\d{4}-\d\d-\d\d(?:$|[Tt ])", iso):
                raise ValueError(rule)
            parsed = datetime.fromisoformat(iso)
            aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            return aware.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValueError(rule) from error

    return parse


def parse(query: bytes, parsers: Mapping[str, Parser]) -> dict[str, Any]:
    """The known parameters of a query string; unknown ones are ignored.

    Raises:
        Problem: with a fault for each known parameter that is wrong.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in parse_qsl(query.decode("latin-1"), True, errors="surrogateescape"):
        parser = parsers.get(name)
        if parser is None:
            continue
        try:
            if name in values:
                raise ValueError("given once")
            if not value.isprintable() and ("\x00" in value or not _is_text(value)):
                raise ValueError("UTF-8 text without NUL")
            values[name] = parser(value)
        except ValueError as error:
            faults.append(Fault(name, str(error)))
    if faults:
        raise invalid(faults)
    return values


def invalid(faults: list[Fault]) -> Problem:
    """The 400 for wrong query parameters."""
    return Problem(
        "validation-error",
        "Validation failed for query parameters: "
        + "; ".join(f"{fault.path}: {fault.rule}" for fault in faults),
        faults=faults,
        extensions={"field_errors": {fault.path: fault.rule for fault in faults}},
    )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
