"""Whose child it is decides what is done with it, and refusals have a reason (catalogue 3.4, 2.5).

Children of strangers are made here by hand, with the labels that their owner would have set.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kubernaut.workflowexecution import lock_name
from test.operator_process import ACCOUNT, StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, STARTED, Executions, Object, Trails, new_executions

LOST = ["selection.completed", "workflow.failed"]
ROLE = "workflowexecution-operator-executions"


def pipeline_run(executions: Executions, target: str, metadata: Mapping[str, Any]) -> Object:
    """Create what has the name of a run on the target."""
    answer = executions.cluster.api(
        "POST",
        executions.child_path("pipelineruns"),
        {
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": {"name": lock_name(target), **metadata},
            "spec": {"pipelineRef": {"name": "somebody-elses"}},
        },
    )
    assert answer.status == 201, answer
    return dict(answer.body)


def owned_by(namespace: str, name: str, uid: str) -> Object:
    """The metadata of a child of that object."""
    return {
        "labels": {
            "kubernaut.ai/workflow-execution": name,
            "kubernaut.ai/source-namespace": namespace,
            "kubernaut.ai/workflow-execution-uid": uid,
        },
        "annotations": {"kubernaut.ai/workflow-execution": f"{namespace}/{name}"},
    }


def uid_of(executions: Executions, target: str) -> str:
    return str(executions.wait_child(target)["metadata"]["uid"])


@pytest.mark.parametrize("place", ["the same namespace", "another, with an equal name"])
def test_deleting_the_loser_leaves_the_winners_child(
    executions: Executions, trails: Trails, place: str
) -> None:
    loser = executions if place == "the same namespace" else new_executions(executions.cluster)
    name = "loser" if loser is executions else "winner"
    target = executions.target()
    executions.create("winner", target=target)
    executions.wait_phase("winner", "Running")
    uid = uid_of(executions, target)
    loser.create(name, target=target)
    status = loser.wait_phase(name, "Failed")
    assert status["deduplicatedBy"] == "winner"
    loser.delete(name)
    wait_for(lambda: not loser.exists(name), 15, "the loser is gone")
    child = executions.wait_child(target)
    assert child["metadata"]["uid"] == uid
    assert "deletionTimestamp" not in child["metadata"]
    assert "status" not in child["spec"], "nobody cancelled it"
    executions.succeed(target)
    executions.wait_phase("winner", "Completed")
    trails.wait_types(f"rr-{executions.namespace}-winner", COMPLETED)
    trails.wait_types(f"rr-{loser.namespace}-{name}", LOST)


def test_a_finished_child_of_a_gone_owner_is_replaced_and_that_is_audited(
    executions: Executions, trails: Trails
) -> None:
    target, gone = executions.target(), str(uuid.uuid4())
    stale = pipeline_run(executions, target, owned_by(executions.namespace, "gone", gone))
    executions.succeed(target)
    executions.create(target=target)
    executions.wait_phase("wfe", "Running")
    child = executions.wait_child(target)
    assert child["metadata"]["uid"] != stale["metadata"]["uid"]
    assert child["spec"]["pipelineRef"]["resolver"] == "bundles"
    executions.succeed(target)
    executions.wait_phase("wfe", "Completed")
    told = trails.wait_types(f"rr-{executions.namespace}-wfe", ["child.replaced", *COMPLETED])[0]
    assert told["event_data"]["child_uid"] == stale["metadata"]["uid"]
    assert told["event_data"]["child_owner"] == f"{executions.namespace}/gone"
    assert "event_type" not in told["event_data"]


def test_a_namesake_of_the_owner_is_not_the_owner(executions: Executions, trails: Trails) -> None:
    target = executions.target()
    stale = pipeline_run(
        executions, target, owned_by(executions.namespace, "wfe", str(uuid.uuid4()))
    )
    executions.fail(target)
    executions.create(target=target)
    executions.wait_phase("wfe", "Running")
    assert uid_of(executions, target) != stale["metadata"]["uid"]
    trails.wait_types(f"rr-{executions.namespace}-wfe", ["child.replaced", *STARTED])


def test_a_running_child_of_a_gone_owner_is_left_alone(
    executions: Executions, trails: Trails
) -> None:
    target = executions.target()
    uid = pipeline_run(
        executions, target, owned_by(executions.namespace, "gone", str(uuid.uuid4()))
    )["metadata"]["uid"]
    executions.set_pipeline_run(target, "Unknown", "Running", "Tasks Completed: 0")
    executions.create(target=target)
    status = executions.wait_phase("wfe", "Failed")
    assert (status["failureDetails"]["reason"], status["deduplicatedBy"]) == (
        "Deduplicated",
        "gone",
    )
    trails.wait_types(f"rr-{executions.namespace}-wfe", LOST)
    assert uid_of(executions, target) == uid


@pytest.mark.parametrize("over", [False, True])
def test_a_stranger_without_labels_is_left_alone(
    executions: Executions, trails: Trails, *, over: bool
) -> None:
    target = executions.target()
    uid = pipeline_run(executions, target, {})["metadata"]["uid"]
    if over:
        executions.succeed(target)
    executions.create(target=target)
    details = executions.wait_phase("wfe", "Failed")["failureDetails"]
    assert details["reason"] == "Unknown"
    assert details.get("wasExecutionFailure", False) is False
    assert f"PipelineRun '{lock_name(target)}' already exists" in details["message"]
    assert "owner label missing" in details["message"]
    trails.wait_types(f"rr-{executions.namespace}-wfe", LOST)
    executions.delete()
    wait_for(lambda: not executions.exists(), 15, "it is gone")
    assert uid_of(executions, target) == uid


def test_a_finished_child_whose_owner_exists_is_waited_for(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    one = own_executions
    target = one.target()
    # The owner is in a namespace that this operator does not watch.
    owner = new_executions(one.cluster)
    owner_uid = owner.create("owner", target=target)["metadata"]["uid"]
    uid = pipeline_run(one, target, owned_by(owner.namespace, "owner", owner_uid))["metadata"][
        "uid"
    ]
    one.succeed(target)
    start_operator(execution={"cooldown_period": 1})
    one.create("waiting", target=target)
    one.wait("waiting", lambda seen: seen.get("status", {}).get("phase") == "Pending", 10, "")
    # Meanwhile another run goes from its creation to the release of its lock.
    one.create("other")
    one.wait_phase("other", "Running")
    one.succeed(one.target("other"))
    one.wait_condition("other", "LockReleased")
    assert one.status("waiting")["phase"] == "Pending"
    assert uid_of(one, target) == uid
    one.delete_child(target)  # What its owner's operator does at the release.
    one.wait_phase("waiting", "Running")
    assert uid_of(one, target) != uid


def refused(
    executions: Executions, trails: Trails, engine: str, trail: Sequence[str] = LOST
) -> Object:
    """Create a WorkflowExecution that is refused; gives its status."""
    executions.create(engine, engine=engine)
    status = executions.wait_phase(engine, "Failed")
    assert "startTime" not in status
    assert status["failureDetails"].get("wasExecutionFailure", False) is False
    trails.wait_types(f"rr-{executions.namespace}-{engine}", list(trail))
    executions.wait_condition(engine, "AuditRecorded")
    return status


def created_reason(executions: Executions, name: str) -> str:
    found = executions.condition(name, "ExecutionCreated")
    assert found is not None
    assert found["status"] == "False"
    return str(found["reason"])


def may(executions: Executions, verb: str, group: str, resource: str) -> bool:
    """Whether the operator may do something in the execution namespace."""
    place = executions.execution_namespace
    answer = executions.cluster.api(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "spec": {
                "user": f"system:serviceaccount:{executions.namespace}-operator:{ACCOUNT}",
                "resourceAttributes": {
                    "namespace": place,
                    "verb": verb,
                    "group": group,
                    "resource": resource,
                },
            }
        },
    )
    return bool(answer.body["status"]["allowed"])


def let_create(executions: Executions, *, allowed: bool) -> None:
    """Give the operator the right to create children, or take it away."""
    place = executions.execution_namespace
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place}/roles/{ROLE}"
    rules = executions.cluster.api("GET", path).body["rules"]
    for rule in rules:
        others = [verb for verb in rule["verbs"] if verb != "create"]
        rule["verbs"] = [*others, "create"] if allowed else others
    executions.patch(path, {"rules": rules})
    for group, resource in (("tekton.dev", "pipelineruns"), ("batch", "jobs")):
        wait_for(
            lambda: may(executions, "create", group, resource) is allowed,  # noqa: B023
            10,
            "the rights are changed",
        )


def test_a_right_that_is_there_a_moment_later_is_not_missed(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    """An API server that has just started refuses what it allows a moment later."""
    one = own_executions
    operator = start_operator()
    let_create(one, allowed=False)
    one.create()
    wait_for(lambda: "wfe: not created: 403" in operator.log(), 10, "a refusal")
    assert one.status()["phase"] == "Pending"
    let_create(one, allowed=True)
    one.wait_phase("wfe", "Running")


def test_a_missing_right_is_forbidden(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    operator = start_operator()
    let_create(one, allowed=False)
    for engine in ("tekton", "job"):
        details = refused(one, trails, engine)["failureDetails"]
        assert details["reason"] == "Forbidden"
        assert "cannot create resource" in details["message"]
        assert created_reason(one, engine) == "RBACDenied"
    assert operator.is_running


def test_a_quota_is_resource_exhausted(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    start_operator()
    path = f"/api/v1/namespaces/{one.execution_namespace}/resourcequotas"
    hard = {"count/pipelineruns.tekton.dev": "0", "count/jobs.batch": "0"}
    body = {"metadata": {"name": "none"}, "spec": {"hard": hard}}
    assert one.cluster.api("POST", path, body).status == 201
    # The control plane runs no controller that counts for a quota; nothing is there to be counted.
    one.patch(f"{path}/none/status", {"status": {"hard": hard, "used": hard}})
    probe = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "probe"},
        "spec": {},
    }
    tried = f"{one.child_path('pipelineruns')}?dryRun=All"
    wait_for(
        lambda: one.cluster.api("POST", tried, probe).status == 403, 30, "the quota is in force"
    )
    for engine in ("tekton", "job"):
        details = refused(one, trails, engine)["failureDetails"]
        assert details["reason"] == "ResourceExhausted"
        assert "exceeded quota: none" in details["message"]
        assert created_reason(one, engine) == "QuotaExceeded"


def test_a_missing_execution_namespace_is_a_configuration_error(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    # With the shipped rights the right goes with the namespace, and the answer is 403; see above.
    name = f"{one.namespace}-operator"
    binding = {
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": name}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    assert one.cluster.api("POST", path, binding).status == 201
    start_operator()
    place = f"/api/v1/namespaces/{one.execution_namespace}"
    assert one.cluster.api("DELETE", place).status in (200, 202)
    wait_for(lambda: one.cluster.api("GET", place).status == 404, 60, "the namespace is gone")
    details = refused(one, trails, "tekton", LOST[1:])["failureDetails"]
    assert details["reason"] == "ConfigurationError"
    assert f"create the namespace {one.execution_namespace}" in details["message"]
