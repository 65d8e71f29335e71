"""The operator's metrics: what is counted, and what is looked up in the cache."""

from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from kubernaut.kubernetes import Condition, ObjectMeta, Store
from kubernaut.workflowexecution import (
    WorkflowExecution,
    WorkflowExecutionSpec,
    WorkflowExecutionStatus,
    WorkflowReference,
)
from kubernaut.workflowexecution._api import RemediationRequestReference
from kubernaut.workflowexecution._metrics import OperatorMetrics, new_registry

SPEC = WorkflowExecutionSpec(
    remediation_request_ref=RemediationRequestReference(),
    workflow_ref=WorkflowReference(workflow_id="w", version="1"),
    target_resource="ns/deployment/a",
)


def execution(name: str, phase: Any, **conditions: str) -> WorkflowExecution:
    return WorkflowExecution(
        metadata=ObjectMeta(name=name, namespace="ns"),
        spec=SPEC,
        status=WorkflowExecutionStatus(
            phase=phase,
            conditions=[
                Condition(type=type_, status=status) for type_, status in conditions.items()
            ],
        ),
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry()


def test_ends_and_creations_are_counted(registry: CollectorRegistry) -> None:
    metrics = OperatorMetrics(registry)
    metrics.ended("Completed", 30)
    metrics.ended("Failed", 0)
    metrics.child_created("tekton")
    metrics.child_created("job")
    value = registry.get_sample_value
    total = "workflowexecution_reconciler_total"
    duration = "workflowexecution_reconciler_duration_seconds"
    created = "workflowexecution_reconciler_execution_creations_total"
    assert value(total, {"outcome": "Completed"}) == 1
    assert value(total, {"outcome": "Failed"}) == 1
    assert value(f"{duration}_bucket", {"outcome": "Completed", "le": "20.0"}) == 0
    assert value(f"{duration}_bucket", {"outcome": "Completed", "le": "40.0"}) == 1
    assert value(f"{duration}_bucket", {"outcome": "Failed", "le": "5.0"}) == 1
    assert value(created, {"engine": "tekton"}) == 1
    assert value(created, {"engine": "job"}) == 1
    assert value(created, {"engine": "ansible"}) == 0
    assert value("workflowexecution_reconciler_pipelinerun_creations_total") == 1


def test_executions_are_looked_up_in_the_cache(registry: CollectorRegistry) -> None:
    store = Store[WorkflowExecution]()
    metrics = OperatorMetrics(registry)
    value = registry.get_sample_value
    metrics.count_in(store)
    assert value("workflowexecution_executions", {"phase": "Running"}) == 0
    for wfe in (
        execution("new", None),
        execution("quiet", "Running", AuditRecorded="False", Stalled="True"),
        execution("going", "Running", AuditRecorded="True", Stalled="False"),
        execution("ended", "Completed", AuditRecorded="True", Stalled="True"),
        execution("untold", "Failed"),
    ):
        store.put(wfe)
    assert value("workflowexecution_executions", {"phase": "Pending"}) == 1
    assert value("workflowexecution_executions", {"phase": "Running"}) == 2
    assert value("workflowexecution_executions", {"phase": "Completed"}) == 1
    assert value("workflowexecution_executions", {"phase": "Failed"}) == 1
    assert value("workflowexecution_audit_pending") == 2
    assert value("workflowexecution_stalled") == 1
    before = store.get("ns/quiet")
    assert before is not None
    store.put(msgspec.structs.replace(before, status=WorkflowExecutionStatus(phase="Failed")))
    assert value("workflowexecution_stalled") == 0


def test_suspension_is_asked_for(registry: CollectorRegistry) -> None:
    suspended = False
    OperatorMetrics(registry).show_suspended(lambda: suspended)
    assert registry.get_sample_value("workflowexecution_suspended") == 0
    suspended = True
    assert registry.get_sample_value("workflowexecution_suspended") == 1
