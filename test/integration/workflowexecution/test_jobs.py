"""The life of a run of the engine `job` (catalogue 3.2: 014-001 to 014-017, 019-003, 374).

The Job controller is the real one, and the pods are kwok's (`job_pods.py`). What is wrong with a
run is in `test_job_failures.py`, and what a Job looks like in `test_job_spec.py`.
"""

import hashlib
from datetime import datetime, timedelta

from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.job_pods import begin_job, end_pod, pods_of, wait_pod
from test.polling import wait_for
from test.workflow_executions import (
    COMPLETED,
    FAILED,
    STARTED,
    Executions,
    Object,
    Trails,
    now_text,
)

CANCEL = "kubernaut.ai/cancel"
CANCELLED = [*STARTED, "cancel.requested", "workflow.failed"]
FINALIZER = "workflowexecution.kubernaut.ai/workflowexecution-cleanup"
DEDUPLICATED = ["selection.completed", "workflow.failed"]


def children(executions: Executions, plural: str, uid: str) -> list[Object]:
    """What runs a WorkflowExecution: children of a kind that carry its uid."""
    selector = f"?labelSelector=kubernaut.ai/workflow-execution-uid={uid}"
    answer = executions.cluster.api("GET", executions.child_path(plural) + selector)
    assert answer.status == 200, answer
    return list(answer.body["items"])


def counts(status: Object) -> tuple[str, int, int]:
    """What the engine tells of a run: the state, and how many of how many tasks are done."""
    told = status["executionStatus"]
    return told["status"], told.get("completedTasks", 0), told["totalTasks"]


def test_014_001_014_012_a_job_runs_and_completes(executions: Executions, trails: Trails) -> None:
    target = begin_job(executions)
    job = executions.wait_child(target, "jobs")
    wfe = executions.get()
    assert wfe["status"]["executionRef"] == {"name": job["metadata"]["name"]}
    assert wfe["status"]["startTime"] == job["metadata"]["creationTimestamp"]
    assert counts(wfe["status"]) == ("Unknown", 0, 1)
    assert_trail(trails, wfe, STARTED)
    end_pod(executions, target)
    status = executions.wait_phase("wfe", "Completed")
    assert "failureDetails" not in status
    assert "failureReason" not in status
    assert status["executionRef"] == {"name": job["metadata"]["name"]}
    assert counts(status) == ("True", 1, 1)
    ended = executions.wait_child(target, "jobs")["status"]["completionTime"]
    assert status["completionTime"] == ended
    assert "pipelineRunRef" not in status, "that is Tekton's"
    executions.wait_condition("wfe", "AuditRecorded")
    assert_trail(trails, executions.get(), COMPLETED)


def test_014_005_014_006_there_is_one_job_whose_name_follows_from_the_target(
    executions: Executions,
) -> None:
    target = begin_job(executions)
    uid = executions.get()["metadata"]["uid"]
    (job,) = children(executions, "jobs", uid)
    assert children(executions, "pipelineruns", uid) == []
    digest = hashlib.sha256(target.encode()).hexdigest()[:16]
    assert job["metadata"]["name"] == f"wfe-{digest}"
    assert len(pods_of(executions, target)) == 1


def test_014_013_014_014_019_003_five_conditions_and_one_event_of_each_type(
    executions: Executions, trails: Trails
) -> None:
    target = begin_job(executions)
    created = executions.wait_condition("wfe", "ExecutionCreated")
    child = executions.status()["executionRef"]["name"]
    assert child in created["message"]
    assert executions.condition("wfe", "ExecutionComplete") is None
    for turn in range(3):  # The watch tells each time of a Job that is still active.
        touched = {"metadata": {"annotations": {"example.com/touched": str(turn)}}}
        executions.patch(executions.child_path("jobs", child), touched)
    end_pod(executions, target)
    executions.wait_phase("wfe", "Completed")
    executions.wait_condition("wfe", "AuditRecorded")
    found = {one["type"]: one["status"] for one in executions.status()["conditions"]}
    assert found == dict.fromkeys(
        ("ExecutionCreated", "ExecutionRunning", "ExecutionComplete", "AuditRecorded", "Ready"),
        "True",
    )
    assert_trail(trails, executions.get(), COMPLETED)


# Ended from outside


def test_014_004_a_deletion_leaves_nothing(executions: Executions, trails: Trails) -> None:
    target = begin_job(executions)
    wfe = executions.get()
    assert FINALIZER in wfe["metadata"]["finalizers"]
    executions.delete()
    wait_for(lambda: not executions.exists(), 15, "the WorkflowExecution is gone")
    assert children(executions, "jobs", wfe["metadata"]["uid"]) == []
    assert executions.child(target, "jobs") is None
    assert pods_of(executions, target) == []
    *_, failed = trails.wait_types(f"rr-{executions.namespace}-wfe", CANCELLED)
    assert failed["event_data"]["failure_reason"] == "Unknown"


