"""The parts of Job, Pod and Event that the engine `job` reads."""

from datetime import datetime
from typing import Any, Final

import msgspec

from kubernaut.kubernetes import (
    Condition,
    KubernetesObject,
    ObjectReference,
    Resource,
    get_condition,
)
from kubernaut.workflowexecution.engines._containers import ContainerState

CONTAINER: Final = "workflow"
"""The name of the container that runs a workflow."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of an object."""


class JobStatus(_Part, frozen=True):
    """A part of `batch/v1.JobStatus`."""

    conditions: list[Condition] = []
    start_time: datetime | None = None
    completion_time: datetime | None = None
    active: int = 0
    ready: int | None = None
    terminating: int | None = None
    succeeded: int = 0
    failed: int = 0


class Job(KubernetesObject, frozen=True):
    """A part of `batch/v1.Job`; its spec is as it came."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: JobStatus = JobStatus()

    def condition(self, *types: str) -> Condition | None:
        """The first of these conditions that is true."""
        found = (get_condition(self.status.conditions, type_) for type_ in types)
        return next((one for one in found if one and one.status == "True"), None)


class ContainerStatus(_Part, frozen=True):
    """A part of `core/v1.ContainerStatus`."""

    name: str = ""
    state: ContainerState = ContainerState()


class JobPodStatus(_Part, frozen=True):
    """A part of `core/v1.PodStatus`."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    container_statuses: list[ContainerStatus] = []


class JobPod(KubernetesObject, frozen=True):
    """A part of `core/v1.Pod`: what became of its containers."""

    status: JobPodStatus = JobPodStatus()

    @property
    def is_over(self) -> bool:
        """Whether none of its containers runs, nor will."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def workflow(self) -> ContainerState:
        """The state of the container that runs the workflow."""
        found = (one.state for one in self.status.container_statuses if one.name == CONTAINER)
        return next(found, ContainerState())


class EventSeriesCount(_Part, frozen=True):
    """A part of `events.k8s.io/v1.EventSeries`."""

    count: int = 0


class JobEvent(KubernetesObject, frozen=True):
    """A part of `events.k8s.io/v1.Event`, whichever API it was written through."""

    reason: str = ""
    note: str = ""
    regarding: ObjectReference = ObjectReference()
    series: EventSeriesCount | None = None
    deprecated_count: int = 0

    @property
    def times(self) -> int:
        """How often it happened."""
        return (self.series.count if self.series else 0) or self.deprecated_count or 1


JOBS: Final = Resource("batch", "v1", "jobs", "Job", True, Job)
JOB_PODS: Final = Resource("", "v1", "pods", "Pod", True, JobPod)
JOB_EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event", True, JobEvent)
JOB_NAME_LABEL: Final = "batch.kubernetes.io/job-name"
JOB_UID_LABEL: Final = "batch.kubernetes.io/controller-uid"
STOPPED_ANNOTATION: Final = "kubernaut.ai/stopped"
"""On a Job that the operator suspended for good; others may suspend one to resume it later.

Its value is `NO_PODS`, or another where the Job had a pod: a suspended Job itself forgets that.
"""
NO_PODS: Final = "before-it-had-pods"
