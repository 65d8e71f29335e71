"""The heart of the controller: from what is stored and what is seen to the one next step.

`decide` is a pure function. The reconciler does the step, looks again and asks again, until the
answer is `Wait`. So a crash after any step is the same as none: the next process asks again.

What it keeps to:

- A terminal phase is never left, and what it says never changes.
- Nothing is created before the finalizer is stored, and nothing is created on a locked target.
- A child that is not ours is never stopped and never deleted, but for one whose owner is gone.
- "There is no child" and "it is another's" are believed only of a live look, never of a cache.
- A creation that is not allowed is believed only if it is not allowed some seconds later either.
- Every deadline is computed from stored fields.
- An object goes away only after its trail is stored, or after a bypass that is audited.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from kubernaut.audit import go_duration
from kubernaut.kubernetes import is_true
from kubernaut.workflowexecution import _status
from kubernaut.workflowexecution._api import (
    CANCEL_ANNOTATION,
    FINALIZER,
    FORCE_ANNOTATION,
    WorkflowExecution,
    WorkflowExecutionStatus,
)
from kubernaut.workflowexecution._conditions import AUDITED, RELEASED, RUNNING, STALLED
from kubernaut.workflowexecution._names import child_name
from kubernaut.workflowexecution._policy import Policy
from kubernaut.workflowexecution._run import Run, SpecError, engine_of, run_of
from kubernaut.workflowexecution._status import Draft
from kubernaut.workflowexecution._step import (
    AddFinalizer,
    Bypass,
    CleanUp,
    Create,
    Explain,
    Observe,
    RemoveFinalizer,
    Replace,
    Step,
    Stop,
    Store,
    Wait,
)
from kubernaut.workflowexecution._summary import CANCELLED
from kubernaut.workflowexecution._trail import TrailState
from kubernaut.workflowexecution.engines import Child, Failure

_SOON: Final = 1.0
"""Seconds until another look at something that is under way and whose end a watch will tell."""
_LATER: Final = 5.0
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of the world around one object.

    Attributes:
        child: what has the name of the run, whoever's it is.
        live: `child` was read from the API server in this pass, after the object.
        created: `child` was created in this pass.
        child_owner_exists: whether the owner of a stranger's child exists; known where it is over
            and was read live.
        failure: why our failed child failed, where that was asked.
        refusal: why the child was not created.
        refused_since: since when that is so, where the API server may merely not know better yet.
        siblings: the other unreleased or unfinished objects on the same target.
        clean: nothing is left of our child.
        trail: how far the audit trail of the stored status is.
        suspended: no new run may start.
        unavailable: why the engine cannot be used, and what to do; None where it can.
    """

    child: Child | None = None
    live: bool = False
    created: bool = False
    child_owner_exists: bool | None = None
    failure: Failure | None = None
    refusal: Failure | None = None
    refused_since: datetime | None = None
    siblings: Sequence[WorkflowExecution] = ()
    clean: bool = False
    trail: TrailState
    suspended: bool = False
    unavailable: str | None = None


def decide(wfe: WorkflowExecution, seen: Seen, now: datetime, policy: Policy) -> Step:
    """The next step.

    Args:
        wfe: the object as it is stored.
        seen: what is around it.
        now: the time.
        policy: times and defaults.
    """
    return _Case(wfe, seen, now, policy).step()


def is_ours(wfe: WorkflowExecution, child: Child) -> bool:
    """Whether a child is of this very object: by name, namespace and uid."""
    owner = child.owner
    meta = wfe.metadata
    return (
        owner is not None
        and owner.uid == meta.uid != ""
        and (owner.namespace, owner.name) == (meta.namespace, meta.name)
    )


def needs_attention(wfe: WorkflowExecution) -> bool:
    """Whether anything can be left to do: False for the many that are finished for good."""
    if not wfe.is_terminal or wfe.metadata.deletion_timestamp is not None:
        return True
    if wfe.status.completion_time is None or not _status.is_released(wfe):
        return True
    return _force_token(wfe) is not None or not is_true(wfe.status.conditions, AUDITED)


def holds_lock(wfe: WorkflowExecution) -> bool:
    """Whether others on the same target have to look at it."""
    return not wfe.is_terminal or not _status.is_released(wfe)


def _force_token(wfe: WorkflowExecution) -> str | None:
    """The request to look again that was not heard yet."""
    token = wfe.annotations.get(FORCE_ANNOTATION)
    heard = wfe.status.reconcile_forced
    return token if token and (heard is None or heard.token != token) else None


