"""What a status becomes: one pure function for each transition.

All of them keep what others wrote, set the conditions of the transition, and let `AuditRecorded`
turn False with it, for the new status owes new events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from kubernaut.audit import go_duration
from kubernaut.kubernetes import ConditionStatus, get_condition
from kubernaut.workflowexecution._api import (
    ExecutionReference,
    ExecutionStatus,
    FailureDetails,
    ForcedReconcile,
    WorkflowExecution,
    WorkflowExecutionStatus,
)
from kubernaut.workflowexecution._conditions import (
    AUDITED,
    COMPLETE,
    CREATED,
    READY,
    RELEASED,
    RUNNING,
    STALLED,
    ConditionList,
)
from kubernaut.workflowexecution._owed import correlation_id_of
from kubernaut.workflowexecution._summary import summary
from kubernaut.workflowexecution._trail import TrailState
from kubernaut.workflowexecution.engines import Child, Failure

_COMPLETE_TEXTS: Final[Mapping[str, str]] = {
    "DeadlineExceeded": "Pipeline exceeded timeout deadline",
    "OOMKilled": "Pipeline task killed due to out of memory",
}
_CREATED_REASONS: Final[Mapping[str, str]] = {
    "ResourceExhausted": "QuotaExceeded",
    "Forbidden": "RBACDenied",
}
_LONGEST_MESSAGE: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event for people, to be shown once the status is stored.

    Events of one reason and action are one series; `action` keeps transitions apart.
    """

    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"
    action: str = "Reconcile"


