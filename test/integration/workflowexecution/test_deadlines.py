"""What the operator does by the clock: a run out of time, a run that is stuck, a trail that waits.

`timesOutAt` holds for every engine and for a run that waits to start; a run without progress is
called stalled; and a deletion waits for its audit trail only so long, which is audited.
"""

from datetime import UTC, datetime, timedelta

import pytest

from test.datastorage_service import DataStorageProcess
from test.operator_process import StartOperator
from test.polling import wait_for
from test.workflow_executions import FAILED, STARTED, Executions, Object, Trails


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """A time as the API writes it."""
    return datetime.fromisoformat(text)


# Deadlines


@pytest.fixture
def strict(own_executions: Executions, start_operator: StartOperator) -> Executions:
    """With an operator that gives an engine a second to end a run by itself."""
    start_operator(execution={"deadline_grace": 1, "cooldown_period": 20})
    return own_executions


def test_tekton_is_told_the_deadline(executions: Executions) -> None:
    executions.create(timesOutAt=soon(300))
    run = executions.wait_child(executions.target("wfe"))
    given = run["spec"]["timeouts"]["pipeline"]
    assert given.endswith("s")
    assert 285 <= int(given.removesuffix("s")) <= 300
    executions.create("endless")
    assert "timeouts" not in executions.wait_child(executions.target("endless"))["spec"]


def test_a_run_that_tekton_does_not_end_is_ended(strict: Executions, trails: Trails) -> None:
    end = soon(3)
    target = strict.begin(timesOutAt=end)
    status = strict.wait_phase("wfe", "Failed")
    details = status["failureDetails"]
    assert details["reason"] == "DeadlineExceeded"
    assert details["wasExecutionFailure"] is True
    assert end in details["message"]
    assert moment(status["completionTime"]) >= moment(end) + timedelta(seconds=1)
    assert strict.wait_child(target)["spec"]["status"] == "Cancelled"
    complete = strict.condition("wfe", "ExecutionComplete")
    assert complete is not None
    assert (complete["status"], complete["reason"]) == ("False", "DeadlineExceeded")
    told = trails.wait_types(f"rr-{strict.namespace}-wfe", FAILED)[-1]
    assert told["event_data"]["failure_reason"] == "DeadlineExceeded"


def test_a_run_that_waits_past_its_deadline_is_ended(strict: Executions, trails: Trails) -> None:
    target = strict.begin("first")
    strict.succeed(target)
    first = strict.wait_phase("first", "Completed")
    end = soon(3)
    strict.create("waiting", target=target, timesOutAt=end)
    status = strict.wait_phase("waiting", "Failed")
    details = status["failureDetails"]
    assert details["reason"] == "DeadlineExceeded"
    assert details.get("wasExecutionFailure", False) is False
    assert end in details["message"]
    assert moment(end) <= moment(status["completionTime"])
    released = moment(first["completionTime"]) + timedelta(seconds=20)
    assert moment(status["completionTime"]) < released, "too slow to tell"
    assert "startTime" not in status
    trails.wait_types(f"rr-{strict.namespace}-waiting", ["selection.completed", "workflow.failed"])


# Stuck


def events_of(executions: Executions, name: str, reason: str) -> list[Object]:
    return [one for one in executions.events(name) if one["reason"] == reason]


def stalled(executions: Executions, status: str) -> Object:
    return executions.wait_condition("wfe", "Stalled", status, 15)


def test_a_run_without_progress_is_called_stalled_until_it_has_some(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    one = own_executions
    operator = start_operator(execution={"stalled_after": 2})
    target = one.begin()
    message = stalled(one, "True")["message"]
    assert f"PipelineRun {one.execution_namespace}/" in message
    assert "0 of 2 tasks done" in message
    assert "Tasks Completed: 0 (Failed: 0, Cancelled 0), Incomplete: 2" in message
    wait_for(lambda: events_of(one, "wfe", "ExecutionStalled"), 10, "an Event")
    assert events_of(one, "wfe", "ExecutionStalled")[0]["type"] == "Warning"
    assert operator.metric("workflowexecution_stalled") == 1
    assert one.status()["phase"] == "Running"
    one.tell_tasks(target, done=1)
    assert stalled(one, "False")["reason"] == "Progressing"
    assert one.status()["executionStatus"]["completedTasks"] == 1
    assert "1 of 2 tasks done" in stalled(one, "True")["message"]
    one.succeed(target)
    one.wait_phase("wfe", "Completed")
    assert stalled(one, "False")["message"] == "The run has ended"
    wait_for(lambda: operator.metric("workflowexecution_stalled") == 0, 10, "none is stalled")


# A deletion that does not wait for ever


def test_a_deletion_waits_so_long_for_its_trail_and_says_so(
    own_executions: Executions, start_operator: StartOperator, service: DataStorageProcess
) -> None:
    one, trails = own_executions, Trails(service)
    operator = start_operator(
        execution={"trail_timeout": 2, "cooldown_period": 1}, datastorage=service.url
    )
    target = one.begin()
    trails.wait_types(f"rr-{one.namespace}-wfe", STARTED)
    service.kill()
    one.delete()
    deleted = moment(one.get()["metadata"]["deletionTimestamp"])
    one.wait_no_child(target)
    assert one.exists(), "it waits for its trail"
    wait_for(lambda: not one.exists(), 20, "it waits no longer")
    assert operator.is_running
    service.start()
    *_, failed, bypassed = trails.wait_types(
        f"rr-{one.namespace}-wfe",
        [*STARTED, "cancel.requested", "workflow.failed", "finalizer.bypassed"],
        60,
    )
    assert failed["event_data"]["failure_reason"] == "Unknown"
    assert moment(failed["event_timestamp"]) == deleted
    assert bypassed["event_data"]["waited_seconds"] == 2
    assert bypassed["event_outcome"] == "failure"
    wait_for(
        lambda: operator.metric("audit_buffer_size", service="workflowexecution") == 0,
        20,
        "nothing is left in the journal",
    )
