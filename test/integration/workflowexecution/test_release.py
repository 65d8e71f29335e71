"""Release of a target, and metrics: the report's reconciler cases (catalogue 2.1, nos. 19 to 24).

Each test has an operator of its own: a short cooldown, and counts that begin at zero.
"""

from datetime import UTC, datetime, timedelta

from test.integration.workflowexecution.expected_trail import assert_trail, seconds_between
from test.operator_process import OperatorProcess, StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, Executions, Trails

RECONCILER = "workflowexecution_reconciler_"
COOLDOWN = 3


def completed(executions: Executions, target: str) -> None:
    executions.create(target=target)
    executions.wait_phase("wfe", "Running")
    executions.succeed(target)
    executions.wait_phase("wfe", "Completed")


def test_the_lock_is_released_after_the_cooldown_and_not_before(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    start_operator(execution={"cooldown_period": COOLDOWN})
    target = one.target()
    completed(one, target)
    status = one.status()
    uid = one.wait_child(target, timeout=10)["metadata"]["uid"]

    def gone() -> bool:
        """Whether the PipelineRun is; while it is not, it is this one and nothing is released."""
        released = one.condition("wfe", "LockReleased")
        child = one.child(target)
        if child is not None:
            assert child["metadata"]["uid"] == uid
        assert child is None or released is None, "released with the PipelineRun still there"
        return child is None

    wait_for(gone, 45, "the PipelineRun is gone")
    seen = datetime.now(UTC)
    ends = datetime.fromisoformat(status["completionTime"]) + timedelta(seconds=COOLDOWN)
    assert seen >= ends, "and not earlier"
    released = one.wait_condition("wfe", "LockReleased")
    assert released["reason"] == "CooldownElapsed"
    assert released["message"] == f"Lock released for {target} after cooldown"
    assert seconds_between(status["completionTime"], released["lastTransitionTime"]) >= COOLDOWN
    wait_for(lambda: one.reasons("wfe").count("LockReleased") == 1, 10, "the Event, once")
    (event,) = (found for found in one.events("wfe") if found["reason"] == "LockReleased")
    assert (event["type"], event["note"]) == ("Normal", released["message"])
    now = one.status()
    names = status.keys() - {"conditions"}
    assert {name: now[name] for name in names} == {name: status[name] for name in names}
    assert_trail(trails, one.get(), COMPLETED)
    # And so the target is free at once.
    one.create("second", target=target)
    one.wait_phase("second", "Running", 5)
    assert one.wait_child(target)["metadata"]["uid"] != uid
    assert "CooldownActive" not in one.reasons("second")


def histogram(operator: OperatorProcess, outcome: str) -> dict[str, float]:
    """Count, sum and the buckets around a minute of the durations."""
    name = f"{RECONCILER}duration_seconds"
    return {
        "count": operator.metric(f"{name}_count", outcome=outcome),
        "sum": operator.metric(f"{name}_sum", outcome=outcome),
        "40": operator.metric(f"{name}_bucket", outcome=outcome, le="40.0"),
        "80": operator.metric(f"{name}_bucket", outcome=outcome, le="80.0"),
    }


def test_metrics_count_what_happened(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    one = own_executions
    operator = start_operator()
    nothing = {"count": 0.0, "sum": 0.0, "40": 0.0, "80": 0.0}
    assert histogram(operator, "Completed") == histogram(operator, "Failed") == nothing
    creations = f"{RECONCILER}pipelinerun_creations_total"
    for count, name in enumerate(("good", "bad"), start=1):
        assert operator.metric(creations) == count - 1
        one.create(name)
        one.wait_phase(name, "Running", 15)
        assert operator.metric(creations) == count
    assert operator.metric(f"{RECONCILER}execution_creations_total", engine="tekton") == 2
    for name, seconds in (("good", 60), ("bad", 5)):
        start = datetime.fromisoformat(one.status(name)["startTime"])
        end = f"{start + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
        if name == "good":
            one.succeed(one.target(name), completionTime=end)
        else:
            one.fail(one.target(name), completionTime=end)
    one.wait_phase("good", "Completed")
    one.wait_phase("bad", "Failed")
    one.create("wrong", workflow={"executionBundle": ""})
    one.wait_phase("wrong", "Failed")
    one.create("loser", target=one.target("good"), workflow={"executionBundle": ""})
    one.wait_phase("loser", "Failed")
    total = f"{RECONCILER}total"
    wait_for(lambda: operator.metric(total, outcome="Failed") == 3, 5, "three have failed")
    assert operator.metric(total, outcome="Completed") == 1
    assert histogram(operator, "Completed") == {"count": 1, "sum": 60, "40": 0, "80": 1}
    # What never started took no time.
    assert histogram(operator, "Failed") == {"count": 3, "sum": 5, "40": 3, "80": 3}
    assert operator.metric(creations) == 2
