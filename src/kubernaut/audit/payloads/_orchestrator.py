"""How a remediation request is led from its creation to its end."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import ErrorDetails, Payload, TimeoutConfig, Timestamp


class RemediationOrchestratorAuditPayload(Payload, frozen=True, kw_only=True):
    """A remediation request moved on: in its life, its approval, its routing or its checks."""

    event_type: Literal[
        "orchestrator.lifecycle.started",
        "orchestrator.lifecycle.created",
        "orchestrator.lifecycle.completed",
        "orchestrator.lifecycle.failed",
        "orchestrator.lifecycle.verifying_started",
        "orchestrator.lifecycle.verification_completed",
        "orchestrator.lifecycle.verification_timed_out",
        "orchestrator.lifecycle.transitioned",
        "orchestrator.approval.requested",
        "orchestrator.approval.approved",
        "orchestrator.approval.rejected",
        "orchestrator.remediation.manual_review",
        "orchestrator.routing.blocked",
        "remediation.workflow_created",
        "orchestrator.ea.created",
    ]
    rr_name: str
    namespace: str

    outcome: Literal["Success", "Failed", "Pending"] | UnsetType = UNSET
    crd_outcome: str | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    failure_phase: (
        Literal["SignalProcessing", "AIAnalysis", "WorkflowExecution", "Approval"] | UnsetType
    ) = UNSET
    failure_reason: (
        Literal[
            "Timeout",
            "ValidationError",
            "InfrastructureError",
            "ApprovalRejected",
            "Unknown",
        ]
        | UnsetType
    ) = UNSET
    error_details: ErrorDetails | UnsetType = UNSET

    from_phase: str | UnsetType = UNSET
    to_phase: str | UnsetType = UNSET
    transition_reason: str | UnsetType = UNSET
    timeout_config: TimeoutConfig | UnsetType = UNSET

    rar_name: str | UnsetType = UNSET
    required_by: Timestamp | UnsetType = UNSET
    confidence_str: str | UnsetType = UNSET
    decision: Literal["Approved", "Rejected", "Pending"] | UnsetType = UNSET
    approved_by: str | UnsetType = UNSET
    rejected_by: str | UnsetType = UNSET
    rejection_reason: str | UnsetType = UNSET

    message: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    sub_reason: str | UnsetType = UNSET
    notification_name: str | UnsetType = UNSET

    workflow_id: str | UnsetType = UNSET
    workflow_version: str | UnsetType = UNSET
    action_type: str | UnsetType = UNSET
    target_resource: str | UnsetType = UNSET
    pre_remediation_spec_hash: str | UnsetType = UNSET
    signal_type: str | UnsetType = UNSET
    signal_fingerprint: str | UnsetType = UNSET

    ea_name: str | UnsetType = UNSET
    hash_compute_delay: str | UnsetType = UNSET
    alert_check_delay: str | UnsetType = UNSET
    gitops_sync_delay: str | UnsetType = UNSET
    operator_reconcile_delay: str | UnsetType = UNSET
    is_gitops_managed: bool | UnsetType = UNSET
    is_crd: bool | UnsetType = UNSET
