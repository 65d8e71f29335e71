"""The samples of `config/samples` do on a real Tekton what their files say."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution._manifests import rbac, sample_workflows, samples
from test.kubernetes_cluster import new_namespace
from test.polling import wait_for

RUN_SECONDS: Final = 60
ENDS: Final[Mapping[str, tuple[str, list[str], float]]] = {
    "restart-checkout": ("Succeeded", ["Succeeded"], 2),
    "scale-search": ("Succeeded", ["Succeeded", "Succeeded"], 2),
    "drain-worker-7": ("Failed", ["StepFailed"], 1),
    "restart-catalogue": ("Failed", ["StepOOM"], 1),
    "restart-payment": ("CouldntGetPipeline", [], 0),
}
"""How the run of a sample ends: its reason, those of its tasks, and its seconds at least."""


@pytest.fixture(scope="module")
def workflows(tekton_cluster: LocalCluster) -> Mapping[str, dict[str, Any]]:
    """The samples, with their workflows pushed to the cluster's registry."""
    for workflow in sample_workflows():
        tekton_cluster.push_bundle(workflow.repository, workflow.objects, workflow.tag)
    return {one["metadata"]["name"]: one for one in samples(tekton_cluster.registry)}


def run_of(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A PipelineRun of a sample's workflow, its parameters and its simulation."""
    spec = sample["spec"]
    bundle = {
        "bundle": spec["workflowRef"]["executionBundle"],
        "name": "workflow",
        "kind": "pipeline",
    }
    given = {**spec["parameters"], "TARGET_RESOURCE": spec["targetResource"]}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "run", "annotations": sample["metadata"].get("annotations", {})},
        "spec": {
            "pipelineRef": {"resolver": "bundles", "params": pairs(bundle)},
            "params": pairs(given),
            "timeouts": {"pipeline": f"{RUN_SECONDS}s"},
        },
    }


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def ended(cluster: LocalCluster, sample: Mapping[str, Any]) -> tuple[str, list[str], float]:
    """How a run of a sample ends: its reason, the reasons of its tasks, and after how long."""
    path = f"/apis/tekton.dev/v1/namespaces/{new_namespace(cluster)}"
    began = time.monotonic()
    made = cluster.api("POST", f"{path}/pipelineruns", run_of(sample))
    assert made.status == 201, made

    def done() -> dict[str, Any] | None:
        status = cluster.api("GET", f"{path}/pipelineruns/run").body.get("status", {})
        return dict(status) if status.get("completionTime") else None

    status = wait_for(done, RUN_SECONDS, "the end of the run") or {}
    took = time.monotonic() - began
    tasks = [
        cluster.api("GET", f"{path}/taskruns/{child['name']}").body["status"]["conditions"][0]
        for child in status.get("childReferences", [])
    ]
    return status["conditions"][0]["reason"], [one["reason"] for one in tasks], took


@pytest.mark.parametrize(("name", "expected"), ENDS.items(), ids=ENDS.keys())
def test_a_sample_ends_as_its_file_says(
    tekton_cluster: LocalCluster,
    workflows: Mapping[str, dict[str, Any]],
    name: str,
    expected: tuple[str, list[str], float],
) -> None:
    reason, tasks, least = expected
    found, of_tasks, took = ended(tekton_cluster, workflows[name])
    assert (found, of_tasks) == (reason, tasks)
    assert took >= least, "long enough for people to see that it runs"


def test_the_one_other_sample_is_never_run() -> None:
    assert {one["metadata"]["name"] for one in samples()} - ENDS.keys() == {"malformed-target"}


def containers() -> Iterator[dict[str, Any]]:
    """A container of each step of each sample."""
    for workflow in sample_workflows():
        for task in workflow.objects[0]["spec"]["tasks"]:
            shared = task["taskSpec"].get("stepTemplate", {})
            for step in task["taskSpec"]["steps"]:
                yield {**shared, **step}


def test_every_step_may_run_in_the_execution_namespace(tekton_cluster: LocalCluster) -> None:
    namespace = f"runs-{uuid.uuid4().hex[:12]}"
    (place,) = [one for one in rbac("ops", namespace) if one["metadata"]["name"] == namespace]
    made = tekton_cluster.api("POST", "/api/v1/namespaces", place)
    assert made.status == 201, made
    tried = list(containers())
    assert len(tried) == 5
    for container in tried:
        assert admitted(tekton_cluster, namespace, container) == 201, container
        del container["securityContext"]
        assert admitted(tekton_cluster, namespace, container) == 403, container


def admitted(cluster: LocalCluster, namespace: str, container: Mapping[str, Any]) -> int:
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    pod = {"metadata": {"name": "step"}, "spec": {"containers": [container]}}
    return cluster.api("POST", path, pod).status
