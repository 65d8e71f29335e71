"""Finds stored events: filters, pages by offset (old) and by cursor (stable while events come).

The order is by `event_timestamp`, then `event_id`. A page starts after the last event of the one
before it, so that no event is shown twice or left out because others arrived in between.
"""

from datetime import date, datetime
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from asyncpg import Record

from kubernaut.audit.wire import Fault, Page, Pagination, StoredEvent
from kubernaut.datastorage import _parameters as parameters
from kubernaut.datastorage import sql
from kubernaut.datastorage.chain import EVENT_COLUMNS
from kubernaut.datastorage.database import Pool

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1000
_EQUALITY: Final = {
    "event_type": 100,
    "event_category": 50,
    "severity": 20,
}


_EVENT_ID: Final = EVENT_COLUMNS.index("event_id")


class EventQuery(NamedTuple):
    """What to find."""

    equal: dict[str, str]
    payload: tuple[str, str] | None
    since: datetime | None
    until: datetime | None
    order: Literal["asc", "desc"]
    limit: int
    offset: int
    by_cursor: bool
    cursor: parameters.Cursor | None

    def next_url(self, path: str, cursor: str) -> str:
        """The address of the next page; spans like `24h` are fixed to the time they meant."""
        pairs: dict[str, Any] = dict(self.equal)
        if self.payload:
            pairs["detail_key"], pairs["detail_value"] = self.payload
        if self.since:
            pairs["since"] = self.since.isoformat()
        if self.until:
            pairs["until"] = self.until.isoformat()
        pairs |= {"order": self.order, "limit": self.limit, "cursor": cursor}
        return f"{path}?{urlencode(pairs)}"


def parse_query(query: bytes, now: datetime) -> EventQuery:
    """What a query string asks for.

    Raises:
        Problem: a known parameter is wrong; every such parameter is named.
    """
    values = parameters.parse(
        query,
        {name: parameters.text(width) for name, width in _EQUALITY.items()}
        | {
            "correlation_id": parameters.text(255),
            "event_outcome": parameters.choice("success", "failure", "pending"),
            "since": parameters.moment(now),
            "until": parameters.moment(now),
            "limit": parameters.integer(1, MAX_LIMIT),
            "offset": parameters.integer(0, 2**63 - 1),
            "detail_key": parameters.key,
            "detail_value": parameters.text(10_000),
            "order": parameters.choice("asc", "desc"),
            "cursor": parameters.cursor,
        },
    )
    faults = []
    if ("detail_key" in values) != ("detail_value" in values):
        missing = "detail_value" if "detail_key" in values else "detail_key"
        faults.append(Fault(missing, "detail_key and detail_value go together"))
    if faults:
        raise parameters.invalid(faults)
    equal = ("correlation_id", "event_outcome", *_EQUALITY)
    return EventQuery(
        equal={name: values[name] for name in equal if name in values},
        payload=(values["detail_key"], values["detail_value"]) if "detail_key" in values else None,
        since=values.get("since"),
        until=values.get("until"),
        order=values.get("order", "desc"),
        limit=values.get("limit", DEFAULT_LIMIT),
        offset=values.get("offset", 0),
        by_cursor="cursor" in values,
        cursor=values.get("cursor"),
    )


class _Statement:
    """A SELECT in the making; values go in as parameters, never as text."""

    def __init__(self) -> None:
        self.arguments: list[Any] = []
        self.conditions: list[str] = []

    def value(self, value: Any) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def where(self, condition: str) -> None:
        self.conditions.append(condition)

    def clause(self) -> str:
        return " WHERE " + " AND ".join(self.conditions) if self.conditions else ""


def _along_chain(query: EventQuery) -> bool:
    """Whether the chain's own index answers: all events of one correlation, perhaps by time."""
    return set(query.equal) == {"correlation_id"} and not query.payload


def _filter(statement: _Statement, query: EventQuery, table: str) -> None:
    for name, value in query.equal.items():
        statement.where(f"{table}.{name} = {statement.value(value)}")
    if query.payload:
        name, value = query.payload
        statement.where(
            f"{table}.event_data ->> {statement.value(name)} = {statement.value(value)}"
        )
    if query.since:
        statement.where(f"{table}.event_timestamp >= {statement.value(query.since)}")
        # The partitions are by date: this leaves out the months before.
        if table == "e":
            statement.where(f"e.event_date >= {statement.value(query.since.date())}")
    if query.until:
        statement.where(f"{table}.event_timestamp <= {statement.value(query.until)}")
        if table == "e":
            statement.where(f"e.event_date <= {statement.value(query.until.date())}")


