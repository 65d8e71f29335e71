"""A plain client of DataStorage: one call, one request, the answer or an exception.

For reading the trail, and for programs that want to see each answer. Programs that must not lose
events use `AuditStore`.
"""

from collections.abc import AsyncGenerator, Generator, Sequence
from types import TracebackType
from typing import Self, Unpack
from uuid import UUID

from kubernaut.audit import _requests as requests
from kubernaut.audit._endpoint import Endpoint
from kubernaut.audit._requests import Call, Event, EventFilter, ServerProblemError
from kubernaut.audit._transport import Answered, AsyncTransport, Transport
from kubernaut.audit.wire import (
    BatchAnswer,
    Health,
    Page,
    SingleAnswer,
    StoredEvent,
    Verification,
)

__all__ = ["AsyncClient", "Client", "EventFilter", "ServerProblemError"]


class Client:
    """A synchronous client; use it in a `with` block. Threads may share it.

    Args:
        endpoint: where DataStorage is; a text is its URL.

    Raises:
        ValueError: the address cannot be one.
    """

    def __init__(self, endpoint: Endpoint | str) -> None:
        self._transport = Transport(Endpoint(endpoint) if isinstance(endpoint, str) else endpoint)

    def _call(self, call: Call) -> Answered:
        return self._transport.request(*call)

    def write(self, event: Event) -> SingleAnswer:
        """Store one event. Sent again it is stored again, unless it has an `event_id`.

        Raises:
            ServerProblemError: the server refused it, or cannot store it now.
            TransportError: no answer came; whether it was stored is not known.
        """
        return requests.read(self._call(requests.write(event)), SingleAnswer)

    def write_batch(self, events: Sequence[Event], *, lenient: bool = False) -> BatchAnswer:
        """Store events: all or none, or with `lenient` those that are right.

        Raises:
            ServerProblemError: the server refused them, or cannot store them now.
            TransportError: no answer came; whether they were stored is not known.
        """
        return requests.read(self._call(requests.write_batch(events, lenient=lenient)), BatchAnswer)

    def query(self, **wanted: Unpack[EventFilter]) -> Generator[StoredEvent]:
        """Every event that matches, page by page, newest first unless `order="asc"`.

        Pages are asked for as they are needed, and nothing is held between two of them, so it
        may be left at any time. No event is missed or comes twice because others arrive.

        Raises:
            TypeError: there is no filter of that name.
            ValueError: a time has no offset.
            ServerProblemError: the filter is wrong, or the server cannot answer now.
            TransportError: no answer came.
        """
        return self._pages(requests.query(wanted))  # What is wrong shows here, not at first use.

    def _pages(self, first: Call) -> Generator[StoredEvent]:
        call: Call | None = first
        while call is not None:
            answer = self._call(call)
            page = requests.read(answer, Page)
            yield from page.data
            call = requests.following(call, answer, page)

    def get(self, event_id: UUID | str, correlation_id: str | None = None) -> StoredEvent | None:
        """One event, or None if there is none of that id (in that correlation).

        Raises:
            ValueError: the id is no UUID.
            ServerProblemError: the server cannot answer now.
            TransportError: no answer came.
        """
        return requests.read_event(self._call(requests.get(event_id, correlation_id)))

    def verify_chain(self, correlation_id: str) -> Verification:
        """Check the chain of a correlation. A correlation without a chain counts as valid.

        Raises:
            ServerProblemError: the server cannot answer now.
            TransportError: no answer came.
        """
        return requests.read(self._call(requests.verify(correlation_id)), Verification)

    def health(self) -> Health:
        """Whether the server can do its work, and if not, why.

        Raises:
            ServerProblemError: what answered is no DataStorage, or one that is overloaded.
            TransportError: no answer came.
        """
        return requests.read_health(self._call(requests.health()))

    def close(self) -> None:
        """Close the connections; further requests are refused."""
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
    """`Client` for asyncio; use it in an `async with` block, in one event loop.

    Args:
        endpoint: where DataStorage is; a text is its URL.

    Raises:
        ValueError: the address cannot be one.
    """

    def __init__(self, endpoint: Endpoint | str) -> None:
        self._transport = AsyncTransport(
            Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        )

    async def _call(self, call: Call) -> Answered:
        return await self._transport.request(*call)

    async def write(self, event: Event) -> SingleAnswer:
        """See `Client.write`."""
        return requests.read(await self._call(requests.write(event)), SingleAnswer)

    async def write_batch(self, events: Sequence[Event], *, lenient: bool = False) -> BatchAnswer:
        """See `Client.write_batch`."""
        return requests.read(
            await self._call(requests.write_batch(events, lenient=lenient)), BatchAnswer
        )

    def query(self, **wanted: Unpack[EventFilter]) -> AsyncGenerator[StoredEvent]:
        """See `Client.query`; it is iterated with `async for`, and not awaited."""
        return self._pages(requests.query(wanted))

    async def _pages(self, first: Call) -> AsyncGenerator[StoredEvent]:
        call: Call | None = first
        while call is not None:
            answer = await self._call(call)
            page = requests.read(answer, Page)
            for event in page.data:
                yield event
            call = requests.following(call, answer, page)

    async def get(
        self, event_id: UUID | str, correlation_id: str | None = None
    ) -> StoredEvent | None:
        """See `Client.get`."""
        return requests.read_event(await self._call(requests.get(event_id, correlation_id)))

    async def verify_chain(self, correlation_id: str) -> Verification:
        """See `Client.verify_chain`."""
        return requests.read(await self._call(requests.verify(correlation_id)), Verification)

    async def health(self) -> Health:
        """See `Client.health`."""
        return requests.read_health(await self._call(requests.health()))

    async def close(self) -> None:
        """Close the connections; further requests are refused."""
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
