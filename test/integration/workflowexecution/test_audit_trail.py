"""The audit trail cases of the report: catalogue 2.2 with P2, 2.3, and 3.3's audit_workflow_refs.

They ask DataStorage, and compare every member of every event with the stored object
(`expected_trail.py`). The counts are exact; an event too many is a failure as one too few is.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.operator_process import StartOperator
from test.polling import wait_for
from test.workflow_executions import (
    BUNDLE,
    COMPLETED,
    FAILED,
    STARTED,
    Executions,
    Object,
    Trails,
    new_executions,
    now_text,
)

REFUSED: Final = ["workflow.failed"]
LOST: Final = ["selection.completed", "workflow.failed"]


def started(executions: Executions, name: str = "wfe", **given: Any) -> Object:
    """A run that has started, as it is stored."""
    executions.create(name, **given)
    executions.wait_phase(name, "Running", 10)
    return executions.get(name)


def later(moment: str, seconds: int) -> str:
    """A time of the API, and some seconds."""
    return f"{datetime.fromisoformat(moment) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def with_failed_task(executions: Executions, target: str) -> Object:
    """Let the second of two tasks fail in its step `drain`; gives members of the status."""
    first = executions.add_task_run(target, "check", succeeded("True", "Succeeded", "fine"))
    steps = [
        {"name": "prepare", "terminated": {"exitCode": 0, "reason": "Completed"}},
        {"name": "drain", "terminated": {"exitCode": 42, "reason": "Error"}},
    ]
    second = executions.add_task_run(
        target, "act", succeeded("False", "Failed", '"step-drain" exited with code 42', steps=steps)
    )
    return {"childReferences": [first, second]}


def succeeded(status: str, reason: str, message: str, **more: Any) -> Object:
    """A status with the condition `Succeeded`."""
    condition = {"type": "Succeeded", "status": status, "reason": reason, "message": message}
    return {"conditions": [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]} | more


def test_workflow_started(executions: Executions, trails: Trails) -> None:
    stored = assert_trail(trails, started(executions), STARTED)
    child = lock_name(executions.target("wfe"))
    for event, phase in zip(stored, ("Pending", "Running", "Running"), strict=True):
        assert event["event_category"] == "workflowexecution"
        assert event["event_outcome"] == "success"
        assert event["correlation_id"] == f"rr-{executions.namespace}-wfe"
        assert (event["resource_type"], event["resource_id"]) == ("WorkflowExecution", "wfe")
        assert event["event_data"]["phase"] == phase
    assert [event["event_action"] for event in stored] == ["completed", "started", "started"]
    assert "pipelinerun_name" not in stored[0]["event_data"], "it did not exist yet"
    assert [event["event_data"]["pipelinerun_name"] for event in stored[1:]] == [child, child]


def test_workflow_metadata(executions: Executions, trails: Trails) -> None:
    reference = {
        "workflowId": "5b1f0f2e-7f0c-4f0a-9d6e-0b8f3c2a1d4e",
        "version": "2.10.0-rc.1",
        "workflowName": "Größe ändern",
        "actionType": "ScaleDeployment",
        "executionBundleDigest": "sha256:" + "0" * 64,
        "declaredParameterNames": {"REPLICAS": True},
    }
    parameters = {"REPLICAS": "3", "NOTE": 'a "quoted"\nline', "EMPTY": ""}
    data = assert_trail(
        trails, started(executions, workflow=reference, parameters=parameters), STARTED
    )[-1]["event_data"]
    assert data["workflow_id"] == reference["workflowId"]
    assert data["workflow_version"] == reference["version"]
    assert data["workflow_name"] == reference["workflowName"]
    assert data["action_type"] == reference["actionType"]
    assert data["container_image"] == BUNDLE
    assert data["parameters"] == parameters, "as they stand in the spec, passed on or not"


def test_workflow_completed(executions: Executions, trails: Trails) -> None:
    start = started(executions)["status"]["startTime"]
    executions.succeed(executions.target("wfe"), completionTime=later(start, 45))
    status = executions.wait_phase("wfe", "Completed", 10)
    assert (status["startTime"], status["completionTime"]) == (start, later(start, 45))
    assert status["duration"] == "45s"
    last = assert_trail(trails, executions.get(), COMPLETED)[-1]
    assert last["event_timestamp"] == later(start, 45)
    assert last["duration_ms"] == 45_000
    assert last["event_data"]["phase"] == "Completed"
    assert last["event_data"]["duration"] == "45s"


def test_workflow_failed_before_execution(executions: Executions, trails: Trails) -> None:
    empty = {"executionBundle": None, "containerImage": ""}
    executions.create(workflow=empty)
    status = executions.wait_phase("wfe", "Failed", 10)
    assert status["failureDetails"]["wasExecutionFailure"] is False
    (event,) = assert_trail(trails, executions.get(), REFUSED)
    assert event["event_data"]["phase"] == "Failed"
    assert event["event_data"]["failure_reason"] == "ConfigurationError"
    assert "started_at" not in event["event_data"]


def test_workflow_failed_on_pipeline_run_failure(executions: Executions, trails: Trails) -> None:
    target, start = executions.target("wfe"), started(executions)["status"]["startTime"]
    executions.fail(
        target,
        "Failed",
        "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 0",
        completionTime=later(start, 90),
        **with_failed_task(executions, target),
    )
    executions.wait_phase("wfe", "Failed", 15)
    event = assert_trail(trails, executions.get(), FAILED)[-1]
    assert event["event_category"] == "workflowexecution"
    assert (event["event_action"], event["event_outcome"]) == ("failed", "failure")
    assert (event["severity"], event["error_code"]) == ("warning", "ERR_PIPELINE_FAILED")
    assert (event["event_timestamp"], event["duration_ms"]) == (later(start, 90), 90_000)
    data = event["event_data"]
    assert data["phase"] == "Failed"
    assert data["failure_reason"] == "TaskFailed"
    assert data["failed_task_name"] == f"{lock_name(target)}-act"
    assert "step drain exited with code 42" in data["failure_message"]
    assert data["error_details"]["retry_possible"] is False, "it may have acted"
    assert "step 'drain'" in data["error_details"]["message"]


def test_events_are_in_order(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    created = one.create()["metadata"]["creationTimestamp"]
    # The API has whole seconds; and all times are to differ.
    wait_for(lambda: now_text() > created, 5, "another second")
    start_operator()
    start = one.wait_phase("wfe", "Running")["startTime"]
    assert created < start
    one.succeed(one.target("wfe"), completionTime=later(start, 7))
    one.wait_phase("wfe", "Completed")
    stored = assert_trail(trails, one.get(), COMPLETED)
    times = [event["event_timestamp"] for event in stored]
    assert times == [created, start, start, later(start, 7)]
    phases = [event["event_data"]["phase"] for event in stored]
    assert phases == ["Pending", "Running", "Running", "Completed"]


def test_a_run_in_its_own_namespace_leaves_three_events(
    executions: Executions, trails: Trails
) -> None:
    pair = (executions, new_executions(executions.cluster))
    for one in pair:
        started(one)
    for one in pair:
        first, second, third = assert_trail(trails, one.get(), STARTED)
        assert third["event_type"] == "workflowexecution.workflow.started"
        assert third["event_action"] == "started"
        assert {each["namespace"] for each in (first, second, third)} == {one.namespace}


def test_everything_sent_again_is_still_there_once(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one, expected = own_executions, {"good": COMPLETED, "bad": FAILED}
    operator = start_operator()
    for name in expected:
        started(one, name)
    one.succeed(one.target("good"))
    one.fail(one.target("bad"))
    before = {}
    for name, types in expected.items():
        one.wait_condition(name, "Ready", "True" if name == "good" else "False")
        one.wait_condition(name, "AuditRecorded")
        before[name] = assert_trail(trails, one.get(name), types)
    operator.kill()
    # As if it had died before it knew of a single answer.
    for name in expected:
        conditions = one.status(name)["conditions"]
        for condition in conditions:
            if condition["type"] == "AuditRecorded":
                condition |= {"status": "False", "reason": "AuditPending"}
        one.patch_status(name, {"conditions": conditions})
    operator = start_operator()
    for name, types in expected.items():
        one.wait_condition(name, "AuditRecorded")
        assert assert_trail(trails, one.get(name), types) == before[name]
    again = {"service": "workflowexecution", "outcome": "duplicate"}
    assert operator.metric("audit_events_total", **again) == len(COMPLETED) + len(FAILED)
    assert operator.metric("workflowexecution_audit_conflicts_total") == 0


def test_the_workflow_is_named_in_selection_and_start(
    executions: Executions, trails: Trails
) -> None:
    started(executions)
    executions.succeed(executions.target("wfe"))
    executions.wait_phase("wfe", "Completed")
    stored = assert_trail(trails, executions.get(), COMPLETED)
    for type_, phase in (("selection.completed", "Pending"), ("execution.started", "Running")):
        name = f"workflowexecution.{type_}"
        (event,) = (one for one in stored if one["event_type"] == name)
        data = event["event_data"]
        assert data["phase"] == phase
        assert data["workflow_name"] == "Restart a deployment"
        assert data["action_type"] == "RestartDeployment"
        assert data.get("pipelinerun_name", "wfe-").startswith("wfe-")


def test_the_selection_is_told_before_the_execution_ends(
    executions: Executions, trails: Trails
) -> None:
    stored = assert_trail(trails, started(executions), STARTED)
    (selection,) = (one for one in stored if "selection" in one["event_type"])
    assert selection["chain_seq"] == 1
    assert executions.status()["phase"] == "Running"


def test_a_run_that_loses_its_target_was_selected(executions: Executions, trails: Trails) -> None:
    target = executions.target("wfe")
    started(executions)
    executions.create("second", target=target)
    executions.wait_phase("second", "Failed")
    stored = assert_trail(trails, executions.get("second"), LOST)
    assert stored[-1]["event_data"]["failure_reason"] == "Deduplicated"
    assert "pipelinerun_name" not in stored[-1]["event_data"]


@pytest.mark.parametrize("source", ["label", "request", "name"])
def test_the_chain_is_that_of_label_request_or_name(
    executions: Executions, trails: Trails, source: str
) -> None:
    name = f"wfe-{executions.namespace}"
    given: dict[str, Any] = {}
    if source == "label":
        given["labels"] = {"kubernaut.ai/correlation-id": f"corr-{executions.namespace}"}
    if source == "name":
        given["remediationRequestRef"] = {}
    wfe = started(executions, name, **given)
    expected = {
        "label": f"corr-{executions.namespace}",
        "request": f"rr-{executions.namespace}-{name}",
        "name": name,
    }[source]
    assert wfe["status"]["correlationId"] == expected
    assert_trail(trails, wfe, STARTED)
    # A label that comes later moves nothing.
    path = f"/apis/kubernaut.ai/v1alpha1/namespaces/{executions.namespace}/workflowexecutions"
    label = {"kubernaut.ai/correlation-id": f"other-{executions.namespace}"}
    executions.patch(f"{path}/{name}", {"metadata": {"labels": label}})
    executions.succeed(executions.target(name))
    executions.wait_phase(name, "Completed")
    executions.wait_condition(name, "AuditRecorded")
    assert trails.types(expected) == COMPLETED
    assert trails.types(f"other-{executions.namespace}") == []
