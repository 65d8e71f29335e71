"""`Client` and `AsyncClient` with one face, so that every test is about both."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack
from uuid import UUID

from kubernaut.audit import AsyncClient, Client, Endpoint, EventFilter
from kubernaut.audit.wire import BatchAnswer, Health, SingleAnswer, StoredEvent, Verification

Event = Mapping[str, Any]


class AsyncAsked:
    """An `AsyncClient` that is called step by step from a test that is not asynchronous."""

    def __init__(self, endpoint: Endpoint | str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._client = AsyncClient(endpoint)

    def write(self, event: Event) -> SingleAnswer:
        return self._runner.run(self._client.write(event))

    def write_batch(self, events: Sequence[Event], *, lenient: bool = False) -> BatchAnswer:
        return self._runner.run(self._client.write_batch(events, lenient=lenient))

    def query(self, **wanted: Unpack[EventFilter]) -> Iterator[StoredEvent]:
        found = self._client.query(**wanted)

        async def step() -> StoredEvent | None:
            return await anext(found, None)

        def steps() -> Iterator[StoredEvent]:
            try:
                while (event := self._runner.run(step())) is not None:
                    yield event
            finally:
                self._runner.run(found.aclose())

        return steps()

    def get(self, event_id: UUID | str, correlation_id: str | None = None) -> StoredEvent | None:
        return self._runner.run(self._client.get(event_id, correlation_id))

    def verify_chain(self, correlation_id: str) -> Verification:
        return self._runner.run(self._client.verify_chain(correlation_id))

    def health(self) -> Health:
        return self._runner.run(self._client.health())

    def close(self) -> None:
        self._runner.run(self._client.close())


Asked = Client | AsyncAsked


@contextmanager
def asking(kind: str, endpoint: Endpoint | str) -> Iterator[Asked]:
    """A client of a kind (`Client` or `AsyncClient`), closed afterwards."""
    if kind == "Client":
        with Client(endpoint) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        asked = AsyncAsked(endpoint, runner)
        try:
            yield asked
        finally:
            asked.close()


KINDS = ("Client", "AsyncClient")
