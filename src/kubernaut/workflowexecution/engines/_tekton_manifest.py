"""From a run to the PipelineRun that is created for it."""

from typing import Any, Final

from kubernaut.workflowexecution._run import TARGET_PARAMETER, Run
from kubernaut.workflowexecution.engines._children import metadata_of, seconds_left
from kubernaut.workflowexecution.engines._tekton_kinds import PipelineRun

PIPELINE_NAME: Final = "workflow"
"""What the Pipeline in a bundle is called (ADR-043)."""


def pipeline_run_of(run: Run, now: float) -> PipelineRun:
    """The PipelineRun of a run.

    Members that Tekton would fill in by itself are left to it: its webhook sets the default
    service account and a timeout of one hour.

    Args:
        run: what to run.
        now: Unix time, for what is left until the run must have ended.
    """
    parameters = {**run.parameters, TARGET_PARAMETER: run.target}
    template: dict[str, Any] = {
        "podTemplate": {
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            }
        }
    }
    if run.service_account:
        template["serviceAccountName"] = run.service_account
    spec: dict[str, Any] = {
        "pipelineRef": {
            "resolver": "bundles",
            "params": _params({"bundle": run.bundle, "name": PIPELINE_NAME, "kind": "pipeline"}),
        },
        "params": _params(parameters),
        "taskRunTemplate": template,
    }
    if workspaces := _workspaces(run):
        spec["workspaces"] = workspaces
    if (seconds := seconds_left(run, now)) is not None:
        spec["timeouts"] = {"pipeline": f"{seconds}s"}
    return PipelineRun(metadata=metadata_of(run), spec=spec)


def _params(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _workspaces(run: Run) -> list[dict[str, Any]]:
    secrets = [
        {"name": f"secret-{name}", "secret": {"secretName": name}}
        for name in dict.fromkeys(run.secrets)
    ]
    configs = [
        {"name": f"configmap-{name}", "configMap": {"name": name}}
        for name in dict.fromkeys(run.config_maps)
    ]
    return [*secrets, *configs]
