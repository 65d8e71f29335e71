"""How the agent investigates an incident: its answers, its calls to the model and its tools."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from kubernaut.audit.payloads._base import Payload, Timestamp


class IncidentResponseData(Struct, frozen=True, kw_only=True, rename="camel"):
    """The agent's whole answer on an incident; its members are in camel case on the wire."""

    incident_id: str
    analysis: str
    root_cause_analysis: dict[str, Any]
    confidence: float
    timestamp: Timestamp

    # Only the names of these are known; their types are the widest that the names allow.
    selected_workflow: dict[str, Any] | UnsetType = UNSET
    is_actionable: bool | UnsetType = UNSET
    needs_human_review: bool | UnsetType = UNSET
    human_review_reason: str | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
    alternative_workflows: list[dict[str, Any]] | UnsetType = UNSET


class AIAgentResponsePayload(Payload, frozen=True, kw_only=True):
    """The agent finished an investigation and gave its answer."""

    event_type: Literal["aiagent.response.complete"]
    event_id: str
    incident_id: str
    response_data: IncidentResponseData
    total_prompt_tokens: int | UnsetType = UNSET
    total_completion_tokens: int | UnsetType = UNSET


class AIAgentRCACompletePayload(Payload, frozen=True, kw_only=True):
    """The agent found the root cause and has yet to choose a workflow."""

    event_type: Literal["aiagent.rca.complete"]
    event_id: str
    incident_id: str
    response_data: IncidentResponseData
    total_prompt_tokens: int | UnsetType = UNSET
    total_completion_tokens: int | UnsetType = UNSET


class AIAgentResponseFailedPayload(Payload, frozen=True, kw_only=True):
    """An investigation ended without an answer."""

    event_type: Literal["aiagent.response.failed"]
    event_id: str
    incident_id: str
    error_message: str
    phase: str
    duration_seconds: float | UnsetType = UNSET


class AIAgentEnrichmentCompletedPayload(Payload, frozen=True, kw_only=True):
    """The agent learned who owns the ailing resource and what was done to it before."""

    event_type: Literal["aiagent.enrichment.completed"]
    event_id: str
    incident_id: str
    root_owner_kind: str
    root_owner_name: str
    owner_chain_length: int
    remediation_history_fetched: bool

    root_owner_namespace: str | UnsetType = UNSET
    detected_labels_summary: dict[str, Any] | UnsetType = UNSET
    failed_detections: list[str] | UnsetType = UNSET


class AIAgentEnrichmentFailedPayload(Payload, frozen=True, kw_only=True):
    """The agent could not learn enough about the ailing resource."""

    event_type: Literal["aiagent.enrichment.failed"]
    event_id: str
    incident_id: str
    reason: str
    detail: str
    affected_resource_kind: str
    affected_resource_name: str
    affected_resource_namespace: str | UnsetType = UNSET


class LLMRequestPayload(Payload, frozen=True, kw_only=True):
    """The agent asked the language model."""

    event_type: Literal["aiagent.llm.request"]
    event_id: str
    incident_id: str
    model: str
    prompt_length: int
    prompt_preview: str

    max_tokens: int | UnsetType = UNSET
    toolsets_enabled: list[str] | UnsetType = UNSET
    mcp_servers: list[str] | UnsetType = UNSET
    retry_outcome: str | UnsetType = UNSET
    ambiguous_kind: str | UnsetType = UNSET
    conflicting_groups: str | UnsetType = UNSET


class LLMResponsePayload(Payload, frozen=True, kw_only=True):
    """The language model answered."""

    event_type: Literal["aiagent.llm.response"]
    event_id: str
    incident_id: str
    has_analysis: bool
    analysis_length: int
    analysis_preview: str

    analysis_full: str | UnsetType = UNSET
    tokens_used: int | UnsetType = UNSET
    tool_call_count: int | UnsetType = UNSET
    reasoning_text: str | UnsetType = UNSET
    reasoning_redacted: bool | UnsetType = UNSET


class LLMToolCallPayload(Payload, frozen=True, kw_only=True):
    """The language model had a tool run, with this result."""

    event_type: Literal["aiagent.llm.tool_call"]
    event_id: str
    incident_id: str
    tool_call_index: int
    tool_name: str
    tool_result: Any  # Required, yet it may be null: a tool may return nothing.

    tool_arguments: dict[str, Any] | UnsetType = UNSET
    tool_result_preview: str | UnsetType = UNSET


class WorkflowValidationPayload(Payload, frozen=True, kw_only=True):
    """The workflow that the model proposed was checked."""

    event_type: Literal["aiagent.workflow.validation_attempt"]
    event_id: str
    incident_id: str
    attempt: int
    max_attempts: int
    is_valid: bool

    errors: list[str] | UnsetType = UNSET
    validation_errors: str | UnsetType = UNSET
    workflow_id: str | UnsetType = UNSET
    workflow_name: str | UnsetType = UNSET
    human_review_reason: str | UnsetType = UNSET
    is_final_attempt: bool | UnsetType = UNSET
