"""A WorkflowExecution in which every member has a value other than its default."""

from datetime import UTC, datetime
from typing import Final

from kubernaut.kubernetes import Condition, ObjectMeta
from kubernaut.workflowexecution import _api

MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SPEC: Final = _api.WorkflowExecutionSpec(
    remediation_request_ref=_api.RemediationRequestReference(
        api_version="kubernaut.ai/v1alpha1",
        kind="RemediationRequest",
        name="rr-1",
        namespace="default",
        uid="0e6b0a0e-0000-4000-8000-000000000001",
        resource_version="7",
        field_path="spec",
    ),
    workflow_ref=_api.WorkflowReference(
        workflow_id="w-1",
        version="1.0.0",
        workflow_name="restart",
        action_type="RestartPod",
        execution_bundle="registry.test/restart:1",
        execution_bundle_digest=f"sha256:{'0' * 64}",
        container_image="registry.test/restart:1",
        container_digest=f"sha256:{'0' * 64}",
        execution_engine="job",
        engine_config={"playbookPath": "a.yml", "deep": [{"er": None}, 1.5]},
        service_account_name="",
        dependencies=_api.Dependencies(
            secrets=[_api.LocalReference(name="s")],
            config_maps=[_api.LocalReference(name="a"), _api.LocalReference(name="b")],
        ),
        resources=_api.ResourceRequirements(
            claims=[_api.ResourceClaim(name="gpu", request="one")],
            limits={"cpu": 1, "memory": "100Mi"},
            requests={"cpu": "500m"},
        ),
        declared_parameter_names={"A": True, "B": False},
    ),
    target_resource="shop/deployment/checkout",
    parameters={"A": "1", "EMPTY": ""},
    confidence=0.5,
    rationale="because",
    execution_config=_api.ExecutionConfig(timeout="1h", service_account_name="ignored"),
    cluster_id="elsewhere",
    times_out_at=MOMENT.replace(microsecond=120000),
)

_ENGINE: Final = _api.ExecutionStatus(
    status="False",
    reason="Failed",
    message="Tasks Completed: 1",
    completed_tasks=1,
    total_tasks=2,
    retry_count=3,
)

STATUS: Final = _api.WorkflowExecutionStatus(
    observed_generation=1,
    phase="Failed",
    correlation_id="rr-1",
    start_time=MOMENT,
    last_progress_time=MOMENT,
    completion_time=MOMENT,
    duration="2m30s",
    execution_ref=_api.ExecutionReference(name="wfe-0000000000000000"),
    pipeline_run_ref=_api.ExecutionReference(name="wfe-0000000000000000"),
    execution_status=_ENGINE,
    pipeline_run_status=_ENGINE,
    failure_reason="OOMKilled",
    failure_details=_api.FailureDetails(
        failed_task_index=1,
        failed_task_name="wfe-0000000000000000-restart",
        reason="OOMKilled",
        message="killed",
        failed_at=MOMENT,
        natural_language_summary="one line\nand another\n",
        failed_step_name="restart",
        exit_code=137,
        execution_time_before_failure="2m30s",
        was_execution_failure=True,
    ),
    deduplicated_by="default/other",
    reconcile_forced=_api.ForcedReconcile(token="1", at=MOMENT),
    conditions=[
        Condition(
            type=kind,
            status="True",
            reason="Because",
            message="",
            last_transition_time=MOMENT,
            observed_generation=1,
        )
        for kind in ("Ready", "AuditRecorded")
    ],
    block_clearance=_api.BlockClearance(
        cleared_at=MOMENT, cleared_by="ops", clear_reason="looked at it", clear_method="Annotation"
    ),
    consecutive_failures=2,
    next_allowed_execution=MOMENT,
    ephemeral_credential_ids=[4_000_000_000],
)


def whole(name: str, namespace: str) -> _api.WorkflowExecution:
    """An object of this name with all of the spec and no status."""
    return _api.WorkflowExecution(metadata=ObjectMeta(name=name, namespace=namespace), spec=SPEC)
