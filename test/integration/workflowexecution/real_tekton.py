"""Tekton itself for tests of the operator: nothing is written by hand, only pods are simulated.

The cluster of the session gets our kind through its API, as a cluster of our users does, the rights
that are shipped, and one operator with a cooldown of a second. Workflows are pushed as bundles to
the cluster's registry. What the spec of a PipelineRun of ours never has is set by policies of the
cluster, as those of other clusters may do, where an annotation of the run asks for it:

    simulation.kubernaut.ai/timeout-of-tasks: 3s        spec.timeouts.tasks
    simulation.kubernaut.ai/start: PipelineRunPending   spec.status, so that the run waits
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import crd, lock_name
from test.datastorage_service import DataStorageProcess
from test.operator_process import OperatorProcess, install, starting_operators
from test.polling import wait_for
from test.workflow_executions import Executions, Object, new_executions

SIMULATED: Final = "simulation.kubernaut.ai/"
COOLDOWN: Final = 1
_KINDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RESTRICTED: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the Pod Security Standard of the execution namespace asks for."""
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolic"
_PIPELINE_RUNS: Final[Object] = {
    "apiGroups": ["tekton.dev"],
    "apiVersions": ["v1"],
    "resources": ["pipelineruns"],
    "operations": ["CREATE"],
}
_POLICIES: Final = {
    "timeout-of-tasks": '{op: "add", path: "/spec/timeouts", value: {"tasks": %s}}',
    "start": '{op: "add", path: "/spec/status", value: %s}',
}
"""What is added to a PipelineRun that has such an annotation; its value is put in."""


@pytest.fixture(scope="session")
def operated_tekton(tekton_cluster: LocalCluster) -> LocalCluster:
    """The session's cluster with Tekton, with our kind and the operator's rights."""
    kind = crd()
    answer = tekton_cluster.api("POST", _KINDS, kind)
    assert answer.status == 201, answer

    def established() -> bool:
        found = tekton_cluster.api("GET", f"{_KINDS}/{kind['metadata']['name']}").body
        conditions = found.get("status", {}).get("conditions", [])
        return {"Established": "True"}.items() <= {
            one["type"]: one["status"] for one in conditions
        }.items()

    wait_for(established, 30, "our kind is established")
    install(tekton_cluster)
    for name, patch in _POLICIES.items():
        _set_by_policy(tekton_cluster, name, patch)
    return tekton_cluster


def _set_by_policy(cluster: LocalCluster, name: str, patch: str) -> None:
    """Let an admission policy patch the PipelineRuns that have an annotation, from now on."""
    chosen = f"object.metadata.?annotations[?'{SIMULATED}{name}']"
    spec = {
        "matchConstraints": {"resourceRules": [_PIPELINE_RUNS]},
        "matchConditions": [{"name": "asked", "expression": f"{chosen}.hasValue()"}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {"expression": "[JSONPatch" + patch % f"{chosen}.value()" + "]"},
            }
        ],
    }
    binding = {"policyName": name}
    for kind, body in (("ies", spec), ("ybindings", binding)):
        answer = cluster.api("POST", _ADMISSION + kind, {"metadata": {"name": name}, "spec": body})
        assert answer.status == 201, answer
    asked = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "asked", "annotations": {f"{SIMULATED}{name}": "1m"}},
        "spec": {"pipelineRef": {"name": "any"}},
    }

    def heeded() -> bool:
        """A dry run is patched; a `start` that is no word of Tekton's is refused by it."""
        path = "/apis/tekton.dev/v1/namespaces/default/pipelineruns?dryRun=All"
        answer = cluster.api("POST", path, asked)
        return answer.status == 400 or "tasks" in answer.body["spec"].get("timeouts", {})

    wait_for(heeded, 30, f"the policy {name} is heeded")


@pytest.fixture(scope="session")
def tekton_operator(
    operated_tekton: LocalCluster, trail_service: DataStorageProcess
) -> Iterator[OperatorProcess]:
    """The operator of all tests with Tekton itself."""
    settings: dict[str, dict[str, Any]] = {
        "execution": {
            "cooldown_period": COOLDOWN,
            "propagated_annotations": [SIMULATED],
            "audit_settle": 1,
        }
    }
    directory = Path(tempfile.mkdtemp(prefix="kubernaut-test-"))
    try:
        with starting_operators(operated_tekton, trail_service.url, directory) as start:
            yield start(settings=settings)
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def tekton_executions(
    operated_tekton: LocalCluster, tekton_operator: OperatorProcess
) -> Executions:
    """A namespace of the test's own, whose runs Tekton executes."""
    assert tekton_operator.is_running, tekton_operator.log()[-4000:]
    return new_executions(operated_tekton)


# Workflows


def simulated(**chosen: str) -> dict[str, str]:
    """Annotations that tell kwok what a pod does: `simulated(exit_code="1")`."""
    return {f"{SIMULATED}{name.replace('_', '-')}": text for name, text in chosen.items()}


def task(
    name: str = "main",
    *,
    pods: Mapping[str, str] | None = None,
    params: Sequence[str] = (),
    step: Mapping[str, Any] | None = None,
    **more: Any,
) -> Object:
    """A task of a Pipeline, of one step; it may run in the execution namespace.

    Args:
        name: of the task.
        pods: annotations of its pods alone.
        params: of the Pipeline that it gets.
        step: more members of its step.
        more: members of the task; those of `taskSpec` are under that name.
    """
    whole: Object = {
        "params": [{"name": one, "type": "string"} for one in params],
        "metadata": {"annotations": dict(pods or {})},
        "steps": [
            {
                "name": "run",
                "image": "example.test/step:1",
                "command": ["/bin/true"],
                "args": [f"$(params.{one})" for one in params],
                "securityContext": _RESTRICTED,
            }
            | dict(step or {})
        ],
    } | more.pop("taskSpec", {})
    passed = [{"name": one, "value": f"$(params.{one})"} for one in params]
    return {"name": name, "params": passed, "taskSpec": whole} | more


def pipeline(
    *tasks: Object, name: str = "workflow", last: Sequence[Object] = (), **more: Any
) -> Object:
    """A Pipeline of a bundle; `last` are tasks that run at its end, `more` members of its spec."""
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "Pipeline",
        "metadata": {"name": name},
        "spec": {"tasks": list(tasks), "finally": list(last)} | more,
    }


def texts(*names: str) -> list[Object]:
    """Parameters that a Pipeline declares, all of them texts."""
    return [{"name": name, "type": "string"} for name in names]


# What Tekton made of it


def patch_run(executions: Executions, target: str, spec: Object) -> None:
    """Change the spec of a PipelineRun, as somebody with rights on it may."""
    path = executions.child_path("pipelineruns", lock_name(target))
    executions.patch(path, {"spec": spec})


def of_run(executions: Executions, plural: str, target: str) -> list[Object]:
    """The TaskRuns or pods of the PipelineRun of a target."""
    path = executions.child_path(plural)
    selector = f"?labelSelector=tekton.dev/pipelineRun={lock_name(target)}"
    answer = executions.cluster.api("GET", path + selector)
    assert answer.status == 200, answer
    return list(answer.body["items"])


def wait_step(executions: Executions, target: str) -> Object:
    """The first TaskRun of a run that shows a step at work, once there is one."""

    def at_work() -> Object | None:
        for one in of_run(executions, "taskruns", target):
            if any("running" in step for step in one.get("status", {}).get("steps", [])):
                return one
        return None

    return wait_for(at_work, 30, f"a step of the run on {target} is at work") or {}
