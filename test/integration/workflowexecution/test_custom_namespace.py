"""The execution namespace cases of the report (catalogue 2.7).

Whatever namespace a WorkflowExecution is in, it is run in the one namespace that is meant for it.
"""

import uuid

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import lock_name
from test.operator_process import StartOperator
from test.workflow_executions import Executions, new_executions


def places_of(cluster: LocalCluster, target: str) -> list[str]:
    """The namespaces in which there is a PipelineRun for the target."""
    answer = cluster.api("GET", "/apis/tekton.dev/v1/pipelineruns")
    assert answer.status == 200, answer
    return [
        one["metadata"]["namespace"]
        for one in answer.body["items"]
        if one["metadata"]["name"] == lock_name(target)
    ]


def test_pipeline_run_is_only_in_the_execution_namespace(executions: Executions) -> None:
    default = Executions(executions.cluster, "default")
    name = f"wfe-{uuid.uuid4().hex[:12]}"
    target = f"default/deployment/{name}"
    default.create(name, target=target)
    status = default.wait_phase(name, "Running", 10)
    assert status["pipelineRunRef"]["name"] == lock_name(target)
    assert places_of(default.cluster, target) == ["kubernaut-workflows"]
    run = default.wait_child(target)
    assert run["spec"]["taskRunTemplate"]["serviceAccountName"] == "kubernaut-workflow-runner"
    assert "ownerReferences" not in run["metadata"], "an owner must be in the same namespace"
    default.delete(name)
    default.wait_no_child(target)


def test_two_namespaces_are_run_in_one(executions: Executions) -> None:
    other = new_executions(executions.cluster)
    for one in (executions, other):
        one.create()
    for one in (executions, other):
        one.wait_phase("wfe", "Running", 10)
        assert places_of(one.cluster, one.target("wfe")) == ["kubernaut-workflows"]
        labels = one.wait_child(one.target("wfe"))["metadata"]["labels"]
        assert labels["kubernaut.ai/source-namespace"] == one.namespace


def test_namespaces_of_object_and_run_differ(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    start_operator(execution={"cooldown_period": 1, "service_account": "robot"})
    target = own_executions.target()
    created = own_executions.create(target=target)
    own_executions.wait_phase("wfe", "Running", 10)
    place = own_executions.execution_namespace
    assert created["metadata"]["namespace"] != place
    assert places_of(own_executions.cluster, target) == [place]
    run = own_executions.wait_child(target)
    assert run["spec"]["taskRunTemplate"]["serviceAccountName"] == "robot"
    own_executions.succeed(target)
    own_executions.wait_phase("wfe", "Completed")
    own_executions.wait_condition("wfe", "LockReleased")
    assert places_of(own_executions.cluster, target) == []
