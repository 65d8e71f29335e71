"""What a Job is made of, as the API server has it (catalogue 014-003, 019, 2176, 006)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.job_pods import pods_of, simulated
from test.polling import wait_for
from test.workflow_executions import BUNDLE, Executions, Object

DEFAULT_DEADLINE = 1800
RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "500m", "memory": "256Mi"},
}


def job_for(executions: Executions, workflow: Any = None, **spec: Any) -> Object:
    """The Job that a WorkflowExecution gets; its pod does not end."""
    executions.create(engine="job", workflow=workflow, annotations=simulated(hang="true"), **spec)
    executions.wait_phase("wfe", "Running")
    return executions.wait_child(executions.target("wfe"), "jobs")


def pod_of(executions: Executions) -> Object:
    """The spec of the pod that the Job controller has made."""
    target = executions.target("wfe")
    (pod,) = wait_for(lambda: pods_of(executions, target), 15, "a pod")
    return dict(pod["spec"])


def mounts_of(pod: Object) -> dict[str, tuple[str, bool]]:
    """The volumes that the container mounts: where to, and whether only to read."""
    (container,) = pod["containers"]
    return {
        one["name"]: (one["mountPath"], one.get("readOnly", False))
        for one in container["volumeMounts"]
    }


def test_014_003_a_job_says_whose_it_is_and_runs_one_container(executions: Executions) -> None:
    job = job_for(
        executions,
        {"serviceAccountName": ""},
        parameters={"REMEDIATION_TYPE": "restart", "TIMEOUT": "300"},
    )
    target = executions.target("wfe")
    assert job["metadata"]["name"] == lock_name(target)
    labels = {
        "kubernaut.ai/workflow-execution": "wfe",
        "kubernaut.ai/workflow-id": "restart-deployment",
        "kubernaut.ai/execution-engine": "job",
        "kubernaut.ai/source-namespace": executions.namespace,
        "kubernaut.ai/workflow-execution-uid": executions.get()["metadata"]["uid"],
    }
    template = job["spec"]["template"]
    assert labels.items() <= job["metadata"]["labels"].items()
    assert labels.items() <= template["metadata"]["labels"].items()
    assert "ownerReferences" not in job["metadata"], "those do not cross namespaces"
    (container,) = template["spec"]["containers"]
    assert (container["name"], container["image"]) == ("workflow", BUNDLE)
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "TARGET_RESOURCE": target,
        "REMEDIATION_TYPE": "restart",
        "TIMEOUT": "300",
        "HOME": "/tmp",  # noqa: S108  (in the container)
        "TMPDIR": "/tmp",  # noqa: S108
    }
    assert "serviceAccountName" not in template["spec"]
    assert pod_of(executions)["serviceAccountName"] == "default", "the namespace's own"
    assert template["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == DEFAULT_DEADLINE
    assert "ttlSecondsAfterFinished" not in job["spec"], "it is the lock"


@pytest.mark.parametrize(
    ("given", "account"), [(None, "kubernaut-workflow-runner"), ("default", "default")]
)
def test_a_job_runs_as_its_workflow_says(
    executions: Executions, given: str | None, account: str
) -> None:
    job = job_for(executions, {"serviceAccountName": given})
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == account
    assert pod_of(executions)["serviceAccountName"] == account


def test_2176_001_a_job_is_told_its_deadline(executions: Executions) -> None:
    end = datetime.now(UTC) + timedelta(minutes=5)
    job = job_for(executions, timesOutAt=f"{end:%Y-%m-%dT%H:%M:%SZ}")
    assert 290 <= job["spec"]["activeDeadlineSeconds"] <= 300, "never later than asked"


@pytest.mark.parametrize("given", [RESOURCES, None])
def test_019_001_the_container_gets_the_resources_that_are_given(
    executions: Executions, given: Object | None
) -> None:
    job_for(executions, {"resources": given})
    (container,) = pod_of(executions)["containers"]
    assert container["resources"] == (given or {})


def test_019_002_pods_that_are_disrupted_or_killed_do_not_count(executions: Executions) -> None:
    spec = job_for(executions)["spec"]
    assert spec["backoffLimit"] == 0
    conditions, codes = spec["podFailurePolicy"]["rules"]
    assert conditions == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert codes == {
        "action": "Ignore",
        "onExitCodes": {"containerName": "workflow", "operator": "In", "values": [137]},
    }


def test_006_001_006_002_secrets_and_config_maps_are_mounted(executions: Executions) -> None:
    long = "a" * 100
    names = {
        "secrets": [{"name": "credentials"}, {"name": "tls.example"}],
        "configMaps": [{"name": "settings"}, {"name": long}],
    }
    job_for(executions, {"dependencies": names})
    pod = pod_of(executions)
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["secret-credentials"]["secret"]["secretName"] == "credentials"
    assert volumes["secret-1"]["secret"]["secretName"] == "tls.example", "no name of a volume"
    assert volumes["configmap-settings"]["configMap"]["name"] == "settings"
    assert volumes["configmap-1"]["configMap"]["name"] == long
    mounts = mounts_of(pod)
    assert {name: mounts[name] for name in mounts if name.startswith(("secret-", "config"))} == {
        "secret-credentials": ("/run/kubernaut/secrets/credentials", True),
        "secret-1": ("/run/kubernaut/secrets/tls.example", True),
        "configmap-settings": ("/run/kubernaut/configmaps/settings", True),
        "configmap-1": (f"/run/kubernaut/configmaps/{long}", True),
    }


def test_006_005_without_dependencies_nothing_is_mounted(executions: Executions) -> None:
    job = job_for(executions)
    volumes = job["spec"]["template"]["spec"]["volumes"]
    assert [one["name"] for one in volumes] == ["tmp"]
    assert mounts_of(job["spec"]["template"]["spec"]) == {"tmp": ("/tmp", False)}  # noqa: S108
