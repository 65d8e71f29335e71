"""Tekton executes the runs: what it says of each way to end, and what the operator makes of it.

One row for each that a run of ours can meet. All are created at once, then each is checked. What
the spec of a PipelineRun of ours never has (`timeouts.tasks`, a start that waits) is set by an
admission policy of the cluster, as somebody else's may be.

Catalogue 2.9, 3.3 1645-001 and 4.1 nos. 1, 2, 8, 10, 11, on a real Tekton.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import pytest

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import lock_name
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.real_tekton import (
    SIMULATED,
    patch_run,
    pipeline,
    simulated,
    task,
    texts,
)
from test.operator_process import OperatorProcess
from test.workflow_executions import COMPLETED, FAILED, STARTED, Executions, Object, Trails, new_executions

HANG: Final = simulated(hang="true")
FAST: Final = simulated(delay="0ms")
LICENCE: Final = "example.test/licence"
"""A resource of which the execution namespace has a quota of none."""

WORKFLOWS: Final[Mapping[str, Object]] = {
    "plain": pipeline(task()),
    "skipping": pipeline(
        task(), task("extra", when=[{"input": "a", "operator": "in", "values": ["b"]}])
    ),
    "licensed": pipeline(task(step={"computeResources": {"limits": {LICENCE: "1"}}})),
    "impatient": pipeline(task(timeout="2s", pods=HANG)),
    "tidy": pipeline(task(pods=HANG), **{"finally": [task("tidy")]}),
    "needy": pipeline(task(), params=texts("TARGET_RESOURCE", "REGION")),
    "listing": pipeline(task(), params=[{"name": "NAMESPACE", "type": "array"}]),
    "unknown-task": pipeline({"name": "main", "taskRef": {"name": "no-such-task"}}),
    "no-result": pipeline(
        task(taskSpec={"results": [{"name": "out"}]}),
        results=[{"name": "out", "value": "$(tasks.main.results.out)"}],
    ),
    "other-name": pipeline(task(), name="other"),
    "second-fails": pipeline(
        task("first"),
        task(
            "second", runAfter=["first"], pods=simulated(exit_code="3", message="the disk is full")
        ),
        task("third", runAfter=["second"]),
    ),
    "two-fail": pipeline(
        task("one", pods=simulated(exit_code="1")), task("other", pods=simulated(exit_code="2"))
    ),
}
CANCELLED: Final = [*STARTED, "cancel.requested", "workflow.failed"]


class Row(NamedTuple):
    """A run, and what is to become of it.

    Attributes:
        tekton: what Tekton calls it: the reason of the PipelineRun.
        reason: ours; "" where the run succeeds.
        said: what the message must have, each part for itself.
        tasks: how many have succeeded, and how many were started.
        blamed: the task, by the end of its name, and its position, step and exit code.
        acted: `wasExecutionFailure`.
        workflow: one of `WORKFLOWS`, or a bundle; `{registry}` is the cluster's.
        pods: what its pods do.
        seconds: until `timesOutAt`.
        reference: more of `workflowRef`.
        meddle: what somebody does to it once it is running.
        trail: the types of its events.
    """

    tekton: str
    reason: str = ""
    said: Sequence[str] = ()
    tasks: tuple[int, int] = (0, 1)
    blamed: tuple[str, int, str, int | None] = ("", 0, "", None)
    acted: bool = False
    workflow: str = "plain"
    pods: Mapping[str, str] = {}
    seconds: int | None = None
    reference: Mapping[str, Any] = {}
    meddle: Callable[[Executions, str], None] | None = None
    trail: Sequence[str] = FAILED


def cancel(executions: Executions, name: str) -> None:
    executions.annotate(name, {"kubernaut.ai/cancel": "wrong cluster"})


def patched(status: str) -> Callable[[Executions, str], None]:
    """Somebody ends the PipelineRun himself."""

    def patch(executions: Executions, name: str) -> None:
        executions.wait_condition(name, "ExecutionRunning")
        patch_run(executions, executions.target(name), {"status": status})

    return patch


MAIN: Final = ("main", 0, "run", None)
ROWS: Final[Mapping[str, Row]] = {
    # First those that take some seconds.
    "times-out-at": Row("PipelineRunTimeout", seconds=10, pods=HANG),
    "quota": Row("PipelineRunTimeout", workflow="licensed", seconds=10),
    "timeout-of-tasks": Row("PipelineRunTimeout", pods=HANG | simulated(timeout_of_tasks="3s")),
    "timeout-of-a-task": Row("Failed", workflow="impatient"),
    "cancelled": Row("Cancelled", pods=HANG, meddle=cancel, trail=CANCELLED),
    "cancelled-by-hand": Row("Cancelled", pods=HANG, meddle=patched("Cancelled")),
    "stopped-by-hand": Row("Cancelled", workflow="tidy", meddle=patched("StoppedRunFinally")),
    "ok": Row("Succeeded", tasks=(1, 1), trail=COMPLETED),
    "ok-with-a-skipped-task": Row("Completed", tasks=(1, 1), workflow="skipping", trail=COMPLETED),
    "exit-1": Row("Failed", pods=simulated(exit_code="1")),
    "out-of-memory": Row("Failed", pods=simulated(exit_code="137", reason="OOMKilled")),
    "image-pull": Row("Failed", pods=simulated(waiting="ImagePullBackOff")),
    "config-error": Row("Failed", pods=simulated(waiting="CreateContainerConfigError")),
    "missing-account": Row("Failed", reference={"serviceAccountName": "nope"}),
    "missing-param": Row("ParameterMissing", workflow="needy"),
    "mistyped-param": Row("ParameterTypeMismatch", workflow="listing"),
    "missing-task": Row("CouldntGetTask", workflow="unknown-task"),
    "missing-result": Row("CouldntGetPipelineResult", workflow="no-result", tasks=(1, 1)),
    "missing-pipeline": Row("CouldntGetPipeline", workflow="other-name"),
    "unknown-image": Row("CouldntGetPipeline", workflow="{registry}/workflows/none:1"),
    "registry-down": Row("CouldntGetPipeline", workflow="127.0.0.1:1/workflows/plain:1"),
    "second-of-three": Row("Failed", workflow="second-fails", tasks=(1, 2)),
    "two-at-once": Row("Failed", workflow="two-fail", tasks=(0, 2)),
}
_POLICY: Final = "runs-of-this-cluster"
_POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"


def soon(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def limit_tasks(cluster: LocalCluster) -> None:
    """A policy of the cluster sets `timeouts.tasks` where an annotation asks for it."""
    chosen = f"object.metadata.annotations[?'{SIMULATED}timeout-of-tasks']"
    rule = {"apiGroups": ["tekton.dev"], "apiVersions": ["v1"], "resources": ["pipelineruns"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule | {"operations": ["CREATE"]}]},
        "matchConditions": [
            {"name": "asked", "expression": f"has(object.metadata.annotations) && {chosen}.hasValue()"}
        ],
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": '[JSONPatch{op: "add", path: "/spec/timeouts", '
                    f'value: {{"tasks": {chosen}.value()}}}}]'
                },
            }
        ],
    }
    answer = cluster.api("POST", _POLICIES, {"metadata": {"name": _POLICY}, "spec": spec})
    assert answer.status == 201, answer
    binding = {"metadata": {"name": _POLICY}, "spec": {"policyName": _POLICY}}
    answer = cluster.api("POST", f"{_POLICIES.replace('policies', 'policybindings')}", binding)
    assert answer.status == 201, answer
