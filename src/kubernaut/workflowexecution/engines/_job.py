"""The engine `job`: a run is a Job of `batch/v1` in the execution namespace.

- A Job has come to its end when it says so (`Complete`, `Failed`): before, its pods may still run.
- Stopping suspends a Job, which ends its pods; a stopped Job counts as failed once they are gone.
- A name is free again only when no pod of the former Job runs, so that two never act at once.
- Events are read of a Job that has ended, never while it runs.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, cast

from kubernaut.kubernetes import (
    Client,
    KubernetesError,
    Reflector,
    Source,
)
from kubernaut.workflowexecution._api import EngineName
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution.engines._children import owner_of, reflector_of
from kubernaut.workflowexecution.engines._engine import Child, ChildState, Failure
from kubernaut.workflowexecution.engines._job_failure import (
    CREATED,
    events_of,
    failure_of,
    last_ended,
    retries_of,
)
from kubernaut.workflowexecution.engines._job_kinds import (
    JOB_EVENTS,
    JOB_NAME_LABEL,
    JOB_PODS,
    JOB_UID_LABEL,
    JOBS,
    NO_PODS,
    STOPPED_ANNOTATION,
    Job,
    JobEvent,
    JobPod,
)
from kubernaut.workflowexecution.engines._job_manifest import job_of
from kubernaut.workflowexecution.engines._objects import ObjectEngine

log = logging.getLogger("kubernaut.workflowexecution")

_STOPPED: Final = ("Stopped", "it was stopped, and its pods were ended")
_USUAL: Final = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "Killing")
"""What is told of every pod, and explains nothing: left out by the server."""


class JobEngine(ObjectEngine[Job]):
    """Runs workflows as Jobs.

    Args:
        client: to ask with.
        children: what `reflector` makes; running it is the caller's business.
        namespace: the execution namespace.
    """

    name: EngineName = "job"

    def __init__(self, client: Client, children: Source[Job], namespace: str) -> None:
        super().__init__(JOBS, child_of, client, children, namespace)

    @staticmethod
    def reflector(client: Client, namespace: str) -> Reflector[Job]:
        """Watches the Jobs that carry our labels."""
        return reflector_of(client, JOBS, namespace)

    async def observe(self, name: str) -> Child | None:
        """The child of a name as it is now, whosever it is; None where there is none.

        `retries` is known of a child that is over, as far as its events are still there.
        """
        child = await super().observe(name)
        if child is None or not child.is_over:
            return child
        job = cast(Job, child.seen)
        try:
            about = f"regarding.kind=Job,regarding.name={name},reason={CREATED}"
            return replace(child, retries=retries_of(events_of(job, await self._events(about))))
        except KubernetesError as error:  # A number for people: no reason to wait.
            log.info("the retries of Job %s are not known: %s", job.key, error)
            return child

    async def create(self, run: Run) -> Child:
        """Create a Job."""
        asked = job_of(run, self._client.clock.time())
        return child_of(await self._client.create(JOBS, asked))

    async def explain(self, child: Child) -> Failure:
        """Why it failed: reads its pods, and events where those do not say."""
        job = cast(Job, child.seen)
        pods = await self._pods(f"{JOB_UID_LABEL}={child.uid}")
        events: list[JobEvent] = []
        if last_ended(pods) is None:
            telling = ",".join(f"reason!={reason}" for reason in _USUAL)
            events = [
                *await self._events(f"regarding.kind=Job,regarding.name={child.name}"),
                *await self._events(f"regarding.kind=Pod,{telling}"),
            ]
        return failure_of(job, (child.reason, child.message), pods, events_of(job, events))

    async def stop(self, child: Child) -> None:
        """Suspend it for good: its pods are ended, and the Job stays, and tells if it had any."""
        if child.is_over or child.stopping:
            return
        # The status of the Job may be behind, so the pods are looked at too.
        begun = child.begun or await self._pods(f"{JOB_UID_LABEL}={child.uid}")
        body = {
            "metadata": {"annotations": {STOPPED_ANNOTATION: "true" if begun else NO_PODS}},
            "spec": {"suspend": True},
        }
        await self._end(child, body)

    async def cleanup(self, name: str, uid: str | None) -> bool:
        """Delete a Job and its pods; whether none of them is left.

        What is left are pods that are labelled with the Job's name, have not ended, and do not
        belong to the Job that has the name now, if there is one. (Who deletes a Job without its
        pods, as a plain DELETE does, leaves the ended ones for good.)
        """
        if await self._delete(name, uid):
            return False
        pods = await self._pods(f"{JOB_NAME_LABEL}={name}")
        return await self._is_free(name, (pod for pod in pods if not pod.is_over))

    async def _pods(self, label_selector: str) -> list[JobPod]:
        return await self._list(JOB_PODS, label_selector=label_selector)

    async def _events(self, field_selector: str) -> list[JobEvent]:
        return await self._list(JOB_EVENTS, field_selector=field_selector)


def child_of(job: Job) -> Child:
    """A Job as a child."""
    meta = job.metadata
    status = job.status
    state, reason, message = _state_of(job)
    over = state in ("Succeeded", "Failed")
    end = job.condition("Complete", "Failed", "Suspended")
    finished_at = status.completion_time or (end.last_transition_time if end else None)
    return Child(
        engine=JobEngine.name,
        resource=JOBS.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        created=cast(datetime, meta.creation_timestamp),
        owner=owner_of(meta),
        state=state,
        reason=reason,
        message=message,
        begun=_has_begun(job),
        finished_at=finished_at if over else None,
        completed_tasks=int(state == "Succeeded"),
        total_tasks=1,
        stopping=_is_stopped(job),
        deleting=meta.deletion_timestamp is not None,
        seen=job,
    )


def _is_stopped(job: Job) -> bool:
    """Whether we suspended it; somebody else may suspend a Job and mean to resume it."""
    return bool(job.spec.get("suspend")) and STOPPED_ANNOTATION in job.metadata.annotations


def _has_begun(job: Job) -> bool:
    """Whether it has, or had, a pod: whether that acts is told only a second later (`ready`)."""
    status = job.status
    if status.active or status.terminating or status.succeeded or status.failed:
        return True
    if _is_stopped(job):
        return job.metadata.annotations[STOPPED_ANNOTATION] != NO_PODS
    return job.condition("Complete") is not None


def _state_of(job: Job) -> tuple[ChildState, str, str]:
    ends: Sequence[tuple[str, ChildState]] = (("Complete", "Succeeded"), ("Failed", "Failed"))
    for type_, state in ends:
        if found := job.condition(type_):
            return state, found.reason or state, found.message
    if ending := job.condition("FailureTarget", "SuccessCriteriaMet"):
        return "Running", ending.reason or "Running", ending.message  # Its pods may still run.
    status = job.status
    suspended = job.condition("Suspended")
    if suspended and not status.active and not status.terminating:
        if _is_stopped(job):
            return "Failed", *_STOPPED
        return "Waiting", suspended.reason or "Suspended", suspended.message
    if status.active or status.ready or status.terminating or status.failed or status.succeeded:
        return "Running", "Running", f"{status.active} pod(s) active"
    return "Waiting", "Pending", ""
