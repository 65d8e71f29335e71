"""What one transaction will write: decided while the heads are locked, without I/O."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from kubernaut.datastorage.chain import link_hash, link_prefix
from kubernaut.datastorage.intake import PreparedEvent
from kubernaut.datastorage.write_queue import Stored, WriteRequest

OTHER_CONTENT: Final = "this event_id is stored with other content"
OTHER_CORRELATION: Final = "this event_id is stored under another correlation_id"


class WritePlan:
    """The heads as they were locked, what is stored already, and what is to be added.

    `events`, `links` and `moved_heads()` are the rows to write; nothing is written while `events`
    is empty.
    """

    def __init__(self) -> None:
        self._heads: dict[str, tuple[int, bytes, bytes]] = {}
        self._stored: dict[tuple[str, UUID], bytes] = {}
        self._owners: dict[UUID, str] = {}
        self._moved: set[str] = set()
        self.events: list[tuple[Any, ...]] = []
        self.links: list[tuple[Any, ...]] = []

    def add_head(self, correlation_id: str, seq: int, hash_: bytes) -> None:
        """Take note of a locked head."""
        self._heads[correlation_id] = (seq, hash_, link_prefix(correlation_id))

    def add_stored(self, correlation_id: str, event_id: UUID, request_digest: bytes) -> None:
        """Take note of an event that is in the database."""
        self._stored[(correlation_id, event_id)] = request_digest
        self._owners[event_id] = correlation_id

    def admit(self, request: WriteRequest) -> list[Stored]:
        """Decide on a request's events and add what is to be written."""
        results = [
            request.refused.get(position) or self._status(event)
            for position, event in enumerate(request.events)
        ]
        refused = any(result.status in ("conflict", "rejected") for result in results)
        if refused and not request.lenient:
            self._forget(results)
            return results
        for result in results:
            if result.status == "created":
                self._append(result.event)
        return results

    def moved_heads(self) -> tuple[list[str], list[int], list[bytes]]:
        """The heads to write: correlation ids, seqs and hashes."""
        names = list(self._moved)
        heads = [self._heads[name] for name in names]
        return names, [head[0] for head in heads], [head[1] for head in heads]

    def _status(self, event: PreparedEvent) -> Stored:
        key = (event.correlation_id, event.event_id)
        known = self._stored.get(key)
        if known is not None:
            if known == event.request_digest:
                return Stored("duplicate", event)
            return Stored("conflict", event, OTHER_CONTENT)
        if event.event_id in self._owners:
            return Stored("conflict", event, OTHER_CORRELATION)
        self.add_stored(*key, event.request_digest)
        return Stored("created", event)

    def _forget(self, results: Sequence[Stored]) -> None:
        for result in results:
            if result.status == "created":
                event = result.event
                del self._stored[(event.correlation_id, event.event_id)]
                del self._owners[event.event_id]

    def _append(self, event: PreparedEvent) -> None:
        correlation_id = event.correlation_id
        seq, previous, prefix = self._heads[correlation_id]
        seq += 1
        hash_ = link_hash(prefix, seq, previous, event.event_digest)
        self._heads[correlation_id] = (seq, hash_, prefix)
        self._moved.add(correlation_id)
        self.events.append(event.row)
        self.links.append(
            (
                seq,
                event.row[0],
                event.event_id,
                correlation_id,
                hash_,
                event.event_digest,
                event.request_digest,
            )
        )
