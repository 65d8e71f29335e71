"""The conflict cases of the report (catalogue 2.5), and what makes a PipelineRun ours.

Ours is one whose labels name this very object: by name, by namespace and by uid. A target that
somebody else works on is the reason `Deduplicated`, as in mid-2026.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.operator_process import StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, Executions, Object, Trails


def pipeline_run_of(wfe: Object, **changes: str) -> Object:
    """The PipelineRun of an object, with its labels; or almost its, by `changes` of them."""
    metadata = wfe["metadata"] | changes
    target = wfe["spec"]["targetResource"]
    key = f"{metadata['namespace']}/{metadata['name']}"
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "name": lock_name(target),
            "labels": {
                "kubernaut.ai/workflow-execution": metadata["name"],
                "kubernaut.ai/source-namespace": metadata["namespace"],
                "kubernaut.ai/workflow-execution-uid": metadata["uid"],
            },
            "annotations": {"kubernaut.ai/workflow-execution": key},
        },
        "spec": {"pipelineRef": {"name": "workflow"}},
    }


def create_run(executions: Executions, run: Object) -> Object:
    answer = executions.cluster.api("POST", executions.child_path("pipelineruns"), run)
    assert answer.status == 201, answer
    return dict(answer.body)


def runs_of(executions: Executions, target: str) -> list[Object]:
    """All PipelineRuns that say they are of that target."""
    answer = executions.cluster.api("GET", executions.child_path("pipelineruns"))
    assert answer.status == 200, answer
    return [
        one
        for one in answer.body["items"]
        if one["metadata"].get("annotations", {}).get("kubernaut.ai/target-resource") == target
    ]


def test_one_of_concurrent_creates_exists(executions: Executions) -> None:
    target = executions.target()
    executions.create(target=target)
    run = executions.wait_child(target)
    again = pipeline_run_of(executions.get())
    start = Barrier(5)

    def create(_: int) -> tuple[int, str]:
        start.wait(30)
        answer = executions.cluster.api("POST", executions.child_path("pipelineruns"), again)
        return answer.status, answer.body["reason"]

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(create, range(5)))
    assert answers == [(409, "AlreadyExists")] * 5
    (only,) = runs_of(executions, target)
    assert only["metadata"]["uid"] == run["metadata"]["uid"]
    status = executions.wait_phase("wfe", "Running", 15)
    assert status["pipelineRunRef"]["name"] == only["metadata"]["name"]


def test_pipeline_run_that_is_ours_is_adopted(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    target = one.target()
    run = create_run(one, pipeline_run_of(one.create(target=target)))
    operator = start_operator()
    status = one.wait_phase("wfe", "Running", 15)
    assert status["pipelineRunRef"]["name"] == run["metadata"]["name"]
    assert status["startTime"] == run["metadata"]["creationTimestamp"]
    assert one.wait_child(target)["metadata"]["uid"] == run["metadata"]["uid"]
    created = one.wait_condition("wfe", "ExecutionCreated")
    assert created["reason"] == "ExecutionCreated"
    assert created["message"] == (
        f"PipelineRun {run['metadata']['name']} already exists (race condition)"
    )
    assert operator.metric("workflowexecution_reconciler_pipelinerun_creations_total") == 0
    one.succeed(target)
    one.wait_phase("wfe", "Completed")
    assert_trail(trails, one.get(), COMPLETED)
    place = f"{one.execution_namespace}/{run['metadata']['name']}"
    took = one.status()["duration"]
    one.wait_told(
        "wfe",
        [
            (
                "Normal",
                "WorkflowValidated",
                f"Workflow spec validated: restart-deployment (target: {target})",
            ),
            ("Normal", "ExecutionCreated", f"PipelineRun {place} (already exists, ours)"),
            ("Normal", "PhaseTransition", "Phase transition: Pending → Running"),
            (
                "Normal",
                "WorkflowCompleted",
                f"Workflow restart-deployment completed successfully in {took}",
            ),
            ("Normal", "PhaseTransition", "Phase transition: Running → Completed"),
        ],
    )


@pytest.mark.parametrize("other", ["name", "namespace", "uid"])
def test_pipeline_run_of_almost_the_same_object_is_not_ours(
    own_executions: Executions, start_operator: StartOperator, other: str
) -> None:
    one = own_executions
    target = one.target()
    value = {"name": "other", "namespace": "default", "uid": "0" * 36}[other]
    run = create_run(one, pipeline_run_of(one.create(target=target), **{other: value}))
    start_operator()
    status = one.wait_phase("wfe", "Failed", 15)
    assert status["failureDetails"]["reason"] == "Deduplicated"
    assert status["deduplicatedBy"] == ("other" if other == "name" else "wfe")
    assert "executionRef" not in status
    one.delete()
    wait_for(lambda: not one.exists(), 15, "it is gone")
    left = one.wait_child(target)["metadata"]
    assert left["uid"] == run["metadata"]["uid"]
    assert "deletionTimestamp" not in left


def test_second_execution_on_a_busy_target_is_deduplicated(executions: Executions) -> None:
    target = executions.target()
    executions.create("first", target=target)
    before = executions.wait_phase("first", "Running")
    executions.create("second", target=target)
    status = executions.wait_phase("second", "Failed", 15)
    assert status["deduplicatedBy"] == "first"
    details = status["failureDetails"]
    assert details["reason"] == status["failureReason"] == "Deduplicated"
    assert details["message"] == (
        "Execution resource already exists, owned by WorkflowExecution first"
    )
    assert details["wasExecutionFailure"] is False
    created = executions.wait_condition("second", "ExecutionCreated", "False")
    assert created["message"] == "Execution resource collision (deduplicated by first)"
    executions.wait_told(
        "second",
        [
            (
                "Warning",
                "WorkflowFailed",
                "Deduplicated: execution resource collision with first",
            ),
            ("Normal", "PhaseTransition", "Phase transition: Pending → Failed"),
        ],
    )
    after = executions.status("first")
    names = before.keys() - {"conditions"}
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    executions.succeed(target)
    executions.wait_phase("first", "Completed")


def test_name_follows_from_the_target(executions: Executions) -> None:
    target = executions.target()
    executions.create(target=target)
    name = executions.wait_child(target)["metadata"]["name"]
    assert name == f"wfe-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
    assert name == lock_name(target) == lock_name(str(target))
    assert lock_name(target.upper()) != name, "upper and lower case are apart"
    # The values that the Go operator has for these.
    assert lock_name("default/deployment/my-app") == "wfe-c00449355dfb987a"
    assert lock_name("test-ns/deployment/test-app") == "wfe-82ab71c883701111"