class Draft:
    """A status in the making.

    Args:
        wfe: as it is stored.
        now: the time of the transition; kept to whole seconds.
    """

    def __init__(self, wfe: WorkflowExecution, now: datetime) -> None:
        self.wfe = wfe
        self.now = now.astimezone(UTC).replace(microsecond=0)
        self.announcements: list[Announcement] = []
        self._members: dict[str, Any] = {}
        self._conditions = ConditionList(
            wfe.status.conditions, now=self.now, generation=wfe.metadata.generation
        )

    def set(self, **members: Any) -> None:
        """Set members of the status."""
        self._members |= members

    def condition(self, type_: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set a condition."""
        self._conditions.set(type_, status, reason, message)

    def announce(
        self, reason: str, note: str, type_: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """Show an Event once this is stored."""
        self.announcements.append(Announcement(reason, note, type_))

    def moved(self, phase: str) -> None:
        """Show that the phase changed, once this is stored."""
        note = f"Phase transition: {self.wfe.phase} → {phase}"
        self.announcements.append(Announcement("PhaseTransition", note, action=f"Become{phase}"))

    def owes(self) -> None:
        """The new status owes events: say since when, and fix their chain."""
        self.set(correlation_id=correlation_id_of(self.wfe))
        if not self._is_pending():
            self.condition(
                AUDITED,
                "False",
                "AuditPending",
                "Audit events are not acknowledged by DataStorage since"
                f" {self.now:%Y-%m-%dT%H:%M:%SZ}",
            )

    def _is_pending(self) -> bool:
        found = get_condition(self._conditions.all, AUDITED)
        return found is not None and found.status == "False" and found.reason == "AuditPending"

    def status(self) -> WorkflowExecutionStatus:
        """The status that results."""
        return msgspec.structs.replace(
            self.wfe.status,
            **self._members,
            conditions=self._conditions.all,
            observed_generation=self.wfe.metadata.generation,
        )


def pending(draft: Draft) -> None:
    """The run has to wait."""
    draft.set(phase="Pending")


def running(draft: Draft, child: Child, *, adopted: bool) -> None:
    """What runs the workflow exists, and is ours."""
    reference = ExecutionReference(name=child.name)
    draft.set(
        phase="Running",
        start_time=child.created,
        last_progress_time=child.created,
        execution_ref=reference,
    )
    if child.engine == "tekton":
        draft.set(pipeline_run_ref=reference)
    message = (
        f"{child.engine} execution resource {child.name} created in {child.namespace} namespace"
    )
    if adopted:
        message = f"{child.resource} {child.name} already exists (race condition)"
    draft.condition(CREATED, "True", "ExecutionCreated", message)
    _tell_progress(draft, child)
    draft.owes()
    workflow, target = draft.wfe.spec.workflow_ref.workflow_id, draft.wfe.spec.target_resource
    draft.announce("WorkflowValidated", f"Workflow spec validated: {workflow} (target: {target})")
    if adopted:
        draft.announce(
            "ExecutionCreated",
            f"{child.resource} {child.namespace}/{child.name} (already exists, ours)",
        )
    else:
        draft.announce(
            "ExecutionCreated",
            f"Created {child.engine} execution resource {child.namespace}/{child.name}",
        )
    draft.moved("Running")


def progress(draft: Draft, child: Child) -> None:
    """The engine tells something new of a run."""
    draft.set(last_progress_time=draft.now)
    _tell_progress(draft, child)
    if get_condition(draft.wfe.status.conditions, STALLED) is not None:
        draft.condition(STALLED, "False", "Progressing", "The run makes progress again")


def stalled(draft: Draft, child: Child, since: datetime) -> None:
    """A running run shows no progress."""
    waited = go_duration(draft.now - since)
    known = f"{child.reason}: {child.message}".strip(": ") or "nothing is known"
    text = (
        f"No progress for {waited}; {child.resource} {child.namespace}/{child.name}, "
        f"{child.completed_tasks} of {child.total_tasks} tasks done, says: {known}"
    )
    draft.condition(STALLED, "True", "NoProgress", text)
    draft.announce("ExecutionStalled", text, "Warning")


def completed(draft: Draft, child: Child) -> None:
    """The workflow did what it should."""
    wfe = draft.wfe
    ended = _end(draft, child)
    started = wfe.status.start_time or child.created
    took = go_duration(ended - started)
    draft.set(phase="Completed", completion_time=ended, duration=took)
    _tell_end(draft, child)
    draft.condition(
        COMPLETE, "True", "ExecutionSucceeded", f"All tasks completed successfully in {took}"
    )
    draft.condition(READY, "True", "Ready", "Workflow execution completed")
    draft.owes()
    workflow = wfe.spec.workflow_ref.workflow_id
    draft.announce("WorkflowCompleted", f"Workflow {workflow} completed successfully in {took}")
    draft.moved("Completed")


def failed(
    draft: Draft, failure: Failure, child: Child | None, ended: datetime | None = None
) -> None:
    """The workflow failed while something ran it, or after.

    Args:
        draft: of the object.
        failure: why.
        child: what ran it; None where that is gone.
        ended: when, where neither the child nor the present time says it.
    """
    status = draft.wfe.status
    started = status.start_time or (child.created if child else None)
    if started is None:
        not_started(draft, failure, ended=ended)
        return
    end = max(ended or _end(draft, child), started)
    took = go_duration(end - started)
    draft.set(start_time=started, duration=took)
    if child is not None:
        reference = ExecutionReference(name=child.name)
        draft.set(execution_ref=status.execution_ref or reference)
        if child.engine == "tekton":
            draft.set(pipeline_run_ref=status.pipeline_run_ref or reference)
        if failure.completed_tasks is not None:
            child = replace(child, completed_tasks=failure.completed_tasks)
        _tell_end(draft, child)
    reason: str = failure.reason
    if reason not in ("TaskFailed", *_COMPLETE_TEXTS):
        reason = "ExecutionFailed"
    draft.condition(COMPLETE, "False", reason, _COMPLETE_TEXTS.get(reason, failure.message))
    _fail(draft, failure, end, took)
    draft.announce(
        "WorkflowFailed",
        f"Workflow {draft.wfe.spec.workflow_ref.workflow_id} failed: {failure.reason}"
        f" - {failure.message}",
        "Warning",
    )
    draft.moved("Failed")


def not_started(
    draft: Draft, failure: Failure, *, deduplicated_by: str = "", ended: datetime | None = None
) -> None:
    """The workflow failed before anything ran it.

    Args:
        draft: of the object.
        failure: why.
        deduplicated_by: the WorkflowExecution that was running on the target.
        ended: when; None for now.
    """
    message = f"Failed to create execution resource: {failure.message}"
    if deduplicated_by:
        draft.set(deduplicated_by=deduplicated_by)
        message = f"Execution resource collision (deduplicated by {deduplicated_by})"
    reason = _CREATED_REASONS.get(failure.reason, "ExecutionCreationFailed")
    draft.condition(CREATED, "False", reason, message)
    _fail(draft, failure, ended or draft.now, None)
    if failure.reason in ("ConfigurationError", "UnsupportedEngine"):
        draft.announce(
            "WorkflowValidationFailed", f"Spec validation failed: {failure.message}", "Warning"
        )
    if deduplicated_by:
        note = f"Deduplicated: execution resource collision with {deduplicated_by}"
    else:
        note = f"Pre-execution failure: {failure.reason} - {failure.message}"
    draft.announce("WorkflowFailed", note, "Warning")
    draft.moved("Failed")


def audited(draft: Draft, state: TrailState) -> None:
    """What the audit trail of the present status has come to."""
    if state.standing == "stored":
        events = (
            "The audit event is" if state.events == 1 else f"All {state.events} audit events are"
        )
        draft.condition(AUDITED, "True", "AuditSucceeded", f"{events} stored in DataStorage")
    elif state.standing == "refused":
        draft.condition(
            AUDITED, "False", "AuditFailed", f"Failed to record audit event: {state.reason}"
        )
    else:
        draft.owes()


def released(draft: Draft) -> None:
    """The target may be worked on again."""
    target = draft.wfe.spec.target_resource
    text = f"Lock released for {target} after cooldown"
    draft.condition(RELEASED, "True", "CooldownElapsed", text)
    draft.announce("LockReleased", text)


def forced(draft: Draft, token: str) -> None:
    """Somebody asked to look again, and is heard."""
    draft.set(reconcile_forced=ForcedReconcile(token=token, at=draft.now))
    draft.owes()
    draft.announce("ReconcileForced", "Looking at the live objects again, as the annotation asks")


def _end(draft: Draft, child: Child | None) -> datetime:
    if child is not None and child.finished_at is not None:
        return child.finished_at.astimezone(UTC).replace(microsecond=0)
    return draft.now


def _tell_progress(draft: Draft, child: Child) -> None:
    _tell(draft, child, "Unknown")
    if child.state == "Running":
        draft.condition(
            RUNNING,
            "True",
            "ExecutionStarted",
            f"Execution running ({child.engine}: {child.reason or child.state})",
        )


def _tell_end(draft: Draft, child: Child) -> None:
    outcome: Any = {"Succeeded": "True", "Failed": "False"}.get(child.state, "Unknown")
    _tell(draft, child, outcome)
    if get_condition(draft.wfe.status.conditions, STALLED) is not None:
        draft.condition(STALLED, "False", "Progressing", "The run has ended")


def _tell(draft: Draft, child: Child, outcome: Literal["True", "False", "Unknown"]) -> None:
    told = ExecutionStatus(
        status=outcome,
        reason=child.reason or child.state,
        message=child.message[:_LONGEST_MESSAGE],
        completed_tasks=child.completed_tasks,
        total_tasks=child.total_tasks,
        retry_count=child.retries,
    )
    draft.set(execution_status=told)
    if child.engine == "tekton":
        draft.set(pipeline_run_status=told)


def _fail(draft: Draft, failure: Failure, ended: datetime, took: str | None) -> None:
    spec = draft.wfe.spec
    message = failure.message[:_LONGEST_MESSAGE]
    draft.set(
        phase="Failed",
        completion_time=ended,
        failure_reason=failure.reason,
        failure_details=FailureDetails(
            failed_task_index=failure.task_index,
            failed_task_name=failure.task_name,
            failed_step_name=failure.step_name,
            reason=failure.reason,
            message=message,
            exit_code=failure.exit_code,
            failed_at=ended,
            execution_time_before_failure=took or "",
            natural_language_summary=summary(
                spec.workflow_ref.workflow_id, spec.target_resource, failure, took
            ),
            was_execution_failure=failure.was_execution_failure,
        ),
    )
    draft.condition(READY, "False", "NotReady", "Workflow execution failed")
    draft.owes()


def is_released(wfe: WorkflowExecution) -> bool:
    """Whether a terminal run holds its target no more; one that never started never did."""
    if wfe.status.start_time is None:
        return True
    return any(
        condition.type == RELEASED and condition.status == "True"
        for condition in wfe.status.conditions
    )


def release_time(wfe: WorkflowExecution, cooldown: float) -> datetime:
    """When the cooldown of a terminal run is over."""
    ended = wfe.status.completion_time or wfe.metadata.creation_timestamp
    assert ended is not None  # noqa: S101  (every object that was read has the latter)
    return ended + timedelta(seconds=cooldown)
