"""DataStorage's requests and answers as the plain clients make and read them; no I/O."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec

from kubernaut.audit._endpoint import TransportError
from kubernaut.audit._event import AuditEvent
from kubernaut.audit._transport import Answered
from kubernaut.audit.wire import Fault, Health, Page, ProblemDocument, StoredEvent

T = TypeVar("T")

_EVENTS: Final = "/api/v1/audit/events"
_VERIFY: Final = "/api/v1/audit/verify-chain"
_LENIENT: Final = {"Prefer": "handling=lenient"}
_OK: Final = (200, 201)
_NOT_FOUND: Final = 404
_UNAVAILABLE: Final = 503
_PAGE_SIZE: Final = 200
_NEXT_PAGE: Final = re.compile(r'<[^>?]*\?([^>]*)>; *rel="?next"?')
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

Event = AuditEvent | Mapping[str, Any]


class EventFilter(TypedDict, total=False):
    """What to find; everything is optional (as is None) and all must hold.

    `since` and `until` are inclusive: a time with an offset, or a text like `24h` or `7d` (before
    the server's now). `detail_key` and `detail_value` go together: the member of `event_data` of
    that name is, as text, that value. `page_size` is how many events one request brings, 1 to
    1000; 200 unless given.
    """

    correlation_id: str | None
    event_type: str | None
    event_category: str | None
    event_outcome: Literal["success", "failure", "pending"] | None
    severity: str | None
    since: datetime | str | None
    until: datetime | str | None
    detail_key: str | None
    detail_value: str | None
    order: Literal["asc", "desc"] | None
    page_size: int | None


class ServerProblemError(Exception):
    """An error answer of the server.

    Attributes:
        status: the HTTP status.
        type: the problem's type, `about:blank` where the answer was no problem document.
        detail: one sentence.
        errors: what is wrong and where, if that is known.
        retry_after: seconds after which the same request may succeed, if the server said so.
    """

    def __init__(
        self,
        status: int,
        problem: ProblemDocument | None,
        body: bytes,
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.type = problem.type if problem else "about:blank"
        self.detail = problem.detail if problem else body[:200].decode(errors="replace")
        self.errors: list[Fault] = (problem.errors or []) if problem else []
        self.retry_after = retry_after
        super().__init__(f"HTTP {status}: {self.detail}")


class Call(NamedTuple):
    """A request before it is one."""

    method: str
    path: str
    params: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    body: bytes | None = None


def write(event: Event) -> Call:
    """Store an event."""
    return Call("POST", _EVENTS, body=msgspec.json.encode(event))


def write_batch(events: Sequence[Event], *, lenient: bool) -> Call:
    """Store events."""
    headers = _LENIENT if lenient else _NOTHING
    return Call("POST", f"{_EVENTS}/batch", headers=headers, body=msgspec.json.encode(events))


def query(wanted: EventFilter) -> Call:
    """Ask for the first page of what is wanted, without a count.

    Raises:
        TypeError: there is no filter of that name. (The server would ignore it, and give more
            than was wanted.)
        ValueError: a time has no offset.
    """
    unknown = wanted.keys() - EventFilter.__annotations__.keys()
    if unknown:
        raise TypeError(f"there is no filter {', '.join(sorted(unknown))}")
    params = {"cursor": "", "limit": str(_PAGE_SIZE)}
    for name, value in wanted.items():
        if value is not None:
            params["limit" if name == "page_size" else name] = _text(name, value)
    return Call("GET", _EVENTS, params)


def _text(name: str, value: object) -> str:
    if not isinstance(value, datetime):
        return str(value)
    if value.utcoffset() is None:
        raise ValueError(f"{name}: a time without an offset could mean anything: {value}")
    return value.isoformat()


def following(call: Call, answer: Answered, page: Page) -> Call | None:
    """The request for the page after this one, if there is one."""
    cursor = page.pagination.next_cursor
    if not cursor:
        return None
    # In the server's own link times like 24h are fixed to what they meant for the first page.
    link = _NEXT_PAGE.search(answer[1].get("link", ""))
    if link is None:
        return call._replace(params={**call.params, "cursor": cursor})
    from urllib.parse import parse_qsl  # noqa: PLC0415  (at first use: importing must be quick)

    return call._replace(params={**call.params, **dict(parse_qsl(link[1]))})


def get(event_id: UUID | str, correlation_id: str | None) -> Call:
    """Ask for an event.

    Raises:
        ValueError: the id is no UUID.
    """
    wanted = event_id if isinstance(event_id, UUID) else UUID(event_id)
    params = _NOTHING if correlation_id is None else {"correlation_id": correlation_id}
    return Call("GET", f"{_EVENTS}/{wanted}", params)


def verify(correlation_id: str) -> Call:
    """Check a chain."""
    return Call("POST", _VERIFY, body=msgspec.json.encode({"correlation_id": correlation_id}))


def health() -> Call:
    """Ask how the server is."""
    return Call("GET", "/health")


def read(answer: Answered, kind: type[T]) -> T:
    """The document of an answer.

    Raises:
        ServerProblemError: it is an error answer.
        TransportError: it is none of DataStorage's.
    """
    status, _, body = answer
    if status not in _OK:
        raise _problem(answer)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransportError(f"an answer that is not understood: {error}") from error


def read_event(answer: Answered) -> StoredEvent | None:
    """The event of an answer, or None where there is none.

    Raises:
        ServerProblemError: it is an error answer.
        TransportError: it is none of DataStorage's.
    """
    if answer[0] == _NOT_FOUND:
        problem = _problem(answer)
        if problem.type.endswith("/not-found"):  # Not the 404 of something in between.
            return None
        raise problem
    return read(answer, StoredEvent)


def read_health(answer: Answered) -> Health:
    """The health of an answer, good or bad.

    Raises:
        ServerProblemError: it is another error answer.
        TransportError: it is none of DataStorage's.
    """
    status, _, body = answer
    if status == _UNAVAILABLE:
        try:
            return msgspec.json.decode(body, type=Health)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # A problem document, or what stands in between: told below.
    return read(answer, Health)


def _problem(answer: Answered) -> ServerProblemError:
    status, headers, body = answer
    try:
        problem = msgspec.json.decode(body, type=ProblemDocument)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = None
    seconds = headers.get("retry-after", "")
    retry_after = float(seconds) if seconds.isascii() and seconds.isdigit() else None
    return ServerProblemError(status, problem, body, retry_after)
