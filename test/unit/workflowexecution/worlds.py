"""A world for `decide`: one object, what has its name, and what happens around it.

It does what the reconciler does with a step, and what people, engines and crashes do to the object.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kubernaut.kubernetes import ObjectMeta, is_true
from kubernaut.workflowexecution._api import (
    FINALIZER,
    RemediationRequestReference,
    WorkflowExecution,
    WorkflowExecutionSpec,
    WorkflowReference,
)
from kubernaut.workflowexecution._conditions import AUDITED, RELEASED
from kubernaut.workflowexecution._decide import Seen, decide, is_ours
from kubernaut.workflowexecution._names import lock_name
from kubernaut.workflowexecution._owed import owed_events
from kubernaut.workflowexecution._policy import Policy
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
from kubernaut.workflowexecution._trail import TrailState
from kubernaut.workflowexecution.engines import Child, Failure, Owner

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TARGET = "payments/deployment/api"
POLICY = Policy(cooldown=60.0, trail_timeout=600.0, stalled_after=300.0)
STRANGER = Owner("other", "stranger", "uid-stranger")


def execution(name: str = "wfe", uid: str = "uid-1", **spec: Any) -> WorkflowExecution:
    """A new, valid object."""
    values: dict[str, Any] = {
        "remediation_request_ref": RemediationRequestReference(name=f"rr-{name}"),
        "workflow_ref": WorkflowReference(
            workflow_id="restart",
            version="1.0.0",
            execution_bundle="registry.example/restart:1",
            execution_engine="tekton",
        ),
        "target_resource": TARGET,
    } | spec
    return WorkflowExecution(
        metadata=ObjectMeta(
            name=name, namespace="ns", uid=uid, generation=1, creation_timestamp=START
        ),
        spec=WorkflowExecutionSpec(**values),
    )


def child_of(owner: Owner | None, now: datetime, uid: str = "uid-child") -> Child:
    """What runs a workflow, just created."""
    return Child(
        engine="tekton",
        resource="PipelineRun",
        namespace="kubernaut-workflows",
        name=lock_name(TARGET),
        uid=uid,
        version="1",
        created=now.replace(microsecond=0),
        owner=owner,
        state="Waiting",
    )


@dataclass
class World:
    """One object and its surroundings."""

    wfe: WorkflowExecution = field(default_factory=execution)
    now: datetime = START
    child: Child | None = None
    cached: Child | None = None  # What a watch has told so far.
    owner_exists: bool = True
    siblings: list[WorkflowExecution] = field(default_factory=list)
    suspended: bool = False
    unavailable: str | None = None
    refusal: Failure | None = None
    refused_since: datetime | None = None
    acknowledged: set[Any] = field(default_factory=set)
    leftovers: bool = False
    children: int = 0
    gone: bool = False
    bypassed: bool = False
    steps: list[Step] = field(default_factory=list)

    @property
    def owner(self) -> Owner:
        meta = self.wfe.metadata
        return Owner(meta.namespace, meta.name, meta.uid)

    def trail(self) -> TrailState:
        owed = owed_events(self.wfe)
        stored = all(event.event_id in self.acknowledged for event in owed)
        return TrailState("stored" if stored else "pending", len(owed))

    def acknowledge(self) -> None:
        """DataStorage takes everything that is owed."""
        self.acknowledged |= {event.event_id for event in owed_events(self.wfe)}

    def run_pass(self, *, crash_after: int | None = None) -> Wait | None:
        """One pass of the reconciler; None where it crashed or the object is gone."""
        seen = Seen(
            child=self.cached,
            trail=self.trail(),
            suspended=self.suspended,
            unavailable=self.unavailable,
            live=self.unavailable is not None,
        )
        for number in range(50):
            if self.gone:
                return None
            seen = replace(
                seen,
                trail=self.trail(),
                siblings=tuple(self.siblings) if self.wfe.phase == "Pending" else (),
            )
            step = decide(self.wfe, seen, self.now, POLICY)
            self.steps.append(step)
            if isinstance(step, Wait):
                return step
            if crash_after is not None and number >= crash_after:
                return None
            done = self.do(step, seen)
            if done is None:
                return Wait(1.0)
            seen = done
        raise AssertionError(f"no end: {self.steps[-5:]}")

    def do(self, step: Step, seen: Seen) -> Seen | None:  # noqa: C901, PLR0911, PLR0912  (a case for each)
        """Do a step as the reconciler does; None ends the pass."""
        meta = self.wfe.metadata
        match step:
            case AddFinalizer():
                self.meta(finalizers=[*meta.finalizers, FINALIZER])
            case RemoveFinalizer():
                assert self.trail().standing == "stored" or is_true(
                    self.wfe.status.conditions, AUDITED
                )
                assert self.child is None or not is_ours(self.wfe, self.child), "left its child"
                assert not self.leftovers or self.wfe.status.start_time is None
                self.gone = True
            case Bypass():
                assert self.trail().standing != "stored"
                assert meta.deletion_timestamp is not None
                waited = (self.now - meta.deletion_timestamp).total_seconds()
                assert waited >= POLICY.trail_timeout
                self.gone = self.bypassed = True
            case Observe():
                assert not seen.live, "a live look was asked for twice"
                return self.look(seen)
            case Create(run):
                assert FINALIZER in meta.finalizers
                assert not self.suspended
                assert run.name == lock_name(self.wfe.spec.target_resource)
                return self.create(seen)
            case Explain(child):
                assert child.state == "Failed"
                failure = Failure(reason="TaskFailed", message="no", was_execution_failure=True)
                return replace(seen, failure=failure)
            case Stop(child):
                assert is_ours(self.wfe, child), "stopped another's child"
                if self.child is not None and not self.child.is_over:
                    self.child = replace(self.child, stopping=True)
                return self.look(seen)
            case CleanUp(_, uid):
                if self.child is not None and self.child.uid == uid:
                    assert is_ours(self.wfe, self.child), "deleted another's child"
                    assert self.wfe.is_terminal, "deleted a child whose end is not stored"
                    self.child, self.leftovers = None, True
                    return None
                self.leftovers = False
                return replace(seen, clean=True, child=None, live=True)
            case Replace(child):
                assert child.is_over
                assert not self.owner_exists
                assert not is_ours(self.wfe, child)
                self.child = None
                return replace(seen, child=None, live=True)
            case Store(status):
                self.store(status)
            case _:
                raise AssertionError(step)
        return seen

    def create(self, seen: Seen) -> Seen:
        """An attempt to create the child."""
        if self.child is not None:
            return self.look(seen)
        if self.refusal is not None:
            self.refused_since = self.refused_since or self.now
            since = self.refused_since
            return replace(seen, refusal=self.refusal, refused_since=since, live=True)
        self.refused_since = None
        assert not self.leftovers, "created beside what its predecessor left"
        self.children += 1
        self.child = child_of(self.owner, self.now, f"uid-child-{self.children}")
        return replace(seen, child=self.child, live=True, created=True)

    def look(self, seen: Seen) -> Seen:
        """A live look at the child."""
        self.cached = self.child
        return replace(seen, child=self.child, live=True, child_owner_exists=self.owner_exists)

    def store(self, status: Any) -> None:
        """What must be true of every write."""
        old = self.wfe
        assert msgspec.structs.replace(status, observed_generation=0) != msgspec.structs.replace(
            old.status, observed_generation=0
        ), "a write that changes nothing"
        self._check_claims(status)
        before = [msgspec.json.encode(event) for event in owed_events(old)]
        self.wfe = msgspec.structs.replace(old, status=status)
        after = [msgspec.json.encode(event) for event in owed_events(self.wfe)]
        if old.is_terminal:
            assert self.wfe.phase == old.phase, "a terminal phase was left"
            for name in ("completion_time", "start_time", "failure_details", "duration"):
                was = getattr(old.status, name)
                assert was in (None, "") or was == getattr(status, name), name
        if old.status.reconcile_forced == status.reconcile_forced:
            kept = [event for event in before if event in after]
            assert kept == before, "what was owed once is not owed any more"
        if is_true(status.conditions, AUDITED):
            assert self.trail().standing == "stored", "AuditRecorded before it is"

    def _check_claims(self, status: Any) -> None:
        """What a status says of the child must be so."""
        ours = self.child is not None and is_ours(self.wfe, self.child)
        if is_true(status.conditions, RELEASED):
            assert not ours, "released while the child is there"
            assert not self.leftovers
        if self.wfe.is_terminal or status.failure_details is None:
            return
        message = status.failure_details.message
        if "deleted externally" in message:
            assert not ours, "called deleted while it is there"
        if ours and self.child is not None and self.wfe.metadata.deletion_timestamp is None:
            assert self.child.is_over or self.child.stopping, "called failed while it runs on"

    def meta(self, **changes: Any) -> None:
        self.wfe = msgspec.structs.replace(
            self.wfe, metadata=msgspec.structs.replace(self.wfe.metadata, **changes)
        )

    def annotate(self, name: str, value: str) -> None:
        self.meta(annotations={**self.wfe.metadata.annotations, name: value})

    def delete(self) -> None:
        """Somebody deletes the object."""
        if FINALIZER not in self.wfe.metadata.finalizers:
            self.gone = True
        elif self.wfe.metadata.deletion_timestamp is None:
            self.meta(deletion_timestamp=self.now.replace(microsecond=0))

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def settle(self, rounds: int = 60) -> None:
        """Let time pass until nothing is left to do; DataStorage answers."""
        for _ in range(rounds):
            self.cached = self.child
            waiting = self.run_pass()
            if waiting is None:
                return
            if self.trail().standing != "stored":
                self.acknowledge()
                continue
            if waiting.seconds is None:
                return
            self.advance(waiting.seconds)
        raise AssertionError(f"it does not settle: {self.steps[-6:]}")
