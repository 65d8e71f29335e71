"""Runs that Tekton executes, as somebody who watches them sees them.

Catalogue 4.1 nos. 3, 4, 6, 7, 8, 9 and 12 on a real Tekton; no. 5 is in `test_tekton_deletion.py`,
the others in `test_tekton.py`.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.real_tekton import (
    of_run,
    patch_run,
    pipeline,
    simulated,
    task,
    wait_step,
)
from test.integration.workflowexecution.watched import Watched
from test.operator_process import OperatorProcess
from test.polling import wait_for
from test.workflow_executions import COMPLETED, FAILED, STARTED, Executions, Object, Trails

HANG: Final = simulated(hang="true")
CANCELLED: Final = [*STARTED, "cancel.requested", "workflow.failed"]
PLAIN: Final = pipeline(task())
SECOND_HANGS: Final = pipeline(task("first"), task("second", runAfter=["first"], pods=HANG))
RECONCILER: Final = "workflowexecution_reconciler_"


def create(executions: Executions, name: str, workflow: Object, **given: Any) -> str:
    """Create a run of a workflow; gives its target."""
    bundle = executions.cluster.push_bundle(f"workflows/{executions.namespace}", [workflow])
    executions.create(name, workflow={"executionBundle": bundle}, **given)
    return executions.target(name)


def counts(wfe: Object) -> tuple[int, int]:
    """How many tasks have succeeded, and how many were started."""
    told = wfe.get("status", {}).get("executionStatus", {})
    return told.get("completedTasks", 0), told.get("totalTasks", 0)


def test_progress_is_told_while_a_task_is_at_work(
    tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    target = create(executions, "wfe", SECOND_HANGS, finalizers=["test.kubernaut.ai/kept"])
    executions.wait("wfe", lambda seen: counts(seen) == (1, 2), 30, "one of two tasks is done")
    status = executions.wait_phase("wfe", "Running")
    told = status["executionStatus"]
    assert (told["status"], told["reason"]) == ("Unknown", "Running")
    assert told["message"].startswith("Tasks Completed: 1 (Failed: 0, Cancelled 0), Incomplete: 1")
    assert status["pipelineRunStatus"] == told
    assert status["executionRef"] == status["pipelineRunRef"] == {"name": lock_name(target)}
    assert status["startTime"] <= status["lastProgressTime"]
    assert "completionTime" not in status
    running = executions.wait_condition("wfe", "ExecutionRunning")
    assert running["reason"] == "ExecutionStarted"
    executions.wait_condition("wfe", "AuditRecorded")
    assert_trail(trails, executions.get(), STARTED)
    # Deleted, it is ended: nothing of it is left at work.
    wait_step(executions, target)
    executions.delete()
    last = executions.wait(
        "wfe",
        lambda seen: seen["metadata"]["finalizers"] == ["test.kubernaut.ai/kept"],
        30,
        "the operator has let it go",
    )
    for plural in ("taskruns", "pods"):
        assert of_run(executions, plural, target) == []
    assert counts(last) == (1, 2)
    assert last["status"]["failureDetails"]["wasExecutionFailure"] is True
    assert_trail(trails, last, CANCELLED)
    path = f"/apis/kubernaut.ai/v1alpha1/namespaces/{executions.namespace}/workflowexecutions/wfe"
    executions.patch(path, {"metadata": {"finalizers": []}})


def test_a_run_that_tekton_holds_back_has_not_begun(
    tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    target = create(executions, "wfe", PLAIN, annotations=simulated(start="PipelineRunPending"))
    executions.wait_phase("wfe", "Running")
    run = executions.wait_child(target)

    def held() -> bool:
        conditions = executions.wait_child(target).get("status", {}).get("conditions", [])
        return [one["reason"] for one in conditions] == ["PipelineRunPending"]

    wait_for(held, 15, "Tekton holds it back")
    executions.create("other", target=target)
    assert executions.wait_phase("other", "Failed")["deduplicatedBy"] == "wfe"
    seen = executions.get()
    assert seen["status"]["phase"] == "Running", "its target is locked"
    assert executions.condition("wfe", "ExecutionRunning") is None, "and nothing is at work"
    assert counts(seen) == (0, 0)
    patch_run(executions, target, {"status": None})
    status = executions.wait_phase("wfe", "Completed", 30)
    assert status["startTime"] == run["metadata"]["creationTimestamp"]
    assert counts(executions.get()) == (1, 1)
    assert_trail(trails, executions.get(), COMPLETED)


def test_tekton_that_is_away_delays_a_run_and_fails_none(
    operated_tekton: LocalCluster,
    tekton_operator: OperatorProcess,
    tekton_executions: Executions,
    trails: Trails,
) -> None:
    executions = tekton_executions
    running = create(executions, "running", PLAIN, annotations=simulated(delay="3s"))
    wait_step(executions, running)
    operated_tekton.tekton.kill()
    try:
        target = create(executions, "waiting", PLAIN)
        # Its webhook is away, so that no PipelineRun can be created.
        wait_for(
            lambda: any(
                executions.namespace in line["event"] and "webhook" in line["event"]
                for line in tekton_operator.log_lines()
            ),
            20,
            "the operator says why",
        )
        assert executions.child(target) is None
        assert executions.status("waiting").get("phase", "Pending") == "Pending"
        assert executions.status("running")["phase"] == "Running"
    finally:
        operated_tekton.tekton.restart()
    for name in ("running", "waiting"):
        executions.wait_phase(name, "Completed", 60)
        assert_trail(trails, executions.get(name), COMPLETED)


def test_a_cancelled_run_is_ended_although_somebody_lets_its_tasks_finish(
    tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    target = create(executions, "wfe", PLAIN, annotations=HANG)
    wait_step(executions, target)
    patch_run(executions, target, {"status": "StoppedRunFinally"})

    def heeded() -> bool:
        (condition,) = executions.wait_child(target)["status"]["conditions"]
        return bool(condition["reason"] == "StoppedRunningFinally")

    wait_for(heeded, 15, "no other task will start")
    assert executions.status()["phase"] == "Running", "the one that runs goes on"
    with Watched(executions, "pipelineruns") as seen:
        executions.annotate("wfe", {"kubernaut.ai/cancel": "wrong cluster"})
        status = executions.wait_phase("wfe", "Failed")
        executions.wait_no_child(target)
    assert status["failureDetails"]["message"] == "Cancelled: wrong cluster"
    asked = [
        state["spec"]["status"]
        for state in seen.states()
        if state["metadata"]["name"] == lock_name(target)
    ]
    assert "Cancelled" in asked, "it is ended at once, and not when its target is released"
    assert_trail(trails, executions.get(), CANCELLED)


def test_4_1_3_somebody_writes_failed(
    tekton_operator: OperatorProcess, tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    target = create(executions, "wfe", PLAIN, annotations=HANG)
    executions.wait_phase("wfe", "Running")
    wait_step(executions, target)
    executions.patch_status("wfe", {"phase": "Failed"})
    released = executions.wait_condition("wfe", "LockReleased")
    # It stays Failed, gets the end that it lacked, and what ran it is ended.
    status = executions.status()
    assert status["phase"] == "Failed"
    assert status["startTime"] <= status["completionTime"] <= released["lastTransitionTime"]
    assert of_run(executions, "pods", target) == []
    assert executions.child(target) is None
    *_, failed = trails.wait_types(f"rr-{executions.namespace}-wfe", FAILED)
    assert failed["event_data"]["failure_reason"] == "Unknown"
    assert tekton_operator.is_running


def numbers(operator: OperatorProcess) -> dict[str, float]:
    """The counts that a run moves."""
    found = {"created": operator.metric(f"{RECONCILER}pipelinerun_creations_total")}
    for outcome in ("Completed", "Failed"):
        found[outcome] = operator.metric(f"{RECONCILER}total", outcome=outcome)
        name = f"{RECONCILER}duration_seconds_count"
        found[f"{outcome} durations"] = operator.metric(name, outcome=outcome)
    return found


def test_4_1_4_4_1_6_to_4_1_9_what_people_and_machines_are_told(
    tekton_operator: OperatorProcess, tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    before = numbers(tekton_operator)
    create(executions, "good", PLAIN)
    none = f"{executions.cluster.registry}/workflows/none:1"
    executions.create("bad", workflow={"executionBundle": none})
    good = executions.wait_phase("good", "Completed", 30)
    bad = executions.wait_phase("bad", "Failed", 30)
    started, ended = (datetime.fromisoformat(good[one]) for one in ("startTime", "completionTime"))
    assert good["duration"] == f"{int((ended - started).total_seconds())}s"

    def moved() -> bool:
        after = numbers(tekton_operator)
        return {name: after[name] - before[name] for name in after} == {
            "created": 2,
            "Completed": 1,
            "Completed durations": 1,
            "Failed": 1,
            "Failed durations": 1,
        }

    wait_for(moved, 10, "each is counted once")
    told = ["WorkflowValidated", "ExecutionCreated", "PhaseTransition"]
    for name, end in (("good", "WorkflowCompleted"), ("bad", "WorkflowFailed")):
        executions.wait_condition(name, "LockReleased")
        whole = [*told, end, "PhaseTransition", "LockReleased"]
        wait_for(partial(is_told, executions, name, whole), 10, f"the Events of {name}")
    notes = {one["reason"]: one["note"] for one in executions.events("bad")}
    assert notes["WorkflowFailed"].endswith(
        f"ImagePullBackOff - {bad['failureDetails']['message']}"
    )
    assert_trail(trails, executions.get("good"), COMPLETED)
    assert_trail(trails, executions.get("bad"), FAILED)


def is_told(executions: Executions, name: str, reasons: Sequence[str]) -> bool:
    return executions.reasons(name) == reasons
