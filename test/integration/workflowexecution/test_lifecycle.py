"""The lifecycle cases of the report (catalogue 2.10), and what a deletion leaves behind.

A finalizer of the test's own keeps deleted objects, so that their last status can be read.
"""

from datetime import datetime, timedelta
from typing import Final

import pytest

from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail, seconds_between
from test.operator_process import OperatorProcess, StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, FAILED, STARTED, Executions, Object, Trails

FINALIZER: Final = "workflowexecution.kubernaut.ai/workflowexecution-cleanup"
KEPT: Final = "test.kubernaut.ai/kept"
CANCELLED: Final = [*STARTED, "cancel.requested", "workflow.failed"]
DELETED: Final = "Cancelled: the WorkflowExecution was deleted"


def let_go(executions: Executions, name: str = "wfe") -> Object:
    """A deleted object with the finalizer of the test, once that is the last; then let it go."""
    last = executions.wait(
        name,
        lambda seen: bool(seen["metadata"].get("finalizers") == [KEPT]),
        15,
        "the operator has let it go",
    )
    path = f"/apis/kubernaut.ai/v1alpha1/namespaces/{executions.namespace}/workflowexecutions"
    executions.patch(f"{path}/{name}", {"metadata": {"finalizers": []}})
    wait_for(lambda: not executions.exists(name), 5, "it is gone")
    return last


def assert_cancelled(last: Object, *, acted: bool) -> None:
    """Failed at its deletion, by it, and said so."""
    status, deleted = last["status"], last["metadata"]["deletionTimestamp"]
    assert status["phase"] == "Failed"
    assert status["completionTime"] == deleted
    assert status["failureReason"] == "Unknown"
    details = status["failureDetails"]
    assert (details["reason"], details["message"]) == ("Unknown", DELETED)
    assert details["failedAt"] == deleted
    assert details["wasExecutionFailure"] is acted


def test_created_object_is_readable(executions: Executions) -> None:
    created = executions.create()
    found = executions.get()
    assert found["metadata"]["uid"] == created["metadata"]["uid"]
    assert found["spec"] == created["spec"] == executions.manifest()["spec"]


def test_spec_is_preserved(executions: Executions) -> None:
    target = executions.target()
    given: Object = {
        "target": target,
        "parameters": {"KEY": "value"},
        "confidence": 0.95,
        "rationale": "it leaks",
    }
    executions.create(**given)
    executions.wait_phase("wfe", "Running", 10)
    executions.succeed(target)
    executions.wait_phase("wfe", "Completed")
    executions.wait_condition("wfe", "AuditRecorded")
    found = executions.get()
    assert found["spec"] == executions.manifest(**given)["spec"]
    assert found["spec"]["targetResource"] == target
    assert found["spec"]["workflowRef"]["workflowId"] == "restart-deployment"
    assert found["spec"]["parameters"] == {"KEY": "value"}
    assert found["spec"]["confidence"] == 0.95
    assert found["metadata"]["generation"] == 1, "nobody wrote a spec"
    assert found["status"]["observedGeneration"] == 1


def test_start_time_is_that_of_the_pipeline_run(executions: Executions) -> None:
    executions.create()
    status = executions.wait_phase("wfe", "Running", 10)
    run = executions.wait_child(executions.target("wfe"))
    assert status["startTime"] == run["metadata"]["creationTimestamp"]
    assert "completionTime" not in status
    assert "duration" not in status


def test_pipeline_run_ref_is_set(executions: Executions) -> None:
    executions.create()
    status = executions.wait_phase("wfe", "Running", 10)
    name = {"name": lock_name(executions.target("wfe"))}
    assert status["pipelineRunRef"] == status["executionRef"] == name


