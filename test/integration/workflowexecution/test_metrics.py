"""The metrics cases of the report (catalogue 2.11), and one count for one end (3.4).

Each test has an operator of its own, so that the numbers are exact.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from test.operator_process import OperatorProcess, StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, FAILED, Executions, Object, Trails, now_text

TOTAL: Final = "workflowexecution_reconciler_total"
DURATION: Final = "workflowexecution_reconciler_duration_seconds"
CREATIONS: Final = "workflowexecution_reconciler_pipelinerun_creations_total"
OUTCOMES: Final = ("Completed", "Failed")


@pytest.fixture
def counting(start_operator: StartOperator) -> OperatorProcess:
    """The operator of `own_executions`, with nothing counted yet."""
    return start_operator(execution={"cooldown_period": 1})


def run(executions: Executions, name: str, outcome: str) -> Object:
    """A run from its creation to its end; gives its status."""
    executions.create(name)
    executions.wait_phase(name, "Running")
    end(executions, name, outcome)
    return executions.wait_phase(name, outcome)


def end(executions: Executions, name: str, outcome: str, **more: Any) -> None:
    write = executions.succeed if outcome == "Completed" else executions.fail
    write(executions.target(name), **more)


def run_for(executions: Executions, name: str, outcome: str, seconds: int) -> Object:
    """A run that has taken so long, as Tekton says."""
    executions.create(name)
    started = datetime.fromisoformat(executions.wait_phase(name, "Running")["startTime"])
    ended = (started + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    end(executions, name, outcome, completionTime=ended)
    found = executions.wait_phase(name, outcome)
    assert found["completionTime"] == ended
    return found


def totals(operator: OperatorProcess) -> dict[str, float]:
    return {outcome: operator.metric(TOTAL, outcome=outcome) for outcome in OUTCOMES}


def bucket(operator: OperatorProcess, outcome: str, le: str) -> float:
    return operator.metric(f"{DURATION}_bucket", outcome=outcome, le=le)


def labels_of(operator: OperatorProcess, name: str) -> list[dict[str, str]]:
    """The labels of all samples of a name."""
    url = f"http://127.0.0.1:{operator.metrics_port}/metrics"
    text = httpx2.get(url, trust_env=False, timeout=10).text
    return [
        dict(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


def test_success_counts_as_completed(own_executions: Executions, counting: OperatorProcess) -> None:
    assert totals(counting) == {"Completed": 0, "Failed": 0}
    run(own_executions, "wfe", "Completed")
    wait_for(lambda: totals(counting)["Completed"], 15, "it is counted")
    assert totals(counting) == {"Completed": 1, "Failed": 0}
    assert counting.metric(CREATIONS) == 1


def test_failure_counts_as_failed(own_executions: Executions, counting: OperatorProcess) -> None:
    run(own_executions, "wfe", "Failed")
    wait_for(lambda: totals(counting)["Failed"], 15, "it is counted")
    assert totals(counting) == {"Completed": 0, "Failed": 1}
    own_executions.create("wrong", target="wrong")
    own_executions.wait_phase("wrong", "Failed")
    wait_for(lambda: totals(counting)["Failed"] == 2, 15, "a failure before the start counts too")
    assert counting.metric(CREATIONS) == 1, "and creates nothing"
    assert bucket(counting, "Failed", "5.0") == 2, "with a duration of 0"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_duration_is_in_the_histogram(
    own_executions: Executions, counting: OperatorProcess, outcome: str
) -> None:
    status = run_for(own_executions, "wfe", outcome, 12)
    assert status["duration"] == "12s"
    run_for(own_executions, "long", outcome, 400)
    wait_for(lambda: totals(counting)[outcome] == 2, 15, "both are counted")
    assert counting.metric(f"{DURATION}_count", outcome=outcome) == 2
    assert counting.metric(f"{DURATION}_sum", outcome=outcome) == 412
    found = {one["le"] for one in labels_of(counting, f"{DURATION}_bucket")}
    assert found == {"5.0", "10.0", "20.0", "40.0", "80.0", "160.0", "320.0", "+Inf"}
    assert [bucket(counting, outcome, le) for le in ("10.0", "20.0", "320.0", "+Inf")] == [
        *(0, 1, 1),
        2,
    ]


def test_outcomes_are_exactly_completed_and_failed(
    own_executions: Executions, counting: OperatorProcess
) -> None:
    run(own_executions, "wfe", "Completed")
    for name in (TOTAL, f"{DURATION}_count"):
        outcomes = [labels["outcome"] for labels in labels_of(counting, name)]
        assert sorted(outcomes) == ["Completed", "Failed"]


def test_success_rate_can_be_computed(
    own_executions: Executions, counting: OperatorProcess
) -> None:
    for number, outcome in enumerate(("Completed", "Failed", "Completed", "Completed")):
        run(own_executions, f"wfe-{number}", outcome)
    wait_for(lambda: sum(totals(counting).values()) == 4, 15, "all are counted")
    found = totals(counting)
    assert found["Completed"] / (found["Completed"] + found["Failed"]) == 0.75


def ends(executions: Executions, outcome: str) -> list[Object]:
    """The Events that tell of the end of the run."""
    reasons = {"Completed": "WorkflowCompleted", "Failed": "WorkflowFailed"}
    return [one for one in executions.events("wfe") if one["reason"] == reasons[outcome]]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_end_that_is_told_again_counts_once(
    own_executions: Executions, start_operator: StartOperator, trails: Trails, outcome: str
) -> None:
    one = own_executions
    operator = start_operator(execution={"cooldown_period": 3})
    status = run(one, "wfe", outcome)
    trail = COMPLETED if outcome == "Completed" else FAILED
    trails.wait_types(f"rr-{one.namespace}-wfe", trail)
    # The same end once more, another end, other words, and somebody who only touches the object.
    target = one.target("wfe")
    one.succeed(target)
    one.fail(target, "PipelineRunTimeout", "not now")
    one.set_pipeline_run(target, "Unknown", "Running", "it lives")
    one.annotate("wfe", {"touched": now_text()})
    one.annotate("wfe", {"kubernaut.ai/force-reconcile": "1"})
    trails.wait_types(f"rr-{one.namespace}-wfe", [*trail, "reconcile.forced"])
    one.wait_condition("wfe", "LockReleased")
    wait_for(lambda: ends(one, outcome), 10, "the Event")
    assert totals(operator) == {**dict.fromkeys(OUTCOMES, 0), outcome: 1}
    assert counted(operator, outcome) == 1
    assert operator.stop() == 0, "with all its Events written"
    # Nor does another process count what it finds.
    operator = start_operator(execution={"cooldown_period": 1})
    run(one, "other", outcome)
    wait_for(lambda: totals(operator)[outcome], 15, "the other is counted")
    assert totals(operator)[outcome] == 1
    after = one.status()
    for member in ("phase", "startTime", "completionTime", "duration", "executionStatus"):
        assert after[member] == status[member]
    trails.wait_types(f"rr-{one.namespace}-wfe", [*trail, "reconcile.forced"])
    (told,) = ends(one, outcome)
    assert "series" not in told


def counted(operator: OperatorProcess, outcome: str) -> float:
    return operator.metric(f"{DURATION}_count", outcome=outcome)
