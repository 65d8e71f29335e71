"""Tekton executes the runs: what it says of each way to end, and what the operator makes of it.

One row for each that a run of ours can meet. All are created together, then each is checked.

Catalogue 4.1 nos. 1, 2, 10, 11 and 12 for each of them, and 2.9 on a real Tekton.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.tekton_rows import LICENCE, ROWS, WORKFLOWS, Row
from test.operator_process import OperatorProcess
from test.workflow_executions import Executions, Object, Trails, new_executions


@pytest.fixture(scope="module")
def runs(operated_tekton: LocalCluster, tekton_operator: OperatorProcess) -> Executions:
    """All of them; what somebody does to a run that is running is done."""
    assert tekton_operator.is_running, tekton_operator.log()[-4000:]
    executions = new_executions(operated_tekton)
    forbid_licences(executions)
    bundles = {
        name: operated_tekton.push_bundle(f"workflows/{name}", [workflow])
        for name, workflow in WORKFLOWS.items()
    }
    timed = [name for name, row in ROWS.items() if row.tekton == "PipelineRunTimeout"]
    for name in timed:
        create(executions, name, bundles)
    for name in timed:
        executions.wait(name, partial(has_tasks, ROWS[name].tasks[1]), 30, "its last task is there")
    for name in ROWS:
        if name not in timed:
            create(executions, name, bundles)
    for name, row in reversed(ROWS.items()):
        if row.meddle is not None:
            row.meddle(executions, name)
    return executions


def create(executions: Executions, name: str, bundles: Mapping[str, str]) -> None:
    row = ROWS[name]
    bundle = row.workflow.format(registry=executions.cluster.registry)
    executions.create(
        name,
        annotations=row.pods,
        workflow={"executionBundle": bundles.get(row.workflow, bundle), **row.reference},
        timesOutAt=soon(row.seconds) if row.seconds else None,
    )


def has_tasks(count: int, wfe: Object) -> bool:
    return bool(wfe.get("status", {}).get("executionStatus", {}).get("totalTasks") == count)


def forbid_licences(executions: Executions) -> None:
    """A quota of the execution namespace; the control plane runs no controller that counts."""
    path = f"/api/v1/namespaces/{executions.execution_namespace}/resourcequotas"
    hard = {f"requests.{LICENCE}": "0"}
    body = {"metadata": {"name": "licences"}, "spec": {"hard": hard}}
    answer = executions.cluster.api("POST", path, body)
    assert answer.status == 201, answer
    executions.patch(f"{path}/licences/status", {"status": {"hard": hard, "used": hard}})


def soon(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("name", ROWS)
def test_a_run_ends_as_tekton_ends_it(runs: Executions, trails: Trails, name: str) -> None:
    row, target = ROWS[name], runs.target(name)
    status = runs.wait_phase(name, "Failed" if row.reason else "Completed", 60)
    told = status["executionStatus"]
    assert told["reason"] in row.tekton.split("|")
    assert (told.get("completedTasks", 0), told.get("totalTasks", 0)) == row.tasks
    assert status["executionRef"] == status["pipelineRunRef"] == {"name": lock_name(target)}
    if row.reason:
        assert_failed(status, row, target)
    else:
        assert told["status"] == "True"
        assert "failureDetails" not in status
    runs.wait_condition(name, "AuditRecorded")
    assert_conditions(runs.get(name), row)
    assert_trail(trails, runs.get(name), row.trail)


def assert_failed(status: Object, row: Row, target: str) -> None:
    """What people are told of a failure, and what decides whether it may be tried again."""
    details = status["failureDetails"]
    missing = [part for part in row.said if part not in details["message"]]
    assert not missing, details["message"]
    assert details["reason"] == status["failureReason"] == row.reason
    assert details.get("wasExecutionFailure", False) is row.acted
    task_name, index, step, code = row.blamed
    assert details["failedTaskName"] == (f"{lock_name(target)}-{task_name}" if task_name else "")
    assert details["failedTaskIndex"] == index
    assert details.get("failedStepName", "") == step
    assert details.get("exitCode") == code
    lines = details["naturalLanguageSummary"].splitlines()
    assert lines[0] == f"Workflow 'restart-deployment' failed on target '{target}'."
    assert lines[1] == f"Reason: {row.reason}"
    assert lines[2] == f"Error: {details['message']}"
    assert lines[-1].startswith("Recommendation: ")


def assert_conditions(wfe: Object, row: Row) -> None:
    """Those of an end; that it was seen running is told only where it had a task."""
    found = {one["type"]: (one["status"], one["reason"]) for one in wfe["status"]["conditions"]}
    assert found["ExecutionCreated"] == ("True", "ExecutionCreated")
    assert found["AuditRecorded"] == ("True", "AuditSucceeded")
    if row.reason:
        same = row.reason in ("TaskFailed", "DeadlineExceeded", "OOMKilled")
        reason = row.reason if same else "ExecutionFailed"
        assert found["ExecutionComplete"] == ("False", reason)
        assert found["Ready"] == ("False", "NotReady")
    else:
        assert found["ExecutionComplete"] == ("True", "ExecutionSucceeded")
        assert found["Ready"] == ("True", "Ready")
    if row.tasks[1] == 0:
        assert "ExecutionRunning" not in found
