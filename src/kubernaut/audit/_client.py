"""A plain client of DataStorage: one call, one request, the answer or an exception.

For reading the trail, and for programs that want to see each answer. Programs that must not lose
events use `AuditStore`.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypedDict, TypeVar, Unpack
from uuid import UUID

import msgspec

from kubernaut.audit._event import AuditEvent
from kubernaut.audit._transport import (
    AsyncTransport,
    Endpoint,
    Transport,
    TransportError,
)
from kubernaut.audit.wire import (
    BatchAnswer,
    Fault,
    Page,
    ProblemDocument,
    SingleAnswer,
    StoredEvent,
    Verification,
)

T = TypeVar("T")

_EVENTS: Final = "/api/v1/audit/events"
_VERIFY: Final = "/api/v1/audit/verify-chain"
_LENIENT: Final = {"Prefer": "handling=lenient"}
_OK: Final = (200, 201)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

Event = AuditEvent | Mapping[str, Any]
Answered = tuple[int, Mapping[str, str], bytes]


class EventFilter(TypedDict, total=False):
    """What to find; everything is optional and all must hold.

    `since` and `until` are inclusive: a time with an offset, or a text like `24h` or `7d`.
    `page_size` is how many events one request brings, 1 to 1000.
    """

    correlation_id: str
    event_type: str
    event_category: str
    event_outcome: Literal["success", "failure", "pending"]
    severity: str
    since: datetime | str
    until: datetime | str
    detail_key: str
    detail_value: str
    order: Literal["asc", "desc"]
    page_size: int


class ServerProblemError(Exception):
    """An error answer of the server.

    Attributes:
        status: the HTTP status.
        type: the problem's type, `about:blank` where the answer was no problem document.
        detail: one sentence.
        errors: what is wrong and where, if that is known.
    """

    def __init__(self, status: int, problem: ProblemDocument | None, body: bytes) -> None:
        self.status = status
        self.type = problem.type if problem else "about:blank"
        self.detail = problem.detail if problem else body[:200].decode(errors="replace")
        self.errors: list[Fault] = (problem.errors or []) if problem else []
        super().__init__(f"HTTP {status}: {self.detail}")


class _Call(NamedTuple):
    """A request before it is one."""

    method: str
    path: str
    params: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    body: bytes | None = None


def _write(event: Event) -> _Call:
    return _Call("POST", _EVENTS, body=msgspec.json.encode(event))


def _write_batch(events: Sequence[Event], *, lenient: bool) -> _Call:
    headers = _LENIENT if lenient else _NOTHING
    return _Call("POST", f"{_EVENTS}/batch", headers=headers, body=msgspec.json.encode(events))


def _query(wanted: EventFilter) -> _Call:
    params: dict[str, str] = {"cursor": "", "limit": str(wanted.get("page_size", 200))}
    for name, value in wanted.items():
        if name != "page_size":
            params[name] = value.isoformat() if isinstance(value, datetime) else str(value)
    return _Call("GET", _EVENTS, params)


def _get(event_id: UUID | str, correlation_id: str | None) -> _Call:
    params = {"correlation_id": correlation_id} if correlation_id else _NOTHING
    return _Call("GET", f"{_EVENTS}/{event_id}", params)


def _verify(correlation_id: str) -> _Call:
    return _Call("POST", _VERIFY, body=msgspec.json.encode({"correlation_id": correlation_id}))


def _read(answer: Answered, kind: type[T]) -> T:
    status, _, body = answer
    if status not in _OK:
        try:
            problem = msgspec.json.decode(body, type=ProblemDocument)
        except msgspec.DecodeError:
            problem = None
        raise ServerProblemError(status, problem, body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise TransportError(f"an answer that is not understood: {error}") from error


def _read_event(answer: Answered) -> StoredEvent | None:
    if answer[0] == 404:  # noqa: PLR2004
        return None
    return _read(answer, StoredEvent)


def _next(call: _Call, page: Page) -> _Call | None:
    cursor = page.pagination.next_cursor
    return call._replace(params={**call.params, "cursor": cursor}) if cursor else None


class Client:
    """A synchronous client; use it in a `with` block.

    Args:
        endpoint: where DataStorage is; a text is its URL.
    """

    def __init__(self, endpoint: Endpoint | str) -> None:
        self._transport = Transport(Endpoint(endpoint) if isinstance(endpoint, str) else endpoint)

    def _call(self, call: _Call) -> Answered:
        return self._transport.request(*call)

    def write(self, event: Event) -> SingleAnswer:
        """Store one event.

        Raises:
            ServerProblemError: the server refused it, or cannot store it now.
            TransportError: no answer came; whether it was stored is not known.
        """
        return _read(self._call(_write(event)), SingleAnswer)

    def write_batch(self, events: Sequence[Event], *, lenient: bool = False) -> BatchAnswer:
        """Store events: all or none, or with `lenient` those that are right.

        Raises:
            ServerProblemError: the server refused them, or cannot store them now.
            TransportError: no answer came; whether they were stored is not known.
        """
        return _read(self._call(_write_batch(events, lenient=lenient)), BatchAnswer)

    def query(self, **wanted: Unpack[EventFilter]) -> Iterator[StoredEvent]:
        """Every event that matches, page by page, newest first unless `order="asc"`.

        Raises:
            ServerProblemError: the filter is wrong, or the server cannot answer now.
            TransportError: no answer came.
        """
        call: _Call | None = _query(wanted)
        while call is not None:
            page = _read(self._call(call), Page)
            yield from page.data
            call = _next(call, page)

    def get(self, event_id: UUID | str, correlation_id: str | None = None) -> StoredEvent | None:
        """One event, or None if there is none of that id.

        Raises:
            ServerProblemError: the id is no UUID, or the server cannot answer now.
            TransportError: no answer came.
        """
        return _read_event(self._call(_get(event_id, correlation_id)))

    def verify_chain(self, correlation_id: str) -> Verification:
        """Check the chain of a correlation.

        Raises:
            ServerProblemError: the server cannot answer now.
            TransportError: no answer came.
        """
        return _read(self._call(_verify(correlation_id)), Verification)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """`Client` for asyncio; use it in an `async with` block."""

    def __init__(self, endpoint: Endpoint | str) -> None:
        self._transport = AsyncTransport(
            Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        )

    async def _call(self, call: _Call) -> Answered:
        return await self._transport.request(*call)

    async def write(self, event: Event) -> SingleAnswer:
        """See `Client.write`."""
        return _read(await self._call(_write(event)), SingleAnswer)

    async def write_batch(self, events: Sequence[Event], *, lenient: bool = False) -> BatchAnswer:
        """See `Client.write_batch`."""
        return _read(await self._call(_write_batch(events, lenient=lenient)), BatchAnswer)

    async def query(self, **wanted: Unpack[EventFilter]) -> AsyncIterator[StoredEvent]:
        """See `Client.query`."""
        call: _Call | None = _query(wanted)
        while call is not None:
            page = _read(await self._call(call), Page)
            for event in page.data:
                yield event
            call = _next(call, page)

    async def get(
        self, event_id: UUID | str, correlation_id: str | None = None
    ) -> StoredEvent | None:
        """See `Client.get`."""
        return _read_event(await self._call(_get(event_id, correlation_id)))

    async def verify_chain(self, correlation_id: str) -> Verification:
        """See `Client.verify_chain`."""
        return _read(await self._call(_verify(correlation_id)), Verification)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
