"""The external deletion cases of the report (catalogue 2.8): who deletes a run from outside.

"Stays Failed" is shown by the object's next transition, the release of its lock: nothing but that
has changed by then.
"""

from test.workflow_executions import FAILED, Executions, Object, Trails


def assert_deleted_externally(status: Object) -> None:
    details = status["failureDetails"]
    assert details["message"] == "PipelineRun was deleted externally"
    assert details["reason"] == "Unknown"
    assert details.get("wasExecutionFailure", False) is False
    assert status["startTime"] <= status["completionTime"]


def test_deletion_while_running_is_failed_and_stays_failed(
    quick: Executions, trails: Trails
) -> None:
    target = quick.begin()
    quick.delete_child(target)
    status = quick.wait_phase("wfe", "Failed", 30)
    assert_deleted_externally(status)
    released = quick.wait_condition("wfe", "LockReleased")
    assert released["lastTransitionTime"] > status["completionTime"]
    after = quick.status()
    assert {name: after[name] for name in status if name != "conditions"} == {
        name: status[name] for name in status if name != "conditions"
    }
    assert quick.child(target) is None, "it is not made again"
    trails.wait_types(f"rr-{quick.namespace}-wfe", FAILED)


def test_deletion_while_running_is_audited(executions: Executions, trails: Trails) -> None:
    target = executions.begin()
    executions.delete_child(target)
    executions.wait_phase("wfe", "Failed", 30)
    executions.wait_condition("wfe", "AuditRecorded")
    told = trails.wait_types(f"rr-{executions.namespace}-wfe", FAILED)[-1]
    assert told["event_data"]["failure_reason"] == "Unknown"
    assert "deleted" in told["event_data"]["failure_message"]


def test_deletion_right_after_creation_is_failed(executions: Executions) -> None:
    target = executions.target()
    executions.create(target=target)
    executions.wait_child(target)
    executions.delete_child(target)
    assert_deleted_externally(executions.wait_phase("wfe", "Failed", 30))


def test_the_reference_is_kept_after_detection(executions: Executions) -> None:
    target = executions.begin()
    name = executions.status()["pipelineRunRef"]["name"]
    executions.delete_child(target)
    status = executions.wait_phase("wfe", "Failed", 30)
    assert_deleted_externally(status)
    assert status["pipelineRunRef"]["name"] == name
    assert status["executionRef"]["name"] == name


def test_normal_completion_is_not_taken_for_deletion(quick: Executions) -> None:
    target = quick.begin()
    quick.succeed(target)
    status = quick.wait_phase("wfe", "Completed", 30)
    assert "failureDetails" not in status
    # The operator deletes the run itself to release the lock.
    quick.wait_condition("wfe", "LockReleased")
    assert quick.child(target) is None
    after = quick.status()
    assert after["phase"] == "Completed"
    assert "failureDetails" not in after
