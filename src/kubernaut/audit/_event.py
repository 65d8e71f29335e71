"""The audit event as it travels: field names, limits and what may be null.

A limit here is the width of the column that stores the field, so that what passes is what fits.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1
MAX_RETENTION_DAYS = 2555

Timestamp = Annotated[
    datetime,
    Meta(tz=True, description="RFC 3339 with an offset; kept in UTC to the microsecond"),
]
Outcome = Literal["success", "failure", "pending"]
CurrentCategory = Literal[
    "gateway",
    "notification",
    "analysis",
    "aiagent",
    "signalprocessing",
    "workflow",
    "workflowexecution",
    "orchestration",
    "approval",
    "effectiveness",
    "actiontype",
    "apifrontend",
    "security",
    "agentsession",
]
# `execution` is the December 2025 name of `workflowexecution`; old clients still send it.
Category = CurrentCategory | Literal["execution"]

Text1to10 = Annotated[str, Meta(min_length=1, max_length=10)]
Text1to50 = Annotated[str, Meta(min_length=1, max_length=50)]
Text1to100 = Annotated[str, Meta(min_length=1, max_length=100)]
Text1to255 = Annotated[str, Meta(min_length=1, max_length=255)]
Text20 = Annotated[str, Meta(max_length=20)]
Text45 = Annotated[str, Meta(max_length=45)]
Text50 = Annotated[str, Meta(max_length=50)]
Text100 = Annotated[str, Meta(max_length=100)]
Text253 = Annotated[str, Meta(max_length=253)]
Text255 = Annotated[str, Meta(max_length=255)]
Int32 = Annotated[int, Meta(ge=INT32_MIN, le=INT32_MAX)]
RetentionDays = Annotated[int, Meta(ge=INT32_MIN, le=MAX_RETENTION_DAYS)]


class _Details(Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The fields that every form of the event shares, all optional.

    `forbid_unknown_fields` lets a decoder notice members that are not ours; the service keeps
    them as `event_metadata` rather than refusing or losing them.
    """

    actor_type: Text50 | UnsetType = UNSET
    actor_id: Text255 | UnsetType = UNSET
    actor_ip: Text45 | UnsetType = UNSET
    resource_type: Text100 | UnsetType = UNSET
    resource_id: Text255 | UnsetType = UNSET
    parent_event_id: UUID | UnsetType | None = UNSET
    parent_event_date: Timestamp | UnsetType | None = UNSET
    namespace: Text253 | UnsetType | None = UNSET
    cluster_id: Text255 | UnsetType | None = UNSET
    severity: Text20 | UnsetType | None = UNSET
    duration_ms: Int32 | UnsetType | None = UNSET
    error_code: Text50 | UnsetType | None = UNSET
    error_message: str | UnsetType | None = UNSET
    retention_days: RetentionDays | UnsetType | None = UNSET
    is_sensitive: bool | UnsetType | None = UNSET
    event_id: UUID | UnsetType = UNSET


class AuditEvent(
    _Details, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One audit event: something a service did, to what, with which outcome.

    Only `event_category` and `event_action` are required; the service fills in the rest (see
    `docs/reference/events.md`). A client that gives `event_id` makes the write repeatable, and
    must then give `event_timestamp` too, so that the repetition has the same content.
    """

    event_category: Category
    event_action: Text1to50
    version: Text1to10 | UnsetType = UNSET
    event_type: Text1to100 | UnsetType = UNSET
    event_timestamp: Timestamp | UnsetType = UNSET
    event_outcome: Outcome | UnsetType = UNSET
    correlation_id: Text1to255 | UnsetType = UNSET
    event_data: Raw | UnsetType = UNSET


class StrictAuditEvent(
    _Details, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The event as the full contract of mid-2026 wants it: eight required fields."""

    event_category: CurrentCategory
    event_action: Text1to50
    version: Text1to10
    event_type: Text1to100
    event_timestamp: Timestamp
    event_outcome: Outcome
    correlation_id: Text1to255
    event_data: Raw
