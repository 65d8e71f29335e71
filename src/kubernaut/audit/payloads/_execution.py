"""How a workflow is carried out, and what it did to the ailing resource."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import ErrorDetails, Payload, Timestamp


class WorkflowExecutionAuditPayload(Payload, frozen=True, kw_only=True):
    """A workflow was selected, started, or came to its end."""

    event_type: Literal[
        "workflowexecution.workflow.started",
        "workflowexecution.workflow.completed",
        "workflowexecution.workflow.failed",
        "workflowexecution.selection.completed",
        "workflowexecution.execution.started",
    ]
    workflow_id: str
    workflow_version: str
    target_resource: str
    phase: Literal["Pending", "Running", "Completed", "Failed"]
    container_image: str
    execution_name: str

    workflow_name: str | UnsetType = UNSET
    action_type: str | UnsetType = UNSET
    pipelinerun_name: str | UnsetType = UNSET
    parameters: dict[str, str] | UnsetType = UNSET
    retry_count: int | UnsetType = UNSET

    started_at: Timestamp | UnsetType = UNSET
    completed_at: Timestamp | UnsetType = UNSET
    duration: str | UnsetType = UNSET

    failure_reason: (
        Literal[
            "OOMKilled",
            "DeadlineExceeded",
            "Forbidden",
            "ImagePullBackOff",
            "ConfigurationError",
            "ResourceExhausted",
            "TaskFailed",
            "UnsupportedEngine",
            "Deduplicated",
            "Unknown",
        ]
        | UnsetType
    ) = UNSET
    failure_message: str | UnsetType = UNSET
    failed_task_name: str | UnsetType = UNSET
    error_details: ErrorDetails | UnsetType = UNSET


class WorkflowExecutionWebhookAuditPayload(Payload, frozen=True, kw_only=True):
    """A person cleared the block on a workflow execution, so that it may run."""

    event_type: Literal["workflowexecution.block.cleared"]
    workflow_name: str
    clear_reason: str
    cleared_at: Timestamp
    # One value each: upstream's generated client has an enum type for either field.
    previous_state: Literal["Blocked"]
    new_state: Literal["Running"]


class EffectivenessAssessmentAuditPayload(Payload, frozen=True, kw_only=True):
    """A remediation's effect was looked at: one part of the assessment, its plan or its end."""

    event_type: Literal[
        "effectiveness.health.assessed",
        "effectiveness.hash.computed",
        "effectiveness.alert.assessed",
        "effectiveness.metrics.assessed",
        "effectiveness.assessment.scheduled",
        "effectiveness.assessment.completed",
        "effectiveness.alert_decay.detected",
    ]
    correlation_id: str
    namespace: str
    component: Literal[
        "health", "alert", "alert_decay", "metrics", "hash", "scheduled", "completed"
    ]

    ea_name: str | UnsetType = UNSET
    assessed: bool | UnsetType = UNSET
    score: float | UnsetType = UNSET
    details: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    signal_name: str | UnsetType = UNSET
    components_assessed: list[str] | UnsetType = UNSET
    completed_at: Timestamp | UnsetType = UNSET
    assessment_duration_seconds: float | UnsetType = UNSET

    validity_deadline: Timestamp | UnsetType = UNSET
    prometheus_check_after: Timestamp | UnsetType = UNSET
    alertmanager_check_after: Timestamp | UnsetType = UNSET
    hash_compute_after: Timestamp | UnsetType = UNSET

    hash_compute_delay: str | UnsetType = UNSET
    alert_check_delay: str | UnsetType = UNSET
    gitops_sync_delay: str | UnsetType = UNSET
    operator_reconcile_delay: str | UnsetType = UNSET
    total_propagation_delay: str | UnsetType = UNSET
    validity_window: str | UnsetType = UNSET
    stabilization_window: str | UnsetType = UNSET

    pre_remediation_spec_hash: str | UnsetType = UNSET
    post_remediation_spec_hash: str | UnsetType = UNSET
    hash_match: bool | UnsetType = UNSET

    health_checks: dict[str, Any] | UnsetType = UNSET
    metric_deltas: dict[str, Any] | UnsetType = UNSET
    alert_resolution: dict[str, Any] | UnsetType = UNSET
