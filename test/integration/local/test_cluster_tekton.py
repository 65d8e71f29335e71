"""Tekton itself: only its pods are simulated."""

import json
import uuid
from typing import Any

import pytest

from kubernaut.local import LocalCluster, LocalServerError
from kubernaut.local.cluster import push_bundle
from test.kubernetes_cluster import StartCluster
from test.polling import wait_for

RUNS = "/apis/tekton.dev/v1/namespaces/default/pipelineruns"
TASK_RUNS = "/apis/tekton.dev/v1/namespaces/default/taskruns"
STEP = {
    "name": "run",
    "image": "example.test/step:1",
    "command": ["/bin/true"],
    "args": ["$(params.target)"],
}
PARAMS = [{"name": "target", "type": "string"}]
MAIN = {
    "name": "main",
    "params": [{"name": "target", "value": "$(params.target)"}],
    "taskSpec": {"params": PARAMS, "steps": [STEP]},
}
PIPELINE = {
    "apiVersion": "tekton.dev/v1",
    "kind": "Pipeline",
    "metadata": {"name": "workflow"},
    "spec": {"params": PARAMS, "tasks": [MAIN]},
}


def bundled(bundle: str, name: str = "workflow") -> dict[str, Any]:
    params = {"bundle": bundle, "name": name, "kind": "pipeline"}
    return {
        "resolver": "bundles",
        "params": [{"name": key, "value": value} for key, value in params.items()],
    }


def run(
    cluster: LocalCluster, reference: dict[str, Any], annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """A PipelineRun that has ended."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    chosen = {f"simulation.kubernaut.ai/{key}": text for key, text in (annotations or {}).items()}
    body = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": name, "annotations": chosen},
        "spec": {
            "pipelineRef": reference,
            "params": [{"name": "target", "value": "default/Deployment/app"}],
            "timeouts": {"pipeline": "20s"},
        },
    }
    created = cluster.api("POST", RUNS, body)
    assert created.status == 201, created

    def ended() -> dict[str, Any] | None:
        seen = cluster.api("GET", f"{RUNS}/{name}").body
        return dict(seen) if seen.get("status", {}).get("completionTime") else None

    return wait_for(ended, 40, "the end of the run") or {}


def condition(run_object: dict[str, Any]) -> tuple[str, str, str]:
    (one,) = run_object["status"]["conditions"]
    return one["status"], one["reason"], one["message"]


def task_of(cluster: LocalCluster, run_object: dict[str, Any]) -> dict[str, Any]:
    (child,) = run_object["status"]["childReferences"]
    return dict(cluster.api("GET", f"{TASK_RUNS}/{child['name']}").body)


def test_a_run_of_a_bundle_succeeds(tekton_cluster: LocalCluster) -> None:
    by_digest = tekton_cluster.push_bundle("workflows/good", [PIPELINE])
    for reference in (by_digest, f"{tekton_cluster.registry}/workflows/good:v1"):
        done = run(tekton_cluster, bundled(reference))
        assert condition(done)[:2] == ("True", "Succeeded")
        source = done["status"]["provenance"]["refSource"]
        assert source["digest"] == {"sha256": by_digest.rpartition(":")[2]}
        assert source["entryPoint"] == "workflow"


@pytest.mark.parametrize(
    ("annotations", "reason", "message"),
    [
        ({"exit-code": "3"}, "StepFailed", '"step-run" exited with code 3: Error'),
        ({"exit-code": "137", "reason": "OOMKilled"}, "StepOOM", "exited with code 137: OOMKilled"),
        ({"waiting": "ImagePullBackOff"}, "TaskRunImagePullFailed", ""),
        ({"waiting": "CreateContainerConfigError"}, "CreateContainerConfigError", ""),
    ],
)
def test_a_run_fails_as_its_pod_is_told(
    tekton_cluster: LocalCluster, annotations: dict[str, str], reason: str, message: str
) -> None:
    bundle = tekton_cluster.push_bundle("workflows/bad", [PIPELINE])
    done = run(tekton_cluster, bundled(bundle), annotations)
    assert condition(done)[:2] == ("False", "Failed")
    _, task_reason, task_message = condition(task_of(tekton_cluster, done))
    assert task_reason == reason
    assert message in task_message


def test_results_of_a_step_are_read(tekton_cluster: LocalCluster) -> None:
    step = {key: STEP[key] for key in ("name", "image", "command")}
    main = {"name": "main", "taskSpec": {"results": [{"name": "out"}], "steps": [step]}}
    pipeline = {
        **PIPELINE,
        "spec": {
            "params": PARAMS,
            "results": [{"name": "out", "value": "$(tasks.main.results.out)"}],
            "tasks": [main],
        },
    }
    bundle = tekton_cluster.push_bundle("workflows/results", [pipeline])
    written = json.dumps([{"key": "out", "value": "hello", "type": 1}])
    done = run(tekton_cluster, bundled(bundle), {"message": written})
    assert done["status"]["results"] == [{"name": "out", "value": "hello"}]


def test_what_cannot_be_resolved_ends_the_run(tekton_cluster: LocalCluster) -> None:
    bundle = tekton_cluster.push_bundle("workflows/other", [PIPELINE])
    for reference, said in (
        (bundled(bundle, "missing"), "could not find object in image"),
        (bundled(f"{tekton_cluster.registry}/workflows/none:v1"), "NAME_UNKNOWN"),
    ):
        status, reason, message = condition(run(tekton_cluster, reference))
        assert (status, reason) == ("False", "CouldntGetPipeline")
        assert said in message


def test_the_webhook_refuses_and_fills_in(tekton_cluster: LocalCluster) -> None:
    body = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "refused"},
        "spec": {"params": []},
    }
    refused = tekton_cluster.api("POST", RUNS, body)
    assert refused.status == 400
    assert "expected exactly one, got neither: spec.pipelineRef, spec.pipelineSpec" in str(
        refused.body
    )
    body["spec"] = {"pipelineRef": {"name": "any"}}
    filled = tekton_cluster.api("POST", f"{RUNS}?dryRun=All", body).body["spec"]
    assert filled["taskRunTemplate"] == {"serviceAccountName": "default"}
    assert filled["timeouts"] == {"pipeline": "1h0m0s"}


def test_a_killed_tekton_goes_on_after_its_restart(start_cluster: StartCluster) -> None:
    cluster = start_cluster(tekton=True)
    bundle = cluster.push_bundle("workflows/good", [PIPELINE])
    cluster.tekton.restart()
    assert condition(run(cluster, bundled(bundle)))[:2] == ("True", "Succeeded")


def test_a_registry_that_is_not_there_is_named() -> None:
    with pytest.raises(LocalServerError, match=r"the registry 127\.0\.0\.1:1: .*refused"):
        push_bundle("127.0.0.1:1", "any", "v1", [PIPELINE])
    with pytest.raises(LocalServerError, match="at most 20 objects, not 21"):
        push_bundle("127.0.0.1:1", "any", "v1", [PIPELINE] * 21)
