"""Events as the rows that the service would write for them, chain rows included."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from kubernaut.datastorage.chain import EVENT_COLUMNS, GENESIS, link_hash, link_prefix
from kubernaut.datastorage.database import Connection, prepare_connection
from kubernaut.datastorage.intake import Intake, PreparedEvent

Row = tuple[Any, ...]

GROUP_EVENTS: Final = 300
"""Events in one transaction, as in the service's groups."""

_SLICE: Final = 1000
_EVENT_COLUMNS: Final = (*EVENT_COLUMNS, "event_date")
_CHAIN_COLUMNS: Final = (
    "seq",
    "event_timestamp",
    "event_id",
    "correlation_id",
    "hash",
    "event_digest",
    "request_digest",
)
_HEAD_COLUMNS: Final = ("seq", "correlation_id", "hash")


def prepare(texts: Sequence[bytes]) -> list[PreparedEvent]:
    """What the service makes of events before it writes them."""
    intake = Intake()
    prepared: list[PreparedEvent] = []
    for start in range(0, len(texts), _SLICE):
        body = b"[" + b",".join(texts[start : start + _SLICE]) + b"]"
        made = intake.prepare(intake.decode_batch(body), datetime.now(UTC), {})
        if made.faults:
            raise ValueError(f"a generated event is refused: {made.faults[0]}")
        prepared.extend(made.events)
    return prepared


class Chains:
    """The heads of chains that grow event by event."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[int, bytes, bytes]] = {}

    def link(
        self, correlation_id: str, event_id: uuid.UUID, row: Row, digest: bytes, sent: bytes
    ) -> Row:
        """The chain row of one more event."""
        head = self._heads.get(correlation_id)
        seq, previous, prefix = head or (0, GENESIS, link_prefix(correlation_id))
        seq += 1
        hash_ = link_hash(prefix, seq, previous, digest)
        self._heads[correlation_id] = (seq, hash_, prefix)
        return (seq, row[0], event_id, correlation_id, hash_, digest, sent)

    def take_head(self, correlation_id: str) -> Row:
        """The head row of a chain that is complete."""
        seq, hash_, _ = self._heads.pop(correlation_id)
        return (seq, correlation_id, hash_)


def chained(events: Iterable[PreparedEvent]) -> tuple[list[Row], list[Row]]:
    """Rows of `audit_events` and of `audit_chain`."""
    chains = Chains()
    rows: list[Row] = []
    links: list[Row] = []
    for event in events:
        rows.append(event.row)
        links.append(
            chains.link(
                event.correlation_id,
                event.event_id,
                event.row,
                event.event_digest,
                event.request_digest,
            )
        )
    return rows, links


async def connect(url: str) -> Connection:
    """A connection that takes JSON columns as the service does."""
    connection: Connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    await prepare_connection(connection, "")
    return connection


async def copy(
    connection: Connection, rows: list[Row], links: list[Row], heads: Sequence[Row] = ()
) -> None:
    """Write rows in one transaction."""
    async with connection.transaction():
        await connection.copy_records_to_table("audit_events", records=rows, columns=_EVENT_COLUMNS)
        await connection.copy_records_to_table("audit_chain", records=links, columns=_CHAIN_COLUMNS)
        if heads:
            await connection.copy_records_to_table(
                "chain_head", records=heads, columns=_HEAD_COLUMNS
            )
