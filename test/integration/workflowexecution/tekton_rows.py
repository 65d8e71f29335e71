"""The ways in which Tekton ends a run of ours, and what is to become of each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from test.integration.workflowexecution.real_tekton import (
    patch_run,
    pipeline,
    simulated,
    task,
    texts,
    wait_step,
)
from test.workflow_executions import COMPLETED, FAILED, STARTED, Executions, Object

HANG: Final = simulated(hang="true")
AT_ONCE: Final = simulated(delay="0s")
LICENCE: Final = "example.test/licence"
"""A resource of which the execution namespace has a quota of none."""
QUBIT: Final = "example.test/qubit"
"""A resource that no node has."""

WORKFLOWS: Final[Mapping[str, Object]] = {
    "plain": pipeline(task()),
    "skipping": pipeline(
        task(), task("extra", when=[{"input": "a", "operator": "in", "values": ["b"]}])
    ),
    "licensed": pipeline(task(step={"computeResources": {"limits": {LICENCE: "1"}}})),
    "quantum": pipeline(task(step={"computeResources": {"limits": {QUBIT: "1"}}})),
    "impatient": pipeline(task(timeout="2s")),
    "tidy": pipeline(task(), last=[task("tidy", pods=AT_ONCE)]),
    "hangs-tidily": pipeline(task(pods=HANG), last=[task("tidy")]),
    "second-hangs": pipeline(task("first"), task("second", runAfter=["first"], pods=HANG)),
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
        tekton: what Tekton calls it: the reason of the PipelineRun, or one of several (`a|b`).
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
    wait_step(executions, executions.target(name))
    executions.annotate(name, {"kubernaut.ai/cancel": "wrong cluster"})


def patched(status: str) -> Callable[[Executions, str], None]:
    """Somebody ends the PipelineRun himself."""

    def patch(executions: Executions, name: str) -> None:
        wait_step(executions, executions.target(name))
        patch_run(executions, executions.target(name), {"status": status})

    return patch


AT_WORK: Final = ("main", 0, "run", None)
"""The one task was ended in its only step, which has no exit code of its own."""
ROWS: Final[dict[str, Row]] = {
    # Those that have to reach something before their time is over come first.
    "times-out-at": Row(
        "PipelineRunTimeout",
        "DeadlineExceeded",
        ("failed to finish within", "; task main (TaskRun "),
        blamed=AT_WORK,
        acted=True,
        pods=HANG,
        seconds=15,
    ),
    "second-times-out": Row(
        "PipelineRunTimeout",
        "DeadlineExceeded",
        ("failed to finish within", "; task second (TaskRun "),
        tasks=(1, 2),
        blamed=("second", 1, "run", None),
        acted=True,
        workflow="second-hangs",
        seconds=15,
    ),
    "quota": Row(
        "PipelineRunTimeout",
        "ResourceExhausted",
        ("; task main (TaskRun ", "ExceededResourceQuota", "exceeded available resources"),
        blamed=("main", 0, "", None),
        workflow="licensed",
        seconds=15,
    ),
    "no-such-node": Row(
        "PipelineRunTimeout",
        "ResourceExhausted",
        ("; task main (TaskRun ", "ExceededNodeResources"),
        blamed=("main", 0, "", None),
        workflow="quantum",
        seconds=15,
    ),
    "timeout-of-tasks": Row(
        "PipelineRunTimeout",
        "DeadlineExceeded",
        ('failed due to tasks failed to finish within "12s"', "; task main (TaskRun "),
        blamed=AT_WORK,
        acted=True,
        pods=HANG | simulated(timeout_of_tasks="12s"),
    ),
    "timeout-of-a-task": Row(
        "Failed",
        "DeadlineExceeded",
        ("task main (TaskRun ", 'failed to finish within "2s"'),
        blamed=AT_WORK,
        acted=True,
        workflow="impatient",
        pods=HANG,
    ),
    "cancelled": Row(
        "Running|Cancelled",
        "Unknown",
        ("Cancelled: wrong cluster",),
        acted=True,
        pods=HANG,
        meddle=cancel,
        trail=CANCELLED,
    ),
    "cancelled-by-hand": Row(
        "Cancelled",
        "Unknown",
        ('" was cancelled; task main (TaskRun ',),
        blamed=AT_WORK,
        acted=True,
        pods=HANG,
        meddle=patched("Cancelled"),
    ),
    "cancelled-and-tidied": Row(
        "Cancelled",
        "Unknown",
        ('" was cancelled; task main (TaskRun ',),
        tasks=(1, 2),
        blamed=AT_WORK,
        acted=True,
        workflow="hangs-tidily",
        meddle=patched("CancelledRunFinally"),
    ),
    "ok": Row("Succeeded", tasks=(1, 1), trail=COMPLETED),
    "ok-with-a-skipped-task": Row("Completed", tasks=(1, 1), workflow="skipping", trail=COMPLETED),
    "exit-1": Row(
        "Failed",
        "TaskFailed",
        ("task main (TaskRun ", "-main) step run exited with code 1: Error"),
        blamed=("main", 0, "run", 1),
        acted=True,
        pods=simulated(exit_code="1"),
    ),
    "out-of-memory": Row(
        "Failed",
        "OOMKilled",
        ("task main (TaskRun ", "-main) step run exited with code 137: OOMKilled"),
        blamed=("main", 0, "run", 137),
        acted=True,
        pods=simulated(exit_code="137", reason="OOMKilled"),
    ),
    "image-pull": Row(
        "Failed",
        "ImagePullBackOff",
        ("task main (TaskRun ", "failed to pull the image", "example.test/step:1"),
        blamed=AT_WORK,
        pods=simulated(waiting="ImagePullBackOff"),
    ),
    "config-error": Row(
        "Failed",
        "ConfigurationError",
        ("task main (TaskRun ", "Failed to create pod due to config error", "step run was waiting"),
        blamed=AT_WORK,
        pods=simulated(waiting="CreateContainerConfigError"),
    ),
    "missing-account": Row(
        "Failed",
        "ConfigurationError",
        ("task main (TaskRun ", 'serviceaccounts "nope" not found'),
        blamed=("main", 0, "", None),
        reference={"serviceAccountName": "nope"},
    ),
    "missing-param": Row(
        "ParameterMissing",
        "ConfigurationError",
        ("pipelineRun missing parameters: [REGION]",),
        tasks=(0, 0),
        workflow="needy",
    ),
    "mistyped-param": Row(
        "ParameterTypeMismatch",
        "ConfigurationError",
        ("parameters have inconsistent types : [NAMESPACE]",),
        tasks=(0, 0),
        workflow="listing",
    ),
    "missing-task": Row(
        "CouldntGetTask",
        "ConfigurationError",
        ('tasks.tekton.dev "no-such-task" not found',),
        tasks=(0, 0),
        workflow="unknown-task",
    ),
    "missing-result": Row(
        "CouldntGetPipelineResult",
        "ConfigurationError",
        ("invalid pipelineresults [out], the referenced results don't exist",),
        tasks=(1, 1),
        acted=True,
        workflow="no-result",
    ),
    "missing-pipeline": Row(
        "CouldntGetPipeline",
        "ConfigurationError",
        ("could not find object in image with kind: pipeline and name: workflow",),
        tasks=(0, 0),
        workflow="other-name",
    ),
    "unknown-image": Row(
        "CouldntGetPipeline",
        "ImagePullBackOff",
        ("cannot retrieve the oci image", "/v2/workflows/none/manifests/1: NAME_UNKNOWN"),
        tasks=(0, 0),
        workflow="{registry}/workflows/none:1",
    ),
    "registry-down": Row(
        "CouldntGetPipeline",
        "ImagePullBackOff",
        ("cannot retrieve the oci image", "127.0.0.1:1: connect: connection refused"),
        tasks=(0, 0),
        workflow="127.0.0.1:1/workflows/plain:1",
    ),
    "second-of-three": Row(
        "Failed",
        "TaskFailed",
        ("task second (TaskRun ", "step run exited with code 3: Error: the disk is full"),
        tasks=(1, 2),
        blamed=("second", 1, "run", 3),
        acted=True,
        workflow="second-fails",
    ),
    "two-at-once": Row(
        "Failed",
        "TaskFailed",
        ("task one (TaskRun ", "step run exited with code 1: Error; 1 more failed"),
        tasks=(0, 2),
        blamed=("one", 0, "run", 1),
        acted=True,
        workflow="two-fail",
    ),
    # Somebody has eight seconds for what he does to this one, so it comes last, and he at once.
    "stopped-by-hand": Row(
        "Cancelled",
        "Unknown",
        ('" was cancelled',),
        tasks=(2, 2),
        acted=True,
        workflow="tidy",
        pods=simulated(delay="8s"),
        meddle=patched("StoppedRunFinally"),
    ),
}
