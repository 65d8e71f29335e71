"""One run at a time on one target, however many are asked for at one moment (catalogue 3.4)."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NamedTuple

import pytest

from kubernaut.workflowexecution import lock_name
from test.polling import wait_for
from test.workflow_executions import FAILED, Executions, Object, Trails

PAIRS = 20
HANG = {"simulation.kubernaut.ai/hang": "true"}
"""The pods of a Job never end."""


class Outcome(NamedTuple):
    """What became of two that wanted one target."""

    winner: Object
    loser: Object


def race(executions: Executions, target: str, engines: tuple[str, str]) -> list[str]:
    """Create two objects for one target at the same moment; gives their names."""
    names = [f"{target.rpartition('/')[2]}-{place}" for place in "ab"]
    start = Barrier(2)

    def create(name: str, engine: str) -> None:
        start.wait(30)
        executions.create(name, target=target, engine=engine, annotations=HANG)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(create, names, engines))
    return names


def outcome(executions: Executions, names: list[str]) -> Outcome:
    """Once one runs and the other has lost."""

    def look() -> list[Object] | None:
        found = [executions.get(name) for name in names]
        phases = sorted(one.get("status", {}).get("phase", "") for one in found)
        assert phases != ["Running", "Running"]
        return found if phases == ["Failed", "Running"] else None

    found = wait_for(look, 30, f"one of {names} runs and one has failed") or []
    found.sort(key=lambda one: str(one["status"]["phase"]), reverse=True)
    return Outcome(*found)


def assert_lost(winner: Object, loser: Object) -> None:
    status, name = loser["status"], winner["metadata"]["name"]
    assert status["deduplicatedBy"] == name
    details = status["failureDetails"]
    assert details["reason"] == "Deduplicated"
    assert name in details["message"]
    assert details.get("wasExecutionFailure", False) is False
    assert "startTime" not in status
    assert "executionRef" not in status


def children(executions: Executions, target: str) -> list[Object]:
    """What runs workflows on the target, with whatever engine."""
    found = [executions.child(target, plural) for plural in ("pipelineruns", "jobs")]
    return [one for one in found if one]


def test_of_two_at_the_same_moment_exactly_one_runs(executions: Executions) -> None:
    targets = [executions.target(f"pair-{number}") for number in range(PAIRS)]
    pairs = {target: race(executions, target, ("tekton", "tekton")) for target in targets}
    for target, names in pairs.items():
        winner, loser = outcome(executions, names)
        assert_lost(winner, loser)
        (child,) = children(executions, target)
        labels = child["metadata"]["labels"]
        assert labels["kubernaut.ai/workflow-execution-uid"] == winner["metadata"]["uid"]
        assert executions.reasons(loser["metadata"]["name"]).count("ExecutionCreated") == 0
    path = executions.child_path("pipelineruns")
    selector = f"?labelSelector=kubernaut.ai/source-namespace={executions.namespace}"
    runs = executions.cluster.api("GET", path + selector).body["items"]
    assert sorted(run["metadata"]["name"] for run in runs) == sorted(map(lock_name, targets))


def test_of_two_engines_at_the_same_moment_exactly_one_runs(executions: Executions) -> None:
    pairs = {
        target: race(executions, target, ("tekton", "job"))
        for target in (executions.target(f"pair-{number}") for number in range(5))
    }
    for target, names in pairs.items():
        winner, loser = outcome(executions, names)
        assert_lost(winner, loser)
        (child,) = children(executions, target)
        labels = child["metadata"]["labels"]
        assert labels["kubernaut.ai/workflow-execution-uid"] == winner["metadata"]["uid"]
        assert (
            labels["kubernaut.ai/execution-engine"]
            == (winner["spec"]["workflowRef"]["executionEngine"])
        )


@pytest.mark.parametrize(("first", "second"), [("tekton", "job"), ("job", "tekton")])
def test_engines_exclude_each_other(
    executions: Executions, trails: Trails, first: str, second: str
) -> None:
    target = executions.target()
    executions.create("first", target=target, engine=first, annotations=HANG)
    executions.wait_phase("first", "Running")
    executions.create("second", target=target, engine=second)
    executions.wait_phase("second", "Failed")
    assert_lost(executions.get("first"), executions.get("second"))
    assert len(children(executions, target)) == 1
    trails.wait_types(
        f"rr-{executions.namespace}-second", ["selection.completed", "workflow.failed"]
    )
    # The first is not touched by any of that, and the second engine has its turn after it.
    assert executions.status("first")["phase"] == "Running"
    executions.delete("first")
    wait_for(lambda: not children(executions, target), 30, "nothing runs on the target")
    executions.create("third", target=target, engine=second, annotations=HANG)
    executions.wait_phase("third", "Running")
    (child,) = children(executions, target)
    assert child["metadata"]["labels"]["kubernaut.ai/execution-engine"] == second
    cancelled = [*FAILED[:-1], "cancel.requested", FAILED[-1]]
    trails.wait_types(f"rr-{executions.namespace}-first", cancelled)
