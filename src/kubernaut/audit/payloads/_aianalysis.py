"""How the cause of a signal is analysed, and whether the result may be acted on."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from kubernaut.audit.payloads._base import ErrorDetails, Payload


class ProviderResponseSummary(Struct, frozen=True, kw_only=True):
    """The agent's answer in brief, as the analysis received it."""

    incident_id: str
    analysis_preview: str
    needs_human_review: bool
    warnings_count: int
    selected_workflow_id: str | UnsetType = UNSET


class AIAnalysisAuditPayload(Payload, frozen=True, kw_only=True):
    """An analysis ended, with a result or without."""

    event_type: Literal["aianalysis.analysis.completed", "aianalysis.analysis.failed"]
    analysis_name: str
    namespace: str
    phase: Literal["Pending", "Investigating", "Analyzing", "Completed", "Failed"]
    approval_required: bool
    degraded_mode: bool
    warnings_count: int

    approval_reason: str | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    workflow_id: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    sub_reason: str | UnsetType = UNSET
    provider_response_summary: ProviderResponseSummary | UnsetType = UNSET
    error_details: ErrorDetails | UnsetType = UNSET


class AIAnalysisPhaseTransitionPayload(Payload, frozen=True, kw_only=True):
    """An analysis went from one phase to the next."""

    event_type: Literal["aianalysis.phase.transition"]
    old_phase: str
    new_phase: str


class AIAnalysisAIAgentCallPayload(Payload, frozen=True, kw_only=True):
    """The analysis called the agent over HTTP."""

    event_type: Literal[
        "aianalysis.aiagent.call", "aianalysis.aiagent.submit", "aianalysis.aiagent.result"
    ]
    endpoint: str
    http_status_code: int
    duration_ms: int


class AIAnalysisApprovalDecisionPayload(Payload, frozen=True, kw_only=True):
    """It was decided whether a person must approve the proposed workflow."""

    event_type: Literal["aianalysis.approval.decision"]
    approval_required: bool
    approval_reason: str
    auto_approved: bool
    decision: str
    reason: str
    environment: str

    confidence: float | UnsetType = UNSET
    workflow_id: str | UnsetType = UNSET


class AIAnalysisRegoEvaluationPayload(Payload, frozen=True, kw_only=True):
    """The approval policy was evaluated."""

    event_type: Literal["aianalysis.rego.evaluation"]
    outcome: str
    degraded: bool
    duration_ms: int
    reason: str
    policy_hash: str | UnsetType = UNSET


class AIAnalysisErrorPayload(Payload, frozen=True, kw_only=True):
    """An analysis met an error in one of its phases."""

    event_type: Literal["aianalysis.error.occurred"]
    phase: str
    error_message: str
