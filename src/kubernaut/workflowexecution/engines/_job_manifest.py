"""From a run to the Job that is created for it."""

from typing import Any, Final

from kubernaut.workflowexecution._run import TARGET_PARAMETER, Run
from kubernaut.workflowexecution.engines._children import metadata_of, seconds_left
from kubernaut.workflowexecution.engines._job_kinds import CONTAINER, Job

DEFAULT_DEADLINE: Final = 1800
"""Seconds that a Job may take where the run has no time at which it must have ended."""
_MOUNTS: Final = "/run/kubernaut"
_SIGKILL: Final = 137
_LONGEST_LABEL: Final = 63
_TMP: Final = "/tmp"  # noqa: S108  (a volume in the container)


def job_of(run: Run, now: float) -> Job:
    """The Job of a run: one pod that fits a namespace of the Pod Security level `restricted`.

    There is no `ttlSecondsAfterFinished`: the Job is the lock on its target and its state is what
    the controller reads, so it must be there until the controller releases it, which deletes it.

    A pod that was evicted, or killed for its memory, is replaced and does not count; the deadline
    ends that.

    Args:
        run: what to run.
        now: Unix time, for what is left until the run must have ended.
    """
    left = seconds_left(run, now)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(run)],
        "volumes": [*_dependencies(run), {"name": "tmp", "emptyDir": {}}],
    }
    if run.service_account:
        pod["serviceAccountName"] = run.service_account
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": DEFAULT_DEADLINE if left is None else left,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {
                    "action": "Ignore",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": [_SIGKILL],
                    },
                },
            ]
        },
        "template": {
            "metadata": {"labels": dict(run.labels), "annotations": dict(run.annotations)},
            "spec": pod,
        },
    }
    return Job(metadata=metadata_of(run), spec=spec)


def _container(run: Run) -> dict[str, Any]:
    values = {
        TARGET_PARAMETER: run.target,
        **run.parameters,
        "HOME": _TMP,
        "TMPDIR": _TMP,
    }
    mounts = [
        {
            "name": volume["name"],
            "mountPath": f"{_MOUNTS}/{folder}/{name}",
            "readOnly": True,
        }
        for folder, name, volume in _volumes(run)
    ]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": run.bundle,
        "env": [{"name": name, "value": value} for name, value in values.items()],
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": _TMP}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if run.resources is not None:
        container["resources"] = run.resources
    return container


def _dependencies(run: Run) -> list[dict[str, Any]]:
    return [volume for _, _, volume in _volumes(run)]


def _volumes(run: Run) -> list[tuple[str, str, dict[str, Any]]]:
    """The folder, the name and the volume of each secret and config map."""
    secrets = [
        (
            "secrets",
            name,
            {"name": _volume_name("secret", name, number), "secret": {"secretName": name}},
        )
        for number, name in enumerate(dict.fromkeys(run.secrets))
    ]
    configs = [
        (
            "configmaps",
            name,
            {"name": _volume_name("configmap", name, number), "configMap": {"name": name}},
        )
        for number, name in enumerate(dict.fromkeys(run.config_maps))
    ]
    return [*secrets, *configs]


def _volume_name(kind: str, name: str, number: int) -> str:
    """`secret-<name>`; by number where that is no name of a volume (it has dots, or is long)."""
    found = f"{kind}-{name}"
    return found if len(found) <= _LONGEST_LABEL and "." not in found else f"{kind}-{number}"