def test_014_010_014_011_a_job_that_somebody_deletes(quick: Executions, trails: Trails) -> None:
    targets = {policy: begin_job(quick, policy.lower()) for policy in ("Background", "Orphan")}
    for policy, target in targets.items():
        path = quick.child_path("jobs", lock_name(target))
        answer = quick.cluster.api("DELETE", path, {"propagationPolicy": policy})
        assert answer.status == 200, answer
    failed = {policy: quick.wait_phase(policy.lower(), "Failed", 30) for policy in targets}
    for policy, status in failed.items():
        details = status["failureDetails"]
        assert details["message"] == "Job was deleted externally"
        assert details["reason"] == "Unknown"
        assert details.get("wasExecutionFailure", False) is False
        quick.wait_condition(policy.lower(), "AuditRecorded")
    # They stay Failed: the next change is the release of the lock, when the pods are gone.
    quick.wait_condition("background", "LockReleased")
    assert pods_of(quick, targets["Background"]) == []
    assert quick.condition("orphan", "LockReleased") is None, "its pod is still at work"
    before = now_text()
    pod = end_pod(quick, targets["Orphan"])
    released = quick.wait_condition("orphan", "LockReleased")
    assert released["lastTransitionTime"] >= before
    assert [one["metadata"]["name"] for one in pods_of(quick, targets["Orphan"])] == [pod]
    for policy, status in failed.items():
        assert quick.child(targets[policy], "jobs") is None, "it is not made again"
        after = quick.status(policy.lower())
        assert {name: after[name] for name in status if name != "conditions"} == {
            name: status[name] for name in status if name != "conditions"
        }
        assert_trail(trails, quick.get(policy.lower()), FAILED)


def test_cancel_suspends_the_job_and_ends_its_pod(executions: Executions, trails: Trails) -> None:
    target = begin_job(executions)
    executions.annotate("wfe", {CANCEL: "wrong cluster"})
    status = executions.wait_phase("wfe", "Failed")
    details = status["failureDetails"]
    assert (details["reason"], details["message"]) == ("Unknown", "Cancelled: wrong cluster")
    assert details["wasExecutionFailure"] is True, "its pod ran"
    assert executions.wait_child(target, "jobs")["spec"]["suspend"] is True
    wait_for(lambda: not pods_of(executions, target), 15, "its pod is gone")
    executions.wait_condition("wfe", "AuditRecorded")
    assert_trail(trails, executions.get(), CANCELLED)


def test_cancel_of_a_job_that_never_had_a_pod(executions: Executions, trails: Trails) -> None:
    # Its pods are refused, for want of the service account that they are to run as.
    executions.create(engine="job", workflow={"serviceAccountName": "missing"})
    executions.wait_phase("wfe", "Running")
    executions.annotate("wfe", {CANCEL: "it will never run"})
    details = executions.wait_phase("wfe", "Failed")["failureDetails"]
    assert details["message"] == "Cancelled: it will never run"
    assert details.get("wasExecutionFailure", False) is False
    assert_trail(trails, executions.get(), CANCELLED)


# Two on one target


def test_014_016_014_017_374_002_a_busy_target(executions: Executions, trails: Trails) -> None:
    target = executions.target()
    begin_job(executions, "first", target=target)
    uid = executions.wait_child(target, "jobs")["metadata"]["uid"]
    executions.create("second", target=target, engine="job")
    status = executions.wait_phase("second", "Failed")
    assert status["deduplicatedBy"] == "first"
    details = status["failureDetails"]
    assert details["reason"] == "Deduplicated"
    assert details["message"] == (
        "Execution resource already exists, owned by WorkflowExecution first"
    )
    assert details.get("wasExecutionFailure", False) is False
    assert "executionRef" not in status
    assert executions.status("first")["phase"] == "Running"
    assert executions.wait_child(target, "jobs")["metadata"]["uid"] == uid
    assert len(pods_of(executions, target)) == 1
    end_pod(executions, target)
    executions.wait_phase("first", "Completed")
    assert_trail(trails, executions.get("first"), COMPLETED)
    assert_trail(trails, executions.get("second"), DEDUPLICATED)


def test_374_001_the_next_run_gets_a_job_of_the_same_name(
    quick: Executions, trails: Trails
) -> None:
    target = quick.target()
    begin_job(quick, "first", target=target)
    job = quick.wait_child(target, "jobs")["metadata"]
    old_pod = end_pod(quick, target)
    first = quick.wait_phase("first", "Completed")
    quick.create("second", target=target, engine="job")
    second = quick.wait_phase("second", "Running", 30)
    again = quick.wait_child(target, "jobs")["metadata"]
    assert again["name"] == job["name"]
    assert again["uid"] != job["uid"]
    assert again["labels"]["kubernaut.ai/workflow-execution"] == "second"
    uid = quick.get("second")["metadata"]["uid"]
    assert again["labels"]["kubernaut.ai/workflow-execution-uid"] == uid
    released = datetime.fromisoformat(first["completionTime"]) + timedelta(seconds=1)
    assert datetime.fromisoformat(second["startTime"]) >= released
    assert wait_pod(quick, target, "Succeeded")["metadata"]["name"] != old_pod
    quick.wait_phase("second", "Completed")
    for name in ("first", "second"):
        assert_trail(trails, quick.get(name), COMPLETED)
