"""A new run under the name of the last one, at the moment its lock is released, on a real Tekton.

The name of a PipelineRun follows from its target, and Tekton adopts a TaskRun by its name. A
PipelineRun that is created while a TaskRun of its predecessor is still there ends with the work of
that one, and its own task never runs. Each run here has a parameter and an end of its own, so a
task that was adopted shows.

Section 4 of the operator's issue: the same-name trap, 50 times. No case of the catalogue.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.real_tekton import (
    of_run,
    pipeline,
    simulated,
    task,
    texts,
)
from test.integration.workflowexecution.watched import Watched
from test.workflow_executions import COMPLETED, FAILED, Executions, Object, Trails

TURNS: Final = 50
"""One chain on one target."""
AT_ONCE: Final = 40
"""At least so many must have been created before the lock was released, and waited for it."""
UID_LABEL: Final = "kubernaut.ai/workflow-execution-uid"
WORKFLOW: Final = pipeline(task(params=["TURN"]), params=texts("TURN"))


Life = Sequence[Object]
"""All states of one object, oldest first; the last is that in which it was deleted."""


def exit_code(turn: int) -> int:
    """How the task of a turn ends: every other one fails, each with a code of its own."""
    return turn if turn % 2 else 0


def play(executions: Executions, bundle: str, target: str, turn: int) -> Object:
    """Create a run and see it end as it should; gives it as it was created."""
    name, code = f"turn-{turn}", exit_code(turn)
    created = executions.create(
        name,
        target=target,
        annotations=simulated(exit_code=str(code)),
        workflow={"executionBundle": bundle},
        parameters={"TURN": str(turn)},
    )
    try:
        status = executions.wait_phase(name, "Failed" if code else "Completed", 30)
    except AssertionError as error:
        there = [executions.status(name), executions.child(target)]
        there += of_run(executions, "taskruns", target) + of_run(executions, "pods", target)
        raise AssertionError(f"{name} came to no end: {json.dumps(there)}") from error
    if code:
        details = status["failureDetails"]
        assert (details["reason"], details["exitCode"]) == ("TaskFailed", code)
        assert details["failedTaskName"] == f"{lock_name(target)}-main"
    return created


def lives(states: Sequence[Object], name: str) -> list[Life]:
    """The life of each object that had a name, one after the other."""
    by_uid: dict[str, list[Object]] = {}
    for state in states:
        if state["metadata"]["name"] == name:
            by_uid.setdefault(state["metadata"]["uid"], []).append(state)
    return list(by_uid.values())


def version(state: Object) -> int:
    """Of the store as a whole, so that the versions of all kinds compare."""
    return int(state["metadata"]["resourceVersion"])


def values(parameters: Sequence[Any]) -> dict[str, str]:
    """Parameters by name."""
    return {one["name"]: one["value"] for one in parameters}


def assert_own_task(wfe: Object, run: Life, did: Life, turn: int) -> None:
    """The PipelineRun is that of the turn, and the TaskRun that of the PipelineRun."""
    assert run[0]["metadata"]["labels"][UID_LABEL] == wfe["metadata"]["uid"]
    assert values(run[0]["spec"]["params"])["TURN"] == str(turn)
    (owner,) = did[0]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("PipelineRun", run[0]["metadata"]["uid"])
    assert values(did[0]["spec"]["params"]) == {"TURN": str(turn)}
    (step,) = did[-1]["status"]["steps"]
    assert step["terminated"]["exitCode"] == exit_code(turn)


def test_a_run_right_after_the_release_of_its_target_runs_its_own_task(
    operated_tekton: LocalCluster, tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    bundle = operated_tekton.push_bundle("workflows/same-name", [WORKFLOW])
    target = executions.target()
    name = lock_name(target)
    with Watched(executions, "pipelineruns") as seen, Watched(executions, "taskruns") as seen_tasks:
        created = [play(executions, bundle, target, turn) for turn in range(TURNS)]
        executions.wait_no_child(target)
    runs = lives(seen.states(), name)
    tasks = lives(seen_tasks.states(), f"{name}-main")
    assert len(runs) == len(tasks) == TURNS, "one PipelineRun and one TaskRun for each"
    for turn, (wfe, run, did) in enumerate(zip(created, runs, tasks, strict=True)):
        assert_own_task(wfe, run, did, turn)
    for did, (former, after) in zip(tasks, pairwise(runs), strict=False):
        assert version(former[-1]) < version(after[0]), "the former PipelineRun was gone"
        assert version(did[-1]) < version(after[0]), "and so was its TaskRun"
    waited = [
        version(wfe) < version(former[-1]) for former, wfe in zip(runs, created[1:], strict=False)
    ]
    assert sum(waited) >= AT_ONCE, "otherwise this shows little"
    for turn, wfe in enumerate(created):
        one = wfe["metadata"]["name"]
        executions.wait_condition(one, "AuditRecorded")
        assert_trail(trails, executions.get(one), FAILED if exit_code(turn) else COMPLETED)
