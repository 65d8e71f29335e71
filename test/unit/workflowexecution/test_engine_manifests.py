"""What the engines create for a run, member by member."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kubernaut.kubernetes import ObjectMeta
from kubernaut.workflowexecution._api import ResourceRequirements
from kubernaut.workflowexecution._names import (
    EXECUTION_ANNOTATION,
    EXECUTION_LABEL,
    NAMESPACE_LABEL,
    UID_LABEL,
)
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution.engines import JOBS, PIPELINE_RUNS, Owner
from kubernaut.workflowexecution.engines._children import owner_of
from kubernaut.workflowexecution.engines._job_manifest import job_of
from kubernaut.workflowexecution.engines._tekton_manifest import pipeline_run_of

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
TMP = "/tmp"  # noqa: S108  (a volume in the container)
RUN = Run(
    engine="tekton",
    name="wfe-c00449355dfb987a",
    namespace="kubernaut-workflows",
    bundle="registry.example/workflows/restart@sha256:abc",
    target="default/deployment/my-app",
    parameters={"REASON": "memory", "TIMEOUT": "300"},
    service_account="runner",
    secrets=("token", "token", "a.dotted.name"),
    config_maps=("settings",),
    labels={EXECUTION_LABEL: "restart-1", UID_LABEL: "u1"},
    annotations={EXECUTION_ANNOTATION: "default/restart-1"},
)


def pipeline_run(run: Run) -> dict[str, Any]:
    body = PIPELINE_RUNS.encode(pipeline_run_of(run, NOW.timestamp()))
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


def job(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(JOBS.encode(job_of(run, NOW.timestamp())))
    return found


def test_a_pipeline_run_member_by_member() -> None:
    assert pipeline_run(RUN) == {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "name": "wfe-c00449355dfb987a",
            "namespace": "kubernaut-workflows",
            "labels": {EXECUTION_LABEL: "restart-1", UID_LABEL: "u1"},
            "annotations": {EXECUTION_ANNOTATION: "default/restart-1"},
        },
        "spec": {
            "pipelineRef": {
                "resolver": "bundles",
                "params": [
                    {"name": "bundle", "value": "registry.example/workflows/restart@sha256:abc"},
                    {"name": "name", "value": "workflow"},
                    {"name": "kind", "value": "pipeline"},
                ],
            },
            "params": [
                {"name": "REASON", "value": "memory"},
                {"name": "TIMEOUT", "value": "300"},
                {"name": "TARGET_RESOURCE", "value": "default/deployment/my-app"},
            ],
            "taskRunTemplate": {
                "serviceAccountName": "runner",
                "podTemplate": {
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    }
                },
            },
            "workspaces": [
                {"name": "secret-token", "secret": {"secretName": "token"}},
                {"name": "secret-a.dotted.name", "secret": {"secretName": "a.dotted.name"}},
                {"name": "configmap-settings", "configMap": {"name": "settings"}},
            ],
        },
    }


def test_a_job_member_by_member() -> None:
    resources = ResourceRequirements(limits={"cpu": "500m"}, requests={"memory": "128Mi"})
    assert job(replace(RUN, resources=resources)) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "wfe-c00449355dfb987a",
            "namespace": "kubernaut-workflows",
            "labels": {EXECUTION_LABEL: "restart-1", UID_LABEL: "u1"},
            "annotations": {EXECUTION_ANNOTATION: "default/restart-1"},
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 1800,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "Ignore",
                        "onExitCodes": {
                            "containerName": "workflow",
                            "operator": "In",
                            "values": [137],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {
                    "labels": {EXECUTION_LABEL: "restart-1", UID_LABEL: "u1"},
                    "annotations": {EXECUTION_ANNOTATION: "default/restart-1"},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "runner",
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "workflow",
                            "image": "registry.example/workflows/restart@sha256:abc",
                            "env": [
                                {"name": "TARGET_RESOURCE", "value": "default/deployment/my-app"},
                                {"name": "REASON", "value": "memory"},
                                {"name": "TIMEOUT", "value": "300"},
                                {"name": "HOME", "value": TMP},
                                {"name": "TMPDIR", "value": TMP},
                            ],
                            "volumeMounts": [
                                {
                                    "name": "secret-token",
                                    "mountPath": "/run/kubernaut/secrets/token",
                                    "readOnly": True,
                                },
                                {
                                    "name": "secret-1",
                                    "mountPath": "/run/kubernaut/secrets/a.dotted.name",
                                    "readOnly": True,
                                },
                                {
                                    "name": "configmap-settings",
                                    "mountPath": "/run/kubernaut/configmaps/settings",
                                    "readOnly": True,
                                },
                                {"name": "tmp", "mountPath": TMP},
                            ],
                            "resources": {
                                "limits": {"cpu": "500m"},
                                "requests": {"memory": "128Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "runAsNonRoot": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                    "volumes": [
                        {"name": "secret-token", "secret": {"secretName": "token"}},
                        {"name": "secret-1", "secret": {"secretName": "a.dotted.name"}},
                        {"name": "configmap-settings", "configMap": {"name": "settings"}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def test_what_a_run_leaves_out_is_left_to_the_cluster() -> None:
    bare = replace(RUN, service_account="", secrets=(), config_maps=(), parameters={})
    spec = pipeline_run(bare)["spec"]
    assert spec.keys() == {"pipelineRef", "params", "taskRunTemplate"}
    assert spec["taskRunTemplate"].keys() == {"podTemplate"}
    assert [param["name"] for param in spec["params"]] == ["TARGET_RESOURCE"]
    pod = job(bare)["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert "resources" not in pod["containers"][0]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(300.0, 300), (300.9, 300), (1.0, 1), (0.4, 1), (-50.0, 1), (9000.0, 9000)],
)
def test_the_time_that_is_left_is_the_engines_limit(left: float, seconds: int) -> None:
    run = replace(RUN, times_out_at=NOW + timedelta(seconds=left))
    assert pipeline_run(run)["spec"]["timeouts"] == {"pipeline": f"{seconds}s"}
    assert job(run)["spec"]["activeDeadlineSeconds"] == seconds


@pytest.mark.parametrize(
    ("labels", "annotations", "owner"),
    [
        ({UID_LABEL: "u"}, {EXECUTION_ANNOTATION: "a/b"}, Owner("a", "b", "u")),
        (
            {EXECUTION_LABEL: "cut", NAMESPACE_LABEL: "a", UID_LABEL: "u"},
            {EXECUTION_ANNOTATION: "a/cut-short"},
            Owner("a", "cut-short", "u"),
        ),
        ({EXECUTION_LABEL: "b", NAMESPACE_LABEL: "a"}, {}, Owner("a", "b", "")),
        ({EXECUTION_LABEL: "b"}, {}, None),
        ({UID_LABEL: "u"}, {EXECUTION_ANNOTATION: "nonsense"}, None),
        ({}, {}, None),
    ],
)
def test_whose_a_child_is(
    labels: dict[str, str], annotations: dict[str, str], owner: Owner | None
) -> None:
    assert owner_of(ObjectMeta(labels=labels, annotations=annotations)) == owner