def test_members_of_older_clients_persist(executions: Executions) -> None:
    executions.create()
    executions.wait_phase("wfe", "Running", 10)
    older = {"consecutiveFailures": 3, "nextAllowedExecution": "2026-01-01T00:00:00Z"}
    executions.patch_status("wfe", older)
    assert older.items() <= executions.status().items()
    executions.succeed(executions.target("wfe"))
    executions.wait_phase("wfe", "Completed")
    executions.wait_condition("wfe", "AuditRecorded")
    assert older.items() <= executions.status().items()


@pytest.mark.parametrize("acted", [False, True], ids=["before_a_task", "with_a_task"])
def test_deletion_while_running(executions: Executions, trails: Trails, *, acted: bool) -> None:
    target = executions.target()
    executions.create(target=target, finalizers=[KEPT])
    executions.wait_phase("wfe", "Running", 10)
    if acted:
        task = executions.add_task_run(target, "restart", {"podName": "one"})
        executions.set_pipeline_run(target, "Unknown", "Running", "", childReferences=[task])
        executions.wait_condition("wfe", "ExecutionRunning")
    uid = executions.wait_child(target)["metadata"]["uid"]
    executions.delete()
    last = let_go(executions)
    assert executions.child(target) is None, "it is gone before the object is"
    left = executions.cluster.api("GET", executions.child_path("taskruns")).body["items"]
    owners = [one["metadata"].get("ownerReferences", []) for one in left]
    assert uid not in [owner["uid"] for found in owners for owner in found]
    assert_cancelled(last, acted=acted)
    took = seconds_between(last["status"]["startTime"], last["metadata"]["deletionTimestamp"])
    assert last["status"]["duration"] == f"{took}s"
    stored = assert_trail(trails, last, CANCELLED)
    assert stored[-1]["event_timestamp"] == last["metadata"]["deletionTimestamp"]
    assert stored[-1]["event_data"]["failure_reason"] == "Unknown"
    wait_for(
        lambda: executions.reasons("wfe")[-1] == "WorkflowExecutionDeleted", 5, "the last Event"
    )
    note = executions.events("wfe")[-1]["note"]
    assert note == "WorkflowExecution cleanup completed (phase: Failed)"


def test_deletion_while_waiting(executions: Executions, trails: Trails) -> None:
    target = executions.target()
    executions.create("first", target=target)
    executions.wait_phase("first", "Running")
    executions.succeed(target)
    executions.wait_phase("first", "Completed")
    executions.create(target=target, finalizers=[KEPT])
    executions.wait("wfe", lambda seen: seen.get("status", {}).get("phase") == "Pending", 5, "")
    executions.delete()
    last = let_go(executions)
    assert_cancelled(last, acted=False)
    assert "startTime" not in last["status"]
    assert "executionRef" not in last["status"]
    assert_trail(trails, last, ["selection.completed", "cancel.requested", "workflow.failed"])
    assert executions.child(target) is not None, "it is the first one's"


def test_finalizer_is_there_until_the_deletion(executions: Executions, trails: Trails) -> None:
    target = executions.target()
    executions.create(target=target, finalizers=[KEPT])
    executions.wait_phase("wfe", "Running", 10)
    assert executions.get()["metadata"]["finalizers"] == [KEPT, FINALIZER]
    executions.succeed(target)
    before = executions.wait_phase("wfe", "Completed")
    executions.delete()
    last = let_go(executions)
    assert executions.child(target) is None, "a deletion waits for no cooldown"
    names = before.keys() - {"conditions"}
    assert {name: last["status"][name] for name in names} == {name: before[name] for name in names}
    assert_trail(trails, last, COMPLETED)