def _page_statement(query: EventQuery) -> tuple[str, list[Any]]:
    statement = _Statement()
    direction = "DESC" if query.order == "desc" else "ASC"
    along_chain = _along_chain(query)
    table = "c" if along_chain else "e"
    _filter(statement, query, table)
    if query.cursor:
        sign = "<" if query.order == "desc" else ">"
        at = f"{statement.value(query.cursor.timestamp)}, {statement.value(query.cursor.event_id)}"
        statement.where(f"({table}.event_timestamp, {table}.event_id) {sign} ({at})")
    rest = f" ORDER BY {table}.event_timestamp {direction}, {table}.event_id {direction}"
    rest += f" LIMIT {statement.value(query.limit + 1)} OFFSET {statement.value(query.offset)}"
    if along_chain:
        source = sql.PAGE_ALONG_CHAIN
    elif "correlation_id" in query.equal:
        source = sql.PAGE_IN_CHAIN
    else:
        source = sql.PAGE_OF_EVENTS
    text = source.replace("/* where */", statement.clause()).replace("/* rest */", rest)
    return text.replace("/* direction */", direction), statement.arguments


def _count_statement(query: EventQuery) -> tuple[str, list[Any]]:
    statement = _Statement()
    table = "c" if _along_chain(query) else "e"
    _filter(statement, query, table)
    source = "audit_chain AS c" if table == "c" else "audit_events AS e"
    if table == "e" and "correlation_id" in query.equal:
        source = sql.EVENTS_IN_CHAIN
    return f"SELECT count(*) FROM {source}{statement.clause()}", statement.arguments  # noqa: S608


def _event(record: Record) -> StoredEvent:
    (
        *values,
        seq,
        hash_,
        previous,
        _,
        _,
    ) = record
    row = dict(zip(EVENT_COLUMNS, values, strict=True))
    timestamp: datetime = row["event_timestamp"]
    metadata = row["event_metadata"]
    row["event_data"] = msgspec.Raw(row["event_data"])
    row["event_metadata"] = msgspec.UNSET if metadata is None else msgspec.Raw(metadata)
    row["actor_ip"] = str(row["actor_ip"]) if row["actor_ip"] is not None else None
    row["version"] = row.pop("event_version")
    return StoredEvent(
        **row,
        event_date=timestamp.date(),
        chain_seq=seq,
        event_hash=hash_.hex() if hash_ else "",
        previous_event_hash=previous.hex() if previous else "",
        legal_hold=False,
        legal_hold_reason="",
        legal_hold_placed_by="",
        legal_hold_placed_at=None,
    )


async def find_events(pool: Pool, query: EventQuery) -> Page:
    """A page of events.

    Raises:
        OSError, asyncpg.PostgresError: the database failed; see `database.outage`.
    """
    async with pool.acquire() as connection:
        total = None
        if not query.by_cursor:
            statement, arguments = _count_statement(query)
            total = await connection.fetchval(statement, *arguments)
        statement, arguments = _page_statement(query)
        records = await connection.fetch(statement, *arguments)
    shown = records[: query.limit]
    events = [_event(record) for record in shown if record[_EVENT_ID] is not None]
    has_more = len(records) > query.limit
    next_cursor = None
    if has_more:
        *_, timestamp, event_id = shown[-1]
        next_cursor = parameters.Cursor.at(timestamp, event_id).token()
    return Page(
        events,
        Pagination(
            limit=query.limit,
            has_more=has_more,
            offset=None if query.by_cursor else query.offset,
            total=total,
            next_cursor=next_cursor,
        ),
    )


async def get_event(pool: Pool, event_id: UUID, correlation_id: str | None) -> StoredEvent | None:
    """One event by its id; the newest, should several correlations have used the same id.

    Raises:
        OSError, asyncpg.PostgresError: the database failed; see `database.outage`.
    """
    record = await pool.fetchrow(sql.GET_EVENT, event_id, correlation_id)
    return _event(record) if record else None


async def parent_dates(pool: Pool, event_ids: set[UUID]) -> dict[UUID, date]:
    """The event dates of those events that are stored.

    Raises:
        OSError, asyncpg.PostgresError: the database failed; see `database.outage`.
    """
    records = await pool.fetch(sql.PARENT_DATES, list(event_ids))
    return {record["event_id"]: record["event_date"] for record in records}
