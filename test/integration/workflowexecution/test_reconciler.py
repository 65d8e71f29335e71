"""The reconciler cases of the report, catalogue 2.1 nos. 1 to 18; the rest is in `test_release.py`.

A1 to A4 have the names under which the report lists them as failed.
"""

from typing import Any, Final

import pytest

from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail, seconds_between
from test.workflow_executions import BUNDLE, COMPLETED, FAILED, STARTED, Executions, Object, Trails

TALLY: Final = "Tasks Completed: {} (Failed: {}, Cancelled 0), Incomplete: {}, Skipped: 0"
DEFAULT_ACCOUNT: Final = "kubernaut-workflow-runner"


def running(executions: Executions, **given: Any) -> str:
    """Start a run; gives its target."""
    target = executions.target()
    executions.create(target=target, **given)
    executions.wait_phase("wfe", "Running", 10)
    return target


def parameters(run: Object) -> dict[str, str]:
    """The parameters of a PipelineRun, each of which is there once and is a text."""
    found = run["spec"]["params"]
    assert all(isinstance(one["value"], str) for one in found)
    by_name = {one["name"]: one["value"] for one in found}
    assert len(by_name) == len(found)
    return by_name


def task(name: str, status: str, **more: Any) -> Object:
    """The status of a TaskRun."""
    condition = {
        "type": "Succeeded",
        "status": status,
        "reason": "Succeeded" if status == "True" else "Failed",
        "message": f"{name} has ended",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {"conditions": [condition]} | more


def failed_in(executions: Executions, target: str) -> None:
    """Let the second of two tasks fail in its first step."""
    good = executions.add_task_run(target, "check", task("check", "True"))
    step = {"name": "restart", "terminated": {"exitCode": 7, "reason": "Error"}}
    bad = executions.add_task_run(target, "act", task("act", "False", steps=[step]))
    executions.fail(target, "Failed", TALLY.format(2, 1, 0), childReferences=[good, bad])


# PipelineRun creation


def test_creates_a_pipeline_run_with_our_labels(executions: Executions) -> None:
    created = executions.create()["metadata"]
    target = executions.target("wfe")
    run = executions.wait_child(target, timeout=10)
    status = executions.wait_phase("wfe", "Running", 10)
    assert status["pipelineRunRef"]["name"] == run["metadata"]["name"] == lock_name(target)
    assert run["metadata"]["namespace"] == "kubernaut-workflows"
    assert run["metadata"]["labels"] == {
        "kubernaut.ai/workflow-execution": "wfe",
        "kubernaut.ai/source-namespace": executions.namespace,
        "kubernaut.ai/workflow-execution-uid": created["uid"],
        "kubernaut.ai/workflow-id": "restart-deployment",
        "kubernaut.ai/target-resource": target.replace("/", "__"),
        "kubernaut.ai/execution-engine": "tekton",
    }
    assert run["metadata"]["annotations"] == {
        "kubernaut.ai/workflow-execution": f"{executions.namespace}/wfe",
        "kubernaut.ai/workflow-id": "restart-deployment",
        "kubernaut.ai/target-resource": target,
    }
    assert run["spec"]["pipelineRef"] == {
        "resolver": "bundles",
        "params": [
            {"name": "bundle", "value": BUNDLE},
            {"name": "name", "value": "workflow"},
            {"name": "kind", "value": "pipeline"},
        ],
    }


def test_passes_parameters_to_the_pipeline_run(executions: Executions) -> None:
    given = {"NAMESPACE": "payments", "DEPLOYMENT_NAME": "api", "REPLICA_COUNT": "3"}
    target = running(executions, parameters=given)
    assert parameters(executions.wait_child(target)) == given | {"TARGET_RESOURCE": target}


def test_passes_the_target_to_the_pipeline_run(executions: Executions) -> None:
    target = running(executions, parameters={"TARGET_RESOURCE": "another/deployment/one"})
    assert parameters(executions.wait_child(target)) == {"TARGET_RESOURCE": target}


# Status synchronization


def test_completes_when_the_pipeline_run_succeeds(executions: Executions) -> None:
    target = running(executions)
    executions.succeed(target)
    status = executions.wait_phase("wfe", "Completed", 15)
    run = executions.wait_child(target)
    assert status["completionTime"] == run["status"]["completionTime"]
    took = seconds_between(status["startTime"], status["completionTime"])
    assert status["duration"] == f"{took}s"
    assert "failureDetails" not in status
    assert "failureReason" not in status


def test_fails_when_the_pipeline_run_fails(executions: Executions) -> None:
    target = running(executions)
    failed_in(executions, target)
    status = executions.wait_phase("wfe", "Failed", 15)
    details = status["failureDetails"]
    child = f"{lock_name(target)}-act"
    message = f"task act (TaskRun {child}) step restart exited with code 7: Error"
    took = status["duration"]
    assert details == {
        "failedTaskIndex": 1,
        "failedTaskName": child,
        "failedStepName": "restart",
        "exitCode": 7,
        "reason": "TaskFailed",
        "message": message,
        "failedAt": status["completionTime"],
        "executionTimeBeforeFailure": took,
        "wasExecutionFailure": True,
        "naturalLanguageSummary": (
            f"Workflow 'restart-deployment' failed on target '{target}'.\n"
            "Reason: TaskFailed\n"
            f"Error: {message}\n"
            f"Failed after: {took}\n"
            "Recommendation: read the log of the step that failed; what it had done by then stays"
            " done\n"
        ),
    }
    assert status["failureReason"] == "TaskFailed"


def test_shows_the_status_of_the_pipeline_run(executions: Executions) -> None:
    target = running(executions)
    tasks = [executions.add_task_run(target, name, task(name, "True")) for name in ("a", "b")]
    message = TALLY.format(1, 0, 1)
    executions.set_pipeline_run(target, "Unknown", "Running", message, childReferences=tasks)
    executions.wait_condition("wfe", "ExecutionRunning")
    expected = {
        "status": "Unknown",
        "reason": "Running",
        "message": message,
        "completedTasks": 1,
        "totalTasks": 2,
    }
    status = executions.status()
    assert status["executionStatus"] == status["pipelineRunStatus"] == expected
    executions.set_pipeline_run(
        target, "True", "Succeeded", TALLY.format(2, 0, 0), childReferences=tasks
    )
    status = executions.wait_phase("wfe", "Completed")
    assert status["executionStatus"] == {
        "status": "True",
        "reason": "Succeeded",
        "message": TALLY.format(2, 0, 0),
        "completedTasks": 2,
        "totalTasks": 2,
    }
    assert status["pipelineRunStatus"] == status["executionStatus"]


# Owner reference and cascade deletion


def test_has_no_owner_reference_and_is_deleted_by_finalizer(executions: Executions) -> None:
    target = running(executions)
    run = executions.wait_child(target)["metadata"]
    assert "ownerReferences" not in run, "they do not cross namespaces"
    assert run["labels"]["kubernaut.ai/workflow-execution"] == "wfe"
    executions.delete()
    executions.wait_no_child(target, timeout=15)


# Service account


@pytest.mark.parametrize(
    ("account", "expected"),
    [(None, DEFAULT_ACCOUNT), ("", None), ("restarter", "restarter")],
    ids=["default", "none", "own"],
)
@pytest.mark.parametrize("ignored", [None, "ignored"])
def test_service_account(
    executions: Executions, account: str | None, expected: str | None, ignored: str | None
) -> None:
    older = None if ignored is None else {"serviceAccountName": ignored, "timeout": "1m"}
    target = running(executions, workflow={"serviceAccountName": account}, executionConfig=older)
    template = executions.wait_child(target)["spec"]["taskRunTemplate"]
    assert template.get("serviceAccountName") == expected
    assert template["podTemplate"]["securityContext"]["runAsNonRoot"] is True
    assert "timeouts" not in executions.wait_child(target)["spec"]


# Phase transitions


@pytest.mark.parametrize("phase", ["Completed", "Failed"])
def test_goes_from_pending_to_running_to_its_end(executions: Executions, phase: str) -> None:
    target = running(executions)
    executions.succeed(target) if phase == "Completed" else executions.fail(target)
    executions.wait_phase("wfe", phase, 15)
    executions.wait_condition("wfe", "AuditRecorded")
    expected = ["Phase transition: Pending → Running", f"Phase transition: Running → {phase}"]

    def look(_: Object) -> bool:
        found = executions.events("wfe")
        return [one["note"] for one in found if one["reason"] == "PhaseTransition"] == expected

    executions.wait("wfe", look, 5, "the transitions")


# Audit events during reconciliation


def test_should_persist_workflow_started_audit_event_with_correct_field_values(
    executions: Executions, trails: Trails
) -> None:
    running(executions)
    event = assert_trail(trails, executions.get(), STARTED)[-1]
    assert event["event_type"] == "workflowexecution.workflow.started"
    assert (event["event_category"], event["event_action"]) == ("workflowexecution", "started")
    assert event["event_outcome"] == "success"
    assert event["correlation_id"] == f"rr-{executions.namespace}-wfe"


def test_should_persist_workflow_completed_audit_event_with_correct_field_values(
    executions: Executions, trails: Trails
) -> None:
    executions.succeed(running(executions))
    executions.wait_phase("wfe", "Completed", 15)
    event = assert_trail(trails, executions.get(), COMPLETED)[-1]
    assert event["event_type"] == "workflowexecution.workflow.completed"
    assert (event["event_action"], event["event_outcome"]) == ("completed", "success")


def test_should_persist_workflow_failed_audit_event_with_failure_details(
    executions: Executions, trails: Trails
) -> None:
    target = running(executions)
    failed_in(executions, target)
    details = executions.wait_phase("wfe", "Failed", 15)["failureDetails"]
    event = assert_trail(trails, executions.get(), FAILED)[-1]
    assert event["event_type"] == "workflowexecution.workflow.failed"
    assert (event["event_action"], event["event_outcome"]) == ("failed", "failure")
    assert event["event_data"]["failure_reason"] == details["reason"] == "TaskFailed"
    assert event["event_data"]["failure_message"] == details["message"]
    assert event["event_data"]["failed_task_name"] == f"{lock_name(target)}-act"


def test_should_include_correlation_id_in_audit_events_when_present(
    executions: Executions, trails: Trails
) -> None:
    correlation = f"test-corr-12345-{executions.namespace}"
    executions.succeed(running(executions, labels={"kubernaut.ai/correlation-id": correlation}))
    executions.wait_phase("wfe", "Completed", 15)
    stored = assert_trail(trails, executions.get(), COMPLETED)
    assert {event["correlation_id"] for event in stored} == {correlation}
    assert trails.types(f"rr-{executions.namespace}-wfe") == []


# Resource locking


def test_a_second_run_on_a_busy_target_fails(executions: Executions) -> None:
    target = running(executions)
    executions.create("second", target=target)
    status = executions.wait_phase("second", "Failed", 15)
    assert status["failureDetails"]["reason"] == "Deduplicated"
    assert status["deduplicatedBy"] == "wfe"
    assert "already exists" in status["failureDetails"]["message"]
    assert executions.status()["phase"] == "Running"


def test_different_targets_run_in_parallel(executions: Executions) -> None:
    for name in ("one", "two"):
        executions.create(name)
    for name in ("one", "two"):
        executions.wait_phase(name, "Running", 10)
    assert executions.status("one")["phase"] == "Running"


def test_pipeline_run_name_is_that_of_the_lock(executions: Executions) -> None:
    name = executions.wait_child(running(executions))["metadata"]["name"]
    assert name.startswith("wfe-")
    assert len(name) == 20
    assert set(name.removeprefix("wfe-")) <= set("0123456789abcdef")