def test_deletion_while_the_operator_is_down(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    operator = start_operator()
    one.create(finalizers=[KEPT])
    one.wait_phase("wfe", "Running", 10)
    assert one.get()["metadata"]["finalizers"] == [KEPT, FINALIZER]
    assert operator.stop() == 0
    one.delete()
    deleted = one.get()
    assert deleted["status"]["phase"] == "Running"
    assert one.child(one.target("wfe")) is not None
    start_operator()
    last = let_go(one)
    assert one.child(one.target("wfe")) is None
    assert_cancelled(last, acted=False)
    assert last["metadata"]["deletionTimestamp"] == deleted["metadata"]["deletionTimestamp"]
    assert_trail(trails, last, CANCELLED)


def test_deletion_waits_for_the_trail(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    operator = start_operator(
        execution={"cooldown_period": 1}, datastorage="http://127.0.0.1:1", wait=True
    )
    one.create(finalizers=[KEPT])
    one.wait_phase("wfe", "Running", 10)
    one.delete()
    one.wait_no_child(one.target("wfe"), timeout=15)
    # Meanwhile another goes from its creation to the release of its lock.
    one.create("other")
    one.wait_phase("other", "Running")
    one.succeed(one.target("other"))
    one.wait_phase("other", "Completed")
    one.wait_condition("other", "LockReleased")
    waiting = one.get()
    assert waiting["metadata"]["finalizers"] == [KEPT, FINALIZER]
    since = one.wait_condition("wfe", "AuditRecorded", "False")
    assert since["reason"] == "AuditPending"
    assert since["message"].startswith("Audit events are not acknowledged by DataStorage since 2")
    assert operator.stop() == 0
    start_operator()
    last = let_go(one)
    assert last["status"]["failureDetails"] == waiting["status"]["failureDetails"]
    assert_trail(trails, last, CANCELLED)
    one.wait_condition("other", "AuditRecorded")
    assert_trail(trails, one.get("other"), COMPLETED)


@pytest.mark.parametrize("target", ["node/{}", "{}/deployment/one"])
def test_valid_spec_is_accepted(executions: Executions, trails: Trails, target: str) -> None:
    at = target.format(executions.namespace)
    # Nothing but what is required, under the older name; that says the engine too.
    reference = {
        "workflowName": None,
        "actionType": None,
        "executionBundle": None,
        "containerImage": "registry.example/workflows/drain:2.0.0",
    }
    executions.create(target=at, engine=None, workflow=reference, parameters=None)
    executions.wait_phase("wfe", "Running", 10)
    start = datetime.fromisoformat(executions.status()["startTime"])
    end = f"{start + timedelta(seconds=150):%Y-%m-%dT%H:%M:%SZ}"
    executions.succeed(at, completionTime=end)
    status = executions.wait_phase("wfe", "Completed", 10)
    assert (status["completionTime"], status["duration"]) == (end, "2m30s")
    assert_trail(trails, executions.get(), COMPLETED)


def test_failed_is_terminal(executions: Executions, trails: Trails) -> None:
    target = executions.target()
    executions.create(target=target)
    executions.wait_phase("wfe", "Running")
    executions.fail(target)
    executions.wait_phase("wfe", "Failed")
    executions.wait_condition("wfe", "AuditRecorded")
    before = executions.get()
    executions.succeed(target)  # A PipelineRun that changes its mind changes nothing.
    executions.create("other")
    executions.wait_phase("other", "Running")
    after = executions.get()
    assert after["status"] == before["status"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert_trail(trails, after, FAILED)


def test_every_change_of_the_phase_is_a_line_of_the_log(
    executions: Executions, operator: OperatorProcess
) -> None:
    executions.create("wfe")
    executions.wait_phase("wfe", "Running")
    executions.fail(executions.target("wfe"))
    executions.wait_phase("wfe", "Failed")
    key = f"{executions.namespace}/wfe"

    def told() -> list[Object]:
        return [line for line in operator.log_lines() if line.get("workflow_execution") == key]

    wait_for(lambda: len(told()) == 2, 10, "two lines")
    running, failed = told()
    assert (running["phase"], running["reason"]) == ("Running", None)
    assert (failed["phase"], failed["reason"]) == ("Failed", "TaskFailed")
    for line in (running, failed):
        assert line["target_resource"] == executions.target("wfe")
        assert line["correlation_id"] == f"rr-{executions.namespace}-wfe"
