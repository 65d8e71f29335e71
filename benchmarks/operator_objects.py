"""The objects of the operator's benchmark: WorkflowExecutions, running and finished ones.

Each has a target and a correlation id of its own, so that none waits for another. What the script
watches it reads as little of as it can: it shares the processors with what is measured.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from kubernaut.kubernetes import (
    Client,
    Condition,
    KubernetesObject,
    Resource,
    set_condition,
)
from kubernaut.workflowexecution import (
    FINALIZER,
    WORKFLOW_EXECUTIONS,
    WorkflowExecution,
    WorkflowExecutionStatus,
)

LABEL: Final = "bench.kubernaut.ai/load"
"""Names the load that a WorkflowExecution belongs to."""

_WORKFLOW: Final = {
    "workflowId": "restart-deployment",
    "version": "1.0.0",
    "workflowName": "Restart a deployment",
    "actionType": "RestartDeployment",
    "executionBundle": "registry.example/workflows/restart:1.0.0",
    "executionEngine": "tekton",
}


class SeenStatus(msgspec.Struct, frozen=True):
    """What the script reads of a status."""

    phase: str = ""
    conditions: list[Condition] = []


class SeenExecution(KubernetesObject, frozen=True):
    """A part of a WorkflowExecution."""

    status: SeenStatus = SeenStatus()


class SeenRun(KubernetesObject, frozen=True):
    """A PipelineRun: that it is there is enough."""


EXECUTIONS: Final = Resource(
    WORKFLOW_EXECUTIONS.group,
    WORKFLOW_EXECUTIONS.version,
    WORKFLOW_EXECUTIONS.plural,
    WORKFLOW_EXECUTIONS.kind,
    namespaced=True,
    type=SeenExecution,
)
PIPELINE_RUNS: Final = Resource(
    "tekton.dev", "v1", "pipelineruns", "PipelineRun", namespaced=True, type=SeenRun
)


def target_of(namespace: str, name: str) -> str:
    """The target that one WorkflowExecution has alone."""
    return f"{namespace}/deployment/{name}"


def correlation_id_of(namespace: str, name: str) -> str:
    """Its chain."""
    return f"rr-{namespace}-{name}"


def execution(namespace: str, name: str, load: str = "") -> WorkflowExecution:
    """A WorkflowExecution as it is created, with parameters and texts as real ones have them."""
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {LABEL: load} if load else {},
            },
            "spec": {
                "remediationRequestRef": {"name": correlation_id_of(namespace, name)},
                "workflowRef": _WORKFLOW,
                "targetResource": target_of(namespace, name),
                "parameters": {"NAMESPACE": "payments", "REPLICA_COUNT": "3", "REASON": "OOM"},
                "confidence": 0.92,
                "rationale": "The container was killed for its memory three times in ten minutes",
            },
        },
        WorkflowExecution,
    )


async def finish(client: Client, namespace: str, name: str) -> None:
    """Write the status of a PipelineRun as Tekton writes it at the end."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    succeeded = {
        "type": "Succeeded",
        "status": "True",
        "reason": "Completed",
        "message": "Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 0",
        "lastTransitionTime": moment,
    }
    status = {
        "conditions": [succeeded],
        "startTime": moment,
        "completionTime": moment,
        "childReferences": [
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "TaskRun",
                "name": f"{name}-restart",
                "pipelineTaskName": "restart",
            }
        ],
    }
    await client.patch(
        PIPELINE_RUNS, name, {"status": status}, namespace=namespace, subresource="status"
    )


def released(status: WorkflowExecutionStatus) -> WorkflowExecutionStatus:
    """The status of a run whose trail is stored, once its target was released too."""
    conditions = set_condition(
        status.conditions,
        "LockReleased",
        "True",
        "CooldownElapsed",
        "Lock released after cooldown",
        now=datetime.now(UTC).replace(microsecond=0),
        observed_generation=1,
    )
    return msgspec.structs.replace(status, conditions=conditions)


async def make_finished(
    client: Client, namespace: str, name: str, status: WorkflowExecutionStatus
) -> None:
    """One that is done with: completed, in the trail, released. Two requests."""
    made = execution(namespace, name)
    metadata = msgspec.structs.replace(made.metadata, finalizers=[FINALIZER])
    await client.create(WORKFLOW_EXECUTIONS, msgspec.structs.replace(made, metadata=metadata))
    body = msgspec.to_builtins(
        msgspec.structs.replace(status, correlation_id=correlation_id_of(namespace, name))
    )
    await client.patch(
        EXECUTIONS, name, {"status": body}, namespace=namespace, subresource="status"
    )
