"""The condition cases of the report (catalogue 2.4) with P1, under the names of mid-2026.

DataStorage is there, so `AuditRecorded` has to be True, and what it says has to be so.
"""

from typing import Final

from kubernaut.workflowexecution import lock_name
from test.workflow_executions import COMPLETED, STARTED, Executions, Object, Trails

FIVE: Final = {
    "ExecutionCreated": ("True", "ExecutionCreated"),
    "ExecutionRunning": ("True", "ExecutionStarted"),
    "ExecutionComplete": ("True", "ExecutionSucceeded"),
    "Ready": ("True", "Ready"),
    "AuditRecorded": ("True", "AuditSucceeded"),
}


def running(executions: Executions) -> str:
    """Start a run that Tekton has begun with; gives its target."""
    target = executions.target()
    executions.create(target=target)
    executions.wait_phase("wfe", "Running")
    executions.set_pipeline_run(target, "Unknown", "Running", "Tasks Completed: 0")
    executions.wait_condition("wfe", "ExecutionRunning")
    return target


def conditions(executions: Executions) -> dict[str, Object]:
    """By their types."""
    found = executions.status()["conditions"]
    by_type = {one["type"]: one for one in found}
    assert len(by_type) == len(found)
    return by_type


def test_execution_created_when_the_pipeline_run_is(executions: Executions) -> None:
    executions.create()
    found = executions.wait_condition("wfe", "ExecutionCreated")
    name = lock_name(executions.target("wfe"))
    assert found["reason"] == "ExecutionCreated"
    assert found["message"] == (
        f"tekton execution resource {name} created in kubernaut-workflows namespace"
    )
    status = executions.status()
    assert status["phase"] == "Running", "written together"
    assert status["executionRef"]["name"] == name
    assert "ExecutionRunning" not in conditions(executions), "Tekton has said nothing yet"


def test_execution_running_when_the_pipeline_run_is(executions: Executions) -> None:
    running(executions)
    found = executions.wait_condition("wfe", "ExecutionRunning")
    assert found["reason"] == "ExecutionStarted"
    assert found["message"] == "Execution running (tekton: Running)"


def test_execution_complete_when_the_pipeline_run_succeeds(executions: Executions) -> None:
    executions.succeed(running(executions))
    found = executions.wait_condition("wfe", "ExecutionComplete")
    status = executions.status()
    assert found["reason"] == "ExecutionSucceeded"
    assert found["message"] == f"All tasks completed successfully in {status['duration']}"
    assert status["phase"] == "Completed"


def test_execution_complete_is_false_when_the_pipeline_run_fails(executions: Executions) -> None:
    executions.fail(running(executions))
    found = executions.wait_condition("wfe", "ExecutionComplete", "False")
    status = executions.status()
    assert found["reason"] == "TaskFailed"
    assert found["message"] == status["failureDetails"]["message"]
    assert status["phase"] == "Failed"
    executions.wait_condition("wfe", "AuditRecorded")
    expected = FIVE | {
        "ExecutionComplete": ("False", "TaskFailed"),
        "Ready": ("False", "NotReady"),
    }
    found_all = conditions(executions)
    assert {type_: (one["status"], one["reason"]) for type_, one in found_all.items()} == expected
    assert found_all["Ready"]["message"] == "Workflow execution failed"


def test_audit_recorded_is_true_and_says_the_truth(executions: Executions, trails: Trails) -> None:
    target = running(executions)
    found = executions.wait_condition("wfe", "AuditRecorded", timeout=10)
    # Asked once: what it says has to be so by now.
    assert trails.types(f"rr-{executions.namespace}-wfe") == STARTED
    assert found["reason"] == "AuditSucceeded"
    assert found["message"] == "All 3 audit events are stored in DataStorage"
    assert executions.status()["phase"] == "Running"
    executions.succeed(target)
    executions.wait_phase("wfe", "Completed")
    found = executions.wait_condition("wfe", "AuditRecorded")
    assert trails.types(f"rr-{executions.namespace}-wfe") == COMPLETED
    assert found["message"] == "All 4 audit events are stored in DataStorage"


def test_a_full_life_has_five_conditions(executions: Executions) -> None:
    executions.succeed(running(executions))
    executions.wait_phase("wfe", "Completed")
    executions.wait_condition("wfe", "AuditRecorded", timeout=60)
    found = conditions(executions)
    assert {type_: (one["status"], one["reason"]) for type_, one in found.items()} == FIVE
    assert {one["observedGeneration"] for one in found.values()} == {1}
    assert found["Ready"]["message"] == "Workflow execution completed"
    order = ("ExecutionCreated", "ExecutionRunning", "ExecutionComplete", "AuditRecorded")
    moments = [found[type_]["lastTransitionTime"] for type_ in order]
    assert moments == sorted(moments)
