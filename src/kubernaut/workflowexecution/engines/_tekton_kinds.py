"""The parts of Tekton's kinds (`tekton.dev/v1`) that we read."""

from datetime import datetime
from typing import Any, Final

import msgspec

from kubernaut.kubernetes import Condition, KubernetesObject, Resource, get_condition
from kubernaut.workflowexecution.engines._containers import ContainerState


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of an object."""


class ChildReference(_Part, frozen=True):
    """One TaskRun (or something else) that a PipelineRun created."""

    kind: str = ""
    name: str = ""
    pipeline_task_name: str = ""


class PipelineRunStatus(_Part, frozen=True):
    """A part of `PipelineRunStatus`."""

    conditions: list[Condition] = []
    start_time: datetime | None = None
    completion_time: datetime | None = None
    child_references: list[ChildReference] = []


class PipelineRun(KubernetesObject, frozen=True):
    """A part of `PipelineRun`; its spec is as it came."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: PipelineRunStatus = PipelineRunStatus()

    @property
    def succeeded(self) -> Condition | None:
        """The condition that tells how it is going."""
        return get_condition(self.status.conditions, "Succeeded")


class Step(ContainerState, frozen=True, kw_only=True):
    """How a step of a task is."""

    name: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    termination_reason: str = msgspec.field(name="terminationReason", default="")

    @property
    def may_have_run(self) -> bool:
        """Whether its container was made of an image, or shows that it ran."""
        return bool(self.image_id) or self.ran

    @property
    def failed(self) -> bool:
        """Whether it ended with an error of its own or of Tekton's."""
        return self.terminated is not None and self.terminated.exit_code != 0


class TaskRunStatus(_Part, frozen=True):
    """A part of `TaskRunStatus`."""

    conditions: list[Condition] = []
    steps: list[Step] = []


class TaskRun(KubernetesObject, frozen=True):
    """A part of `TaskRun`."""

    status: TaskRunStatus = TaskRunStatus()

    @property
    def succeeded(self) -> Condition | None:
        """The condition that tells how it is going."""
        return get_condition(self.status.conditions, "Succeeded")


PIPELINE_RUNS: Final = Resource(
    "tekton.dev", "v1", "pipelineruns", "PipelineRun", True, PipelineRun
)
TASK_RUNS: Final = Resource("tekton.dev", "v1", "taskruns", "TaskRun", True, TaskRun)
PIPELINE_RUN_LABEL: Final = "tekton.dev/pipelineRun"
"""On TaskRuns: the name of the PipelineRun that they belong to."""
