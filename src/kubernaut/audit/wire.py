"""The documents that DataStorage answers with, as both sides know them."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

Status = Literal["created", "duplicate", "conflict", "rejected"]
Verdict = Literal[
    "content_mismatch", "link_mismatch", "gap", "duplicate_seq", "fork", "head_mismatch"
]


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with what a client sent, and where.

    `index` is the position in a batch; `path` is a JSON path inside the event or document, or the
    name of a query parameter; `rule` says what would be right.
    """

    path: str
    rule: str
    index: int | None = None


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault] | None = None


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event of a batch, at the same index as in the request.

    `created` and `duplicate` mean stored; `conflict` that the `event_id` is taken by other
    content; `rejected` that `errors` must be mended first.
    """

    event_id: UUID | None
    status: Status
    errors: list[Fault] | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answer to a stored batch; `event_ids[i]` is null where event i was not stored."""

    event_ids: list[UUID | None]
    message: str
    results: list[EventResult]


class SingleAnswer(msgspec.Struct, frozen=True):
    """The answer to a stored event."""

    event_id: UUID
    event_timestamp: datetime
    message: str
    result: Status


class StoredEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A stored event as queries return it.

    `event_hash` is its link in the chain of its `correlation_id`, at `chain_seq` (from 1; null
    for a row that was never chained, which only somebody with the database's superuser can make).
    """

    event_id: UUID
    event_timestamp: datetime
    event_date: date
    event_type: str
    version: str
    event_category: str
    event_action: str
    event_outcome: str
    correlation_id: str
    parent_event_id: UUID | None
    parent_event_date: date | None
    resource_type: str
    resource_id: str
    resource_name: str | None = None
    namespace: str | None = None
    cluster_id: str | None = None
    severity: str | None = None
    duration_ms: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    actor_id: str
    actor_type: str
    actor_ip: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    retention_days: int
    is_sensitive: bool
    chain_seq: int | None
    event_hash: str
    previous_event_hash: str
    legal_hold: bool
    legal_hold_reason: str
    legal_hold_placed_by: str
    legal_hold_placed_at: datetime | None
    event_data: msgspec.Raw
    # Not "or None": the decoder takes such a union for null alone.
    event_metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def data(self) -> dict[str, Any]:
        """The payload decoded, at each call anew; `event_data` is its bytes as they were sent."""
        decoded: dict[str, Any] = msgspec.json.decode(self.event_data)
        return decoded

    @property
    def metadata(self) -> dict[str, Any]:
        """The members of the sent event that the envelope does not know, decoded."""
        if self.event_metadata is msgspec.UNSET:
            return {}
        decoded: dict[str, Any] = msgspec.json.decode(self.event_metadata)
        return decoded


class Pagination(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a page stands; `total` and `offset` are absent in a listing by cursor."""

    limit: int
    has_more: bool
    offset: int | None = None
    total: int | None = None
    next_cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of events, newest first unless `order=asc`."""

    data: list[StoredEvent]
    pagination: Pagination


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One break of a chain.

    `chain_seq` is where it was found; a gap reaches to `last_chain_seq`. Hashes are in hex; for a
    `content_mismatch` they are event digests, for the others link hashes.
    """

    verdict: Verdict
    chain_seq: int
    message: str
    last_chain_seq: int | None = None
    event_id: str | None = None
    event_timestamp: datetime | None = None
    expected_hash: str | None = None
    actual_hash: str | None = None
    previous_hash: str | None = None


class Verification(msgspec.Struct, frozen=True):
    """The answer of `verify-chain`.

    `verified_events` counts the events whose content and link are right; `findings` counts all
    breaks by verdict, of which `tampered_events` lists the first 1000.
    """

    correlation_id: str
    is_valid: bool
    total_events: int
    verified_events: int
    findings: dict[str, int]
    tampered_events: list[Finding]
    verification_time: datetime
    message: str


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of `/health`; `reason` is there when something is wrong."""

    status: Literal["healthy", "unhealthy"]
    database: str
    reason: str | None = None