class _Case:
    """One call of `decide`."""

    def __init__(self, wfe: WorkflowExecution, seen: Seen, now: datetime, policy: Policy) -> None:
        self.wfe = wfe
        self.seen = seen
        self.now = now
        self.policy = policy
        self.ours = seen.child if seen.child is not None and is_ours(wfe, seen.child) else None
        self.draft = Draft(wfe, now)

    def step(self) -> Step:
        deleted = self.wfe.metadata.deletion_timestamp
        is_held = FINALIZER in self.wfe.metadata.finalizers
        if deleted is not None:
            return self._deleted(deleted) if is_held else Wait()
        if not is_held and not self.wfe.is_terminal:
            return AddFinalizer()  # One that is terminal needs none, but its lock is released.
        if (token := _force_token(self.wfe)) is not None:
            _status.forced(self.draft, token)
            return self._store()
        if self.wfe.is_terminal:
            return self._terminal()
        return self._running() if self.wfe.phase == "Running" else self._pending()

    def _store(self) -> Store:
        return Store(self.draft.status(), tuple(self.draft.announcements))

    def _store_or_wait(self, until: Sequence[datetime | None]) -> Step:
        """Store what has changed; where nothing has, wait for the earliest deadline."""
        if not _same(self.draft.status(), self.wfe.status):
            return self._store()
        due = [moment for moment in until if moment is not None]
        if not due:
            return Wait()
        return Wait(max(0.0, (min(due) - self.now).total_seconds()))

    # Pending

    def _pending(self) -> Step:
        if self.ours is not None and not self.ours.deleting:
            # Created by us, or by a process before us that did not live to say so.
            _status.running(self.draft, self.ours, adopted=not self.seen.created)
            return self._store()
        try:
            run = run_of(self.wfe, self.policy.runs)
        except SpecError as error:
            return self._not_started(_configuration(str(error)))
        if (ending := self._no_start(run)) is not None:
            return ending
        if self.seen.suspended:
            if self.wfe.status.phase is None:
                self.draft.announce(
                    "OperatorSuspended", "Execution deferred: the operator is suspended"
                )
            _status.pending(self.draft)
            return self._store_or_wait([self.now + timedelta(seconds=_MINUTE)])
        return self._locked(run) or Create(run)

    def _no_start(self, run: Run) -> Step | None:
        """What to do because of a reason never to start; None where there is none."""
        if self.seen.unavailable is not None:
            text = f'execution engine "{run.engine}" is not available -- {self.seen.unavailable}'
            return self._not_started(
                Failure(reason="UnsupportedEngine", message=text, was_execution_failure=False)
            )
        if self.seen.refusal is not None:
            return self._refused(self.seen.refusal)
        ending = self._ended_before(run)
        return ending if ending is None or self.seen.live else Observe()

    def _refused(self, refusal: Failure) -> Step:
        """The child was not created."""
        since = self.seen.refused_since
        if since is not None:
            believed = since + timedelta(seconds=self.policy.refusal_patience)
            if self.now < believed:
                _status.pending(self.draft)
                again = self.now + timedelta(seconds=_SOON)
                return self._store_or_wait([min(again, believed)])
        return self._not_started(refusal)

    def _ended_before(self, run: Run) -> Step | None:
        """It was cancelled, or its time is over."""
        if (reason := self.wfe.annotations.get(CANCEL_ANNOTATION)) is not None:
            return self._not_started(_cancelled(reason, acted=False))
        if run.times_out_at is not None and self.now >= run.times_out_at:
            text = (
                f"timesOutAt {run.times_out_at:%Y-%m-%dT%H:%M:%SZ} passed while the run was waiting"
                " to start"
            )
            return self._not_started(
                Failure(reason="DeadlineExceeded", message=text, was_execution_failure=False)
            )
        return None

    def _locked(self, run: Run) -> Step | None:
        """What to do because the target is locked; None where it is free."""
        child = self.seen.child
        if finished := [other for other in self.seen.siblings if other.is_terminal]:
            ready = max(_status.release_time(other, self.policy.cooldown) for other in finished)
            return self._wait_for_lock(max((ready - self.now).total_seconds(), _SOON))
        if child is not None:
            return self._collided(child) if self.seen.live else Observe()
        for other in self.seen.siblings:
            if other.phase != "Running":
                continue
            if engine_of(other) != run.engine:
                return self._deduplicated(other.metadata.name)
            # Its child should be there: it is being created, or was deleted by somebody.
            return self._wait_for_lock(_SOON) if self.seen.live else Observe()
        return None

    def _wait_for_lock(self, seconds: float) -> Step:
        if (end := self.wfe.spec.times_out_at) is not None:
            seconds = max(0.0, min(seconds, (end - self.now).total_seconds()))
        if self.wfe.status.phase is None:
            _status.pending(self.draft)
            self.draft.announce(
                "CooldownActive",
                f"Execution deferred: cooldown active for {self.wfe.spec.target_resource}"
                f" (remaining: {go_duration(timedelta(seconds=seconds))})",
            )
            return self._store()
        return Wait(seconds)

    def _collided(self, child: Child) -> Step:
        """The name is taken, by a live look: by whom, and what does that mean?"""
        owner = child.owner
        if owner is None:
            text = (
                f"{child.resource} '{child.name}' already exists for target resource (owner label"
                f" missing): find out who created it in {child.namespace}, and delete it"
            )
            return self._not_started(
                Failure(reason="Unknown", message=text, was_execution_failure=False)
            )
        if child.deleting:
            return self._wait_for_lock(_SOON)
        if not child.is_over:
            return self._deduplicated(owner.name)
        if self.seen.child_owner_exists is False:
            return Replace(child)
        return self._wait_for_lock(_LATER)  # Its owner's deletion or release is told by a watch.

    def _deduplicated(self, owner: str) -> Step:
        text = f"Execution resource already exists, owned by WorkflowExecution {owner}"
        failure = Failure(reason="Deduplicated", message=text, was_execution_failure=False)
        _status.not_started(self.draft, failure, deduplicated_by=owner)
        return self._store()

    def _not_started(self, failure: Failure, ended: datetime | None = None) -> Step:
        _status.not_started(self.draft, failure, ended=ended)
        return self._store()

    # Running

    def _running(self) -> Step:
        if self.seen.unavailable is not None:
            return Wait(_MINUTE)  # Nothing can be known of it; it is not to be called failed.
        child = self.ours
        if child is None:
            return self._gone() if self.seen.live else Observe()
        overdue = self._deadline()
        cancel = self.wfe.annotations.get(CANCEL_ANNOTATION)
        is_to_end = cancel is not None or (overdue is not None and self.now >= overdue)
        if child.is_over and not (is_to_end and child.stopping and child.state == "Failed"):
            return self._over(child)
        if not is_to_end:
            return self._progress(child, overdue)
        if not child.stopping and not child.deleting:
            return Stop(child)
        if cancel is not None:
            failure = _cancelled(cancel, acted=child.begun)
        else:
            failure = self._too_late(child)
        _status.failed(self.draft, failure, child)
        return self._store()

    def _gone(self) -> Step:
        kind = {"job": "Job", "ansible": "AWX job"}.get(engine_of(self.wfe) or "", "PipelineRun")
        failure = Failure(
            reason="Unknown",
            message=f"{kind} was deleted externally",
            was_execution_failure=False,
        )
        _status.failed(self.draft, failure, None)
        return self._store()

    def _over(self, child: Child) -> Step:
        if child.engine == "job" and not self.seen.live:
            return Observe()  # How often its pods were made again is known to a live look alone.
        if child.state == "Succeeded":
            _status.completed(self.draft, child)
            return self._store()
        if self.seen.failure is None:
            return Explain(child)
        _status.failed(self.draft, self.seen.failure, child)
        return self._store()

    def _deadline(self) -> datetime | None:
        """When the controller ends a run that its engine should have ended."""
        end = self.wfe.spec.times_out_at
        return None if end is None else end + timedelta(seconds=self.policy.deadline_grace)

    def _too_late(self, child: Child) -> Failure:
        end = self.wfe.spec.times_out_at
        return Failure(
            reason="DeadlineExceeded",
            message=f"{child.resource} {child.name} was still running after timesOutAt"
            f" ({end:%Y-%m-%dT%H:%M:%SZ}) and was stopped",
            was_execution_failure=child.begun,
        )

    def _progress(self, child: Child, overdue: datetime | None) -> Step:
        status = self.wfe.status
        if self._is_news(child):
            _status.progress(self.draft, child)
        since = status.last_progress_time or status.start_time or child.created
        stalls = since + timedelta(seconds=self.policy.stalled_after)
        is_stalled = is_true(status.conditions, STALLED)
        if not is_stalled and self.now >= stalls and not self._is_news(child):
            _status.stalled(self.draft, child, since)
        settles = None
        if not is_true(status.conditions, AUDITED):
            settles = (status.start_time or child.created) + timedelta(seconds=self.policy.settle)
            if not _same(self.draft.status(), status) or self.now >= settles:
                _status.audited(self.draft, self.seen.trail)
                settles = None
        retry = self.now + timedelta(seconds=_SOON) if self.seen.trail.retry else None
        return self._store_or_wait([overdue, None if is_stalled else stalls, settles, retry])

    def _is_news(self, child: Child) -> bool:
        """Whether the engine tells something worth a write."""
        if child.state != "Running":
            return False
        known = self.wfe.status.execution_status
        if known is None or not is_true(self.wfe.status.conditions, RUNNING):
            return True
        return (known.completed_tasks, known.total_tasks, known.retry_count) != (
            child.completed_tasks,
            child.total_tasks,
            child.retries,
        )

    # Terminal

    def _terminal(self) -> Step:
        status = self.wfe.status
        if status.completion_time is None:
            self.draft.set(completion_time=self.draft.now)  # Somebody else wrote the phase.
            self.draft.owes()
            return self._store()
        if self.ours is not None and not self.ours.is_over and not self._is_ending(self.ours):
            return Stop(self.ours)
        self._tell_audit()
        release = None
        if not self._is_free():
            release = _status.release_time(self.wfe, self.policy.cooldown)
            if self.now >= release:
                if not self.seen.clean:
                    # A child may be long in going; what is known of the trail is told before.
                    is_told = _same(self.draft.status(), self.wfe.status)
                    return self._clean_up() if is_told else self._store()
                _status.released(self.draft)
                release = None
        retry = self.now + timedelta(seconds=_SOON) if self.seen.trail.retry else None
        return self._store_or_wait([release, retry])

    @staticmethod
    def _is_ending(child: Child) -> bool:
        return child.stopping or child.deleting

    def _is_free(self) -> bool:
        if is_true(self.wfe.status.conditions, RELEASED):
            return True
        return self.wfe.status.start_time is None and self.ours is None

    def _tell_audit(self) -> None:
        """Set `AuditRecorded` to what it has come to."""
        if not is_true(self.wfe.status.conditions, AUDITED):
            _status.audited(self.draft, self.seen.trail)

    def _clean_up(self) -> CleanUp:
        return CleanUp(child_name(self.wfe), self.ours.uid if self.ours else None)

    # Deleted

    def _deleted(self, moment: datetime) -> Step:
        if not self.wfe.is_terminal:
            return self._cancelled_by_deletion(moment)
        if not self._is_free() and not self.seen.clean:
            return self._clean_up()
        if self.seen.trail.standing == "stored" or is_true(self.wfe.status.conditions, AUDITED):
            return RemoveFinalizer()
        patience = moment + timedelta(seconds=self.policy.trail_timeout)
        if self.now >= patience:
            return Bypass(self.seen.trail.reason or "DataStorage did not acknowledge it in time")
        self._tell_audit()
        retry = self.now + timedelta(seconds=_SOON) if self.seen.trail.retry else None
        return self._store_or_wait([patience, retry])

    def _cancelled_by_deletion(self, moment: datetime) -> Step:
        if not self.seen.live:
            return Observe()
        child = self.ours
        if child is not None and child.is_over and self.wfe.phase == "Running":
            return self._over(child)
        if child is None and self.wfe.phase == "Pending":
            try:
                run_of(self.wfe, self.policy.runs)
            except SpecError as error:
                return self._not_started(_configuration(str(error)), moment)
        failure = _cancelled(
            "the WorkflowExecution was deleted", acted=child is not None and child.begun
        )
        _status.failed(self.draft, failure, child, moment.astimezone(UTC))
        return self._store()


def _configuration(text: str) -> Failure:
    return Failure(reason="ConfigurationError", message=text, was_execution_failure=False)


def _cancelled(reason: str, *, acted: bool) -> Failure:
    text = reason.strip() or f"the annotation {CANCEL_ANNOTATION} asks for it"
    return Failure(reason="Unknown", message=CANCELLED + text, was_execution_failure=acted)


def _same(left: WorkflowExecutionStatus, right: WorkflowExecutionStatus) -> bool:
    """Whether two statuses say the same, but for the generation that was looked at."""
    return msgspec.structs.replace(left, observed_generation=0) == msgspec.structs.replace(
        right, observed_generation=0
    )
