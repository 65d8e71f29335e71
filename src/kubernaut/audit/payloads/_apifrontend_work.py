"""What the API frontend got done: requests, delegated investigations, tools and tasks."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload


class ApifrontendRRCreatedPayload(Payload, frozen=True, kw_only=True):
    """A session created a remediation request."""

    event_type: Literal["apifrontend.rr.created"]
    session_id: str
    rr_name: str
    rr_namespace: str
    target_kind: str
    target_name: str
    fingerprint: str
    signal_name: str
    signal_source: str | UnsetType = UNSET


class ApifrontendRRDeduplicatedPayload(Payload, frozen=True, kw_only=True):
    """A session joined a remediation request that existed already."""

    event_type: Literal["apifrontend.rr.deduplicated"]
    session_id: str
    fingerprint: str
    existing_rr_name: str
    existing_rr_namespace: str | UnsetType = UNSET
    lease_holder: str | UnsetType = UNSET


class ApifrontendKADelegatedPayload(Payload, frozen=True, kw_only=True):
    """An investigation was handed to the agent."""

    event_type: Literal["apifrontend.ka.delegated"]
    session_id: str
    ka_correlation_id: str
    delegation_type: Literal["autonomous", "interactive"]
    rr_name: str | UnsetType = UNSET
    rr_namespace: str | UnsetType = UNSET


class ApifrontendKAResultReceivedPayload(Payload, frozen=True, kw_only=True):
    """The agent returned from an investigation that had been handed to it."""

    event_type: Literal["apifrontend.ka.result_received"]
    session_id: str
    ka_correlation_id: str
    result_type: Literal[
        "rca_complete",
        "rca_failed",
        "timeout",
        "cancelled",
        "operator_escalation",
        "operator_dismissed",
    ]
    investigation_duration_ms: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    workflow_candidates_count: int | UnsetType = UNSET


class ApifrontendUserDecisionPayload(Payload, frozen=True, kw_only=True):
    """A user decided what to do with a proposal."""

    event_type: Literal["apifrontend.user.decision"]
    session_id: str
    decision: Literal["accept", "reject", "investigate_more", "cancel"]
    workflow_id: str | UnsetType = UNSET
    time_to_decision_ms: int | UnsetType = UNSET
    rr_name: str | UnsetType = UNSET


class ApifrontendToolExecutedPayload(Payload, frozen=True, kw_only=True):
    """A tool ran for a session, or was kept from running."""

    event_type: Literal["apifrontend.tool.executed"]
    session_id: str
    tool_name: str
    execution_duration_ms: int
    tool_outcome: Literal["success", "failure", "timeout", "denied"]

    error_code: str | UnsetType = UNSET
    target_resource: str | UnsetType = UNSET
    target_namespace: str | UnsetType = UNSET
    target_kind: str | UnsetType = UNSET


class ApifrontendMCPToolFailedPayload(Payload, frozen=True, kw_only=True):
    """A tool that was called over MCP failed."""

    event_type: Literal["apifrontend.mcp.tool_failed"]
    tool_name: str
    error: str
    session_id: str | UnsetType = UNSET


class ApifrontendWorkflowDiscoveryPayload(Payload, frozen=True, kw_only=True):
    """Workflows were looked up for a remediation request."""

    event_type: Literal["apifrontend.workflow.discovery"]
    rr_id: str
    workflow_count: int


class ApifrontendA2ATaskStartedPayload(Payload, frozen=True, kw_only=True):
    """Another agent's task began."""

    event_type: Literal["apifrontend.a2a.task_started"]
    session_id: str
    task_id: str


class ApifrontendA2ATaskCompletedPayload(Payload, frozen=True, kw_only=True):
    """Another agent's task was done."""

    event_type: Literal["apifrontend.a2a.task_completed"]
    session_id: str
    task_id: str
    duration_ms: int | UnsetType = UNSET
    rr_name: str | UnsetType = UNSET
    rr_namespace: str | UnsetType = UNSET


class ApifrontendA2ATaskFailedPayload(Payload, frozen=True, kw_only=True):
    """Another agent's task failed."""

    event_type: Literal["apifrontend.a2a.task_failed"]
    session_id: str
    task_id: str
    error: str
    rr_name: str | UnsetType = UNSET
    rr_namespace: str | UnsetType = UNSET


class ApifrontendSeverityTriageCompletedPayload(Payload, frozen=True, kw_only=True):
    """The severity of a problem was settled."""

    event_type: Literal["apifrontend.severity_triage.completed"]
    severity: str
    source_tier: str
    duration_ms: int | UnsetType = UNSET


class ApifrontendSeverityTriageFailedPayload(Payload, frozen=True, kw_only=True):
    """The severity of a problem could not be settled."""

    event_type: Literal["apifrontend.severity_triage.failed"]
    error: str
    failed_tier: str | UnsetType = UNSET
