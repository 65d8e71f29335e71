"""Why a Job failed, from its condition, its pods and the events about them. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from kubernaut.workflowexecution.engines._children import one_line
from kubernaut.workflowexecution.engines._classify import Facts, classify, facts_text
from kubernaut.workflowexecution.engines._containers import Terminated, Waiting, described
from kubernaut.workflowexecution.engines._engine import Failure
from kubernaut.workflowexecution.engines._job_kinds import CONTAINER, Job, JobEvent, JobPod
from kubernaut.workflowexecution.engines._rules import Where

CREATED: Final = "SuccessfulCreate"
"""The reason of the event that tells of a new pod of a Job."""
_REFUSED: Final = "FailedCreate"
_TELLING: Final = (
    "FailedMount",
    "CreateContainerConfigError",
    "Failed",
    "BackOff",
    _REFUSED,
    "FailedScheduling",
)
"""Reasons of events that say why a pod does not run, the most telling first."""
_ON_THE_WAY: Final = ("ContainerCreating", "PodInitializing")
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ended:
    """A container of a workflow that ended with an error."""

    pod: str
    how: Terminated


def last_ended(pods: Sequence[JobPod]) -> Ended | None:
    """The container that ended last with an error."""
    ended = [
        Ended(pod.metadata.name, how)
        for pod in pods
        if (how := pod.workflow.ended) and how.exit_code != 0
    ]
    return max(ended, key=lambda one: (one.how.finished_at or _LONG_AGO, one.pod), default=None)


def events_of(job: Job, events: Sequence[JobEvent]) -> list[JobEvent]:
    """The events about a Job and its pods, without those of a former Job of the same name."""
    name = re.compile(rf"{re.escape(job.metadata.name)}-[a-z0-9]{{5}}")
    since = job.metadata.creation_timestamp or _LONG_AGO

    def is_ours(event: JobEvent) -> bool:
        about = event.regarding
        if about.kind == "Job" and about.name == job.metadata.name:
            if about.uid:
                return about.uid == job.metadata.uid
        elif about.kind != "Pod" or not name.fullmatch(about.name):
            return False
        return (event.metadata.creation_timestamp or _LONG_AGO) >= since

    return [event for event in events if is_ours(event)]


def retries_of(events: Sequence[JobEvent]) -> int:
    """How many pods were created after the first; 0 where the events are gone (after an hour)."""
    return max(0, sum(event.times for event in events if event.reason == CREATED) - 1)


def failure_of(
    job: Job,
    said: tuple[str, str],
    pods: Sequence[JobPod],
    events: Sequence[JobEvent],
) -> Failure:
    """Why it failed.

    Args:
        job: a Job that has failed.
        said: the reason and the message of its end.
        pods: what is left of its pods.
        events: those of `events_of`, as far as they were asked for.
    """
    ended = last_ended(pods)
    waiting = _waiting(pods)
    event = _telling(events, had_pods=bool(pods))
    words: set[tuple[Where, str]] = {("job", said[0])}
    words |= {("pod", pod.status.reason) for pod in pods}
    texts = [pod.status.message for pod in pods]
    if ended:
        words.add(("container", ended.how.reason))
        texts.append(ended.how.message)
    if waiting:
        words.add(("container", waiting[1].reason))
        texts.append(waiting[1].message)
    if event:
        words.add(("event", event.reason))
        texts.append(event.note)
    reason, acted = classify(
        Facts(
            words=frozenset(words),
            text=facts_text([*texts, said[1]]),
            started=job.status.start_time is not None,
            has_tasks=bool(pods),
            ran=any(pod.workflow.ran for pod in pods),
        )
    )
    blamed = ended.pod if ended else waiting[0] if waiting else ""
    return Failure(
        reason=reason,
        message=_message(said, ended, waiting, event, pods),
        task_name=blamed,
        step_name=CONTAINER if blamed else "",
        exit_code=ended.how.exit_code if ended else None,
        was_execution_failure=acted,
    )


def _waiting(pods: Sequence[JobPod]) -> tuple[str, Waiting] | None:
    """A pod whose container waits for something that does not come."""
    found = (
        (pod.metadata.name, state)
        for pod in pods
        if (state := pod.workflow.waiting) and state.reason not in _ON_THE_WAY
    )
    return next(found, None)


def _telling(events: Sequence[JobEvent], *, had_pods: bool) -> JobEvent | None:
    """The event that says most; that a pod was refused counts only where there was never one."""
    had_pods = had_pods or any(event.reason == CREATED for event in events)
    found = [
        event
        for event in events
        if event.reason in _TELLING and not (had_pods and event.reason == _REFUSED)
    ]
    # Of two that say the same, the longer one names the cause: "manifest unknown".
    return min(
        found,
        key=lambda event: (_TELLING.index(event.reason), -len(event.note)),
        default=None,
    )


def _message(
    said: tuple[str, str],
    ended: Ended | None,
    waiting: tuple[str, Waiting] | None,
    event: JobEvent | None,
    pods: Sequence[JobPod],
) -> str:
    parts: list[str] = []
    if ended:
        parts.append(f"container {CONTAINER} of pod {ended.pod} {described(ended.how)}")
    elif waiting:
        why = ": ".join(filter(None, (waiting[1].reason, waiting[1].message)))
        parts.append(f"container {CONTAINER} of pod {waiting[0]} was waiting: {why}")
    parts += [
        f"pod {pod.metadata.name}: {pod.status.message}" for pod in pods if pod.status.message
    ]
    if event:
        about = event.regarding
        parts.append(f"{about.kind} {about.name}: {event.reason}: {event.note}")
    parts.append(said[1] or said[0])
    return "; ".join(one_line(part) for part in parts if part) or "the Job failed without a message"
