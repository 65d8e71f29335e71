"""The API frontend's triage runs and the sessions they happen in."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload


class ApifrontendTriageStartedPayload(Payload, frozen=True, kw_only=True):
    """A triage began for a caller in some role."""

    event_type: Literal["apifrontend.triage.started"]
    session_id: str
    persona: Literal["sre", "orchestrator", "cicd", "dashboard", "audit", "approver"]
    model_name: str | UnsetType = UNSET
    query_length: int | UnsetType = UNSET


class ApifrontendTriageCompletedPayload(Payload, frozen=True, kw_only=True):
    """A triage ended, with or without a remediation request."""

    event_type: Literal["apifrontend.triage.completed"]
    session_id: str
    triage_outcome: Literal["rr_created", "no_issue_found", "escalated", "error"]
    triage_duration_ms: int

    tokens_input: int | UnsetType = UNSET
    tokens_output: int | UnsetType = UNSET
    tools_called: list[str] | UnsetType = UNSET
    tools_call_count: int | UnsetType = UNSET


class ApifrontendSessionCreatedPayload(Payload, frozen=True, kw_only=True):
    """A user opened a session or took one over."""

    event_type: Literal["apifrontend.session.created"]
    session_id: str
    a2a_task_id: str
    join_mode: Literal["start", "takeover"]
    user_identity: str
    rr_ref: str | UnsetType = UNSET
    user_groups: list[str] | UnsetType = UNSET


class ApifrontendSessionCompletedPayload(Payload, frozen=True, kw_only=True):
    """A session reached its last phase."""

    event_type: Literal["apifrontend.session.completed"]
    session_id: str
    terminal_phase: Literal["Completed", "Cancelled", "Failed"]
    total_duration_ms: int

    total_tokens_input: int | UnsetType = UNSET
    total_tokens_output: int | UnsetType = UNSET
    total_tool_calls: int | UnsetType = UNSET
    polls_count: int | UnsetType = UNSET
    user_decision: Literal["accept", "reject", "investigate_more", "cancel", "none"] | UnsetType = (
        UNSET
    )


class ApifrontendSessionPhaseChangedPayload(Payload, frozen=True, kw_only=True):
    """A session went from one phase to the next."""

    event_type: Literal["apifrontend.session.phase_changed"]
    session_id: str
    from_phase: str
    to_phase: str


class ApifrontendSessionDeletedPayload(Payload, frozen=True, kw_only=True):
    """A session was deleted."""

    event_type: Literal["apifrontend.session.deleted"]
    session_id: str
    reason: str | UnsetType = UNSET


class ApifrontendSessionAutoCancelledPayload(Payload, frozen=True, kw_only=True):
    """A session was cancelled because its time had run out."""

    event_type: Literal["apifrontend.session.auto_cancelled"]
    session_id: str
    ttl_seconds: int | UnsetType = UNSET


class ApifrontendSessionRetentionDeletedPayload(Payload, frozen=True, kw_only=True):
    """A session was deleted because it had been kept long enough."""

    event_type: Literal["apifrontend.session.retention_deleted"]
    session_id: str
    retention_seconds: int | UnsetType = UNSET


class ApifrontendMCPSessionInitPayload(Payload, frozen=True, kw_only=True):
    """An MCP client opened a session."""

    event_type: Literal["apifrontend.mcp.session_init"]
    mcp_session_id: str
    protocol_version: str | UnsetType = UNSET
