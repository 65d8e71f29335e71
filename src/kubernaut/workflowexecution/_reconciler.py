"""The I/O around the decisions: looks, asks `decide`, does the one step, and asks again.

- A pass goes on until there is nothing to do now; a crash anywhere in it leaves the next one the
  same question.
- Objects on one target are looked at one after another, so that two runs with different engines
  cannot both find it free. Between processes the name of the child is the lock.
- Status writes are tied to the version that was read. A conflict is answered by reading again.
- Events and metrics follow a write that was accepted, and so come once.
"""

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec

from kubernaut.audit import JournalError
from kubernaut.kubernetes import (
    AlreadyExistsError,
    ApiError,
    Change,
    Client,
    Clock,
    ConflictError,
    Controller,
    EventRecorder,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    Result,
    Source,
    add_finalizer,
    is_true,
    remove_finalizer,
)
from kubernaut.workflowexecution._api import (
    FINALIZER,
    WORKFLOW_EXECUTIONS,
    EngineName,
    WorkflowExecution,
    WorkflowExecutionStatus,
)
from kubernaut.workflowexecution._conditions import AUDITED
from kubernaut.workflowexecution._decide import (
    AddFinalizer,
    Bypass,
    CleanUp,
    Create,
    Explain,
    Observe,
    RemoveFinalizer,
    Replace,
    Seen,
    Step,
    Stop,
    Store,
    Wait,
    decide,
    holds_lock,
    needs_attention,
)
from kubernaut.workflowexecution._latest import Latest
from kubernaut.workflowexecution._metrics import OperatorMetrics
from kubernaut.workflowexecution._names import (
    EXECUTION_ANNOTATION,
    EXECUTION_LABEL,
    NAMESPACE_LABEL,
    lock_key,
    lock_name,
)
from kubernaut.workflowexecution._owed import correlation_id_of
from kubernaut.workflowexecution._policy import Policy
from kubernaut.workflowexecution._refusal import refusal_of
from kubernaut.workflowexecution._run import engine_of
from kubernaut.workflowexecution._trail import Trail, TrailState
from kubernaut.workflowexecution.engines import Child, Engine, Owner

_LOG: Final = logging.getLogger("kubernaut.workflowexecution")
_MOST_STEPS: Final = 50
"""A pass that takes more goes in a circle, and that is a defect."""
_CLEANING: Final = 1.0
"""Seconds until another look at a deletion that is under way; its end is told by a watch."""
_JOURNAL_PAUSE: Final = 30.0
_REFUSED: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)

Hook = Callable[[str], None]


@dataclass(slots=True)
class _Pass:
    """What one pass over an object knows; `wfe` is the newest form."""

    wfe: WorkflowExecution
    engine: Engine | None
    seen: Seen
    done: Result | None = None
    over: bool = False

    def look(self, **changes: Any) -> None:
        self.seen = replace(self.seen, **changes)

    def end(self, after: float | None = None) -> None:
        self.over, self.done = True, Result(after)


class Reconciler:
    """Brings WorkflowExecutions to what they should be.

    Args:
        client: reads and writes; fenced by the leader election where there is one.
        executions: the reflector of WorkflowExecutions, its store made by `execution_store`.
        engines: those that can be used.
        unavailable: for the others, what to do about it.
        trail: the audit trail.
        recorder: of Events.
        metrics: of the operator.
        policy: times and defaults.
        is_suspended: whether no new run may start.
        hook: called before and after each step with its name, for tests that crash there.
        clock: where the time comes from.
    """

    def __init__(  # noqa: PLR0913  (its parts)
        self,
        *,
        client: Client,
        executions: Source[WorkflowExecution],
        engines: Mapping[EngineName, Engine],
        unavailable: Mapping[EngineName, str],
        trail: Trail,
        recorder: EventRecorder,
        metrics: OperatorMetrics,
        policy: Policy,
        is_suspended: Callable[[], bool] = lambda: False,
        hook: Hook | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._executions = executions
        self._engines = engines
        self._unavailable = unavailable
        self._trail = trail
        self._recorder = recorder
        self._metrics = metrics
        self._policy = policy
        self._is_suspended = is_suspended
        self._hook = hook
        self._clock = clock or client.clock
        self._latest = Latest(executions)
        self._targets: weakref.WeakValueDictionary[str, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        self._wake: Callable[[str], object] = lambda key: None  # noqa: ARG005  (until `attach`)

    def attach(self, controller: Controller) -> None:
        """Let a controller call `reconcile` for every change that can matter."""
        controller.watches(self._executions, self._keys_of_execution)
        for engine in self._engines.values():
            controller.watches(engine.children, self._keys_of_child)
        self._wake = controller.queue.add
        self._trail.wakes(self._wake)

    def look_at_pending(self) -> None:
        """Look at all that have not started: the suspension is over."""
        for key in self._latest.pending():
            self._wake(key)

    def _keys_of_execution(self, change: Change[WorkflowExecution]) -> Iterable[str]:
        old, new = change.old, change.new
        if new is None or (needs_attention(new) and not self._latest.is_echo(change)):
            yield change.key
        if old is not None and holds_lock(old) and (new is None or new.phase != old.phase):
            yield from self._latest.waiting(lock_name(old.spec.target_resource))
        elif old is not None and new is not None and holds_lock(old) and not holds_lock(new):
            yield from self._latest.waiting(lock_name(new.spec.target_resource))

    def _keys_of_child(self, change: Change[Any]) -> Iterable[str]:
        obj: Any = change.new or change.old  # One of the two is there.
        meta = obj.metadata
        key = meta.annotations.get(EXECUTION_ANNOTATION)
        if key is None and NAMESPACE_LABEL in meta.labels:
            key = f"{meta.labels[NAMESPACE_LABEL]}/{meta.labels.get(EXECUTION_LABEL, '')}"
        owner = self._latest.get(key) if key else None
        if owner is not None and needs_attention(owner):
            yield owner.metadata.key
        if change.new is None:
            yield from self._latest.waiting(meta.name)

    async def reconcile(self, key: str) -> Result | None:
        """One pass over an object.

        Raises:
            KubernetesError: the API server did not take a step; try again.
        """
        wfe = self._latest.get(key)
        if wfe is None:
            self._latest.forget(key)
            return None
        if wfe.phase != "Pending":
            return await self._go(wfe)
        async with self._target(wfe):
            newest = self._latest.get(key)
            return None if newest is None else await self._go(newest)

    def _target(self, wfe: WorkflowExecution) -> asyncio.Lock:
        return self._targets.setdefault(lock_key(wfe), asyncio.Lock())

    async def _go(self, wfe: WorkflowExecution) -> Result | None:
        name = engine_of(wfe)
        engine = self._engines.get(name) if name else None
        unavailable = None
        if name is not None and engine is None:
            unavailable = self._unavailable.get(name, "check controller configuration and logs")
        now = _Pass(
            wfe,
            engine,
            Seen(
                child=engine.cached(_child_name(wfe)) if engine else None,
                trail=TrailState("pending", 0),
                unavailable=unavailable,
                live=engine is None,  # Nothing can be there.
            ),
        )
        step: Step = Wait()
        for _ in range(_MOST_STEPS):
            now.look(
                trail=await self._trail_of(now.wfe),
                suspended=self._is_suspended(),
                siblings=self._latest.siblings(now.wfe) if now.wfe.phase == "Pending" else (),
            )
            step = decide(now.wfe, now.seen, self._time(), self._policy)
            if isinstance(step, Wait):
                return Result(step.seconds)
            self._at(f"before {_name(step)}")
            await self._do(step, now)
            self._at(f"after {_name(step)}")
            if now.over:
                return now.done
        raise RuntimeError(f"{wfe.metadata.key}: {_MOST_STEPS} steps led nowhere, last {step}")

    async def _trail_of(self, wfe: WorkflowExecution) -> TrailState:
        if is_true(wfe.status.conditions, AUDITED):
            if wfe.is_terminal:
                self._trail.forget(wfe.metadata.uid)
            return TrailState("stored", 0)
        return await self._trail.ensure(wfe)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def _at(self, point: str) -> None:
        if self._hook is not None:
            self._hook(point)

    async def _do(self, step: Step, now: _Pass) -> None:  # noqa: C901  (a case for each step)
        match step:
            case AddFinalizer():
                await self._write(
                    now, add_finalizer(self._client, WORKFLOW_EXECUTIONS, now.wfe, FINALIZER)
                )
            case Observe():
                await self._observe(now)
            case Create(run):
                await self._create(now, run)
            case Explain(child):
                now.look(failure=await _of(now).explain(child))
            case Stop(child):
                await _of(now).stop(child)
                await self._observe(now)
            case CleanUp(name, uid):
                await self._clean_up(now, name, uid)
            case Replace(child):
                await self._replace(now, child)
            case Store(status):
                await self._store(now, step, status)
            case Bypass(reason):
                await self._bypass(now, reason)
            case RemoveFinalizer():
                await self._let_go(now)
            case _:
                raise TypeError(f"not a step: {step}")

    async def _write(self, now: _Pass, writing: Any) -> bool:
        """Await a write of the object; whether it was accepted."""
        key = now.wfe.metadata.key
        try:
            now.wfe = await writing
        except ConflictError:
            return await self._read_again(now)
        except NotFoundError:
            self._latest.forget(key)
            now.end()
            return False
        self._latest.wrote(now.wfe)
        return True

    async def _read_again(self, now: _Pass) -> bool:
        """Somebody else wrote: go on with what is there now."""
        meta = now.wfe.metadata
        self._latest.forget(meta.key)
        try:
            found = await self._client.get(WORKFLOW_EXECUTIONS, meta.name, meta.namespace)
        except NotFoundError:
            now.end()
            return False
        if found.metadata.uid != meta.uid:
            now.end()  # A namesake; the watch will tell of it.
            return False
        now.wfe = found
        self._latest.wrote(found)
        return False

    async def _observe(self, now: _Pass) -> None:
        engine = _of(now)
        child = await engine.observe(_child_name(now.wfe))
        exists = None
        if child is not None and child.is_over and child.owner is not None:
            exists = await self._owner_exists(child.owner)
        now.look(child=child, live=True, child_owner_exists=exists)

    async def _owner_exists(self, owner: Owner) -> bool:
        if self._latest.exists(owner.key, owner.uid):
            return True
        try:
            found = await self._client.get(WORKFLOW_EXECUTIONS, owner.name, owner.namespace)
        except NotFoundError:
            return False
        except ForbiddenError as error:
            _LOG.warning("whether %s exists cannot be seen, so it does: %s", owner.key, error)
            return True
        return owner.uid in ("", found.metadata.uid)

    async def _create(self, now: _Pass, run: Any) -> None:
        engine = _of(now)
        if run.dropped:
            _LOG.info(
                "%s: parameters not passed on: %s", now.wfe.metadata.key, ", ".join(run.dropped)
            )
        try:
            child = await engine.create(run)
        except AlreadyExistsError:
            await self._observe(now)
        except ApiError as error:
            if error.status not in _REFUSED:
                raise
            now.look(refusal=refusal_of(error, run), live=True)
        else:
            self._metrics.child_created(engine.name)
            now.look(child=child, live=True, created=True)

    async def _store(self, now: _Pass, step: Store, status: WorkflowExecutionStatus) -> None:
        before, meta = now.wfe, now.wfe.metadata
        writing = self._client.patch(
            WORKFLOW_EXECUTIONS,
            meta.name,
            {"status": _difference(before.status, status)},
            namespace=meta.namespace,
            subresource="status",
            resource_version=meta.resource_version,
        )
        if not await self._write(now, writing):
            return
        for said in step.announcements:
            self._recorder.record(
                WORKFLOW_EXECUTIONS,
                now.wfe,
                said.reason,
                said.note,
                action=said.action,
                type_=said.type,
            )
        after = now.wfe
        if after.phase != before.phase:
            _LOG.info(
                "%s: phase %s -> %s", meta.key, before.phase, after.phase, extra=_fields(after)
            )
        if after.is_terminal and not before.is_terminal:
            self._metrics.ended(
                "Completed" if after.phase == "Completed" else "Failed", _took(after)
            )
        if after.status.reconcile_forced != before.status.reconcile_forced:
            self._trail.forget(meta.uid)
            if now.engine is not None:
                await self._observe(now)

    async def _clean_up(self, now: _Pass, name: str, uid: str | None) -> None:
        if now.engine is None:
            _LOG.warning("%s: its engine is not available, nothing cleaned up", now.wfe.key)
            now.look(clean=True)
            return
        try:
            clean = await now.engine.cleanup(name, uid)
        except KubernetesError as error:
            deleted = now.wfe.metadata.deletion_timestamp is not None
            when = "during finalization" if deleted else "after cooldown"
            self._recorder.record(
                WORKFLOW_EXECUTIONS,
                now.wfe,
                "CleanupFailed",
                f"Cleanup failed {when}: {error}",
                type_="Warning",
            )
            raise
        if clean:
            now.look(clean=True, child=None, live=True)
        else:
            now.end(_CLEANING)

    async def _replace(self, now: _Pass, child: Child) -> None:
        wfe = now.wfe
        owner = child.owner
        await self._trail.tell(
            "child.replaced",
            correlation_id=correlation_id_of(wfe),
            moment=child.finished_at or child.created,
            parts=(wfe.metadata.uid, child.uid),
            data={
                "workflow_execution": wfe.metadata.name,
                "target_resource": wfe.spec.target_resource,
                "child": f"{child.resource} {child.namespace}/{child.name}",
                "child_uid": child.uid,
                "child_owner": owner.key if owner else "",
                "child_state": child.state,
            },
            wfe=wfe,
        )
        _LOG.warning(
            "%s: %s %s of %s, which is gone, is deleted",
            wfe.key,
            child.resource,
            child.name,
            owner.key if owner else "?",
        )
        if await _of(now).cleanup(child.name, child.uid):
            now.look(child=None, live=True)
        else:
            now.end(_CLEANING)

    async def _bypass(self, now: _Pass, reason: str) -> None:
        wfe = now.wfe
        deleted = wfe.metadata.deletion_timestamp
        assert deleted is not None  # noqa: S101  (only a deleted object is let go)
        try:
            await self._trail.tell(
                "finalizer.bypassed",
                correlation_id=correlation_id_of(wfe),
                moment=deleted + timedelta(seconds=self._policy.trail_timeout),
                parts=(wfe.metadata.uid,),
                data={
                    "workflow_execution": wfe.metadata.name,
                    "reason": reason,
                    "waited_seconds": self._policy.trail_timeout,
                },
                wfe=wfe,
                outcome="failure",
            )
        except JournalError as error:
            _LOG.critical("%s: it is kept, for nothing can be recorded: %s", wfe.key, error)
            now.end(_JOURNAL_PAUSE)
            return
        _LOG.error("%s: deleted before its audit trail is stored: %s", wfe.key, reason)
        await self._let_go(now)

    async def _let_go(self, now: _Pass) -> None:
        wfe = now.wfe
        try:
            await remove_finalizer(self._client, WORKFLOW_EXECUTIONS, wfe, FINALIZER)
        except ConflictError:
            await self._read_again(now)
            return
        self._recorder.record(
            WORKFLOW_EXECUTIONS,
            wfe,
            "WorkflowExecutionDeleted",
            f"WorkflowExecution cleanup completed (phase: {wfe.phase})",
        )
        self._trail.forget(wfe.metadata.uid)
        now.end()


def _of(now: _Pass) -> Engine:
    assert now.engine is not None  # noqa: S101  (without one no such step is decided)
    return now.engine


def _name(step: Step) -> str:
    if isinstance(step, Store):
        return f"Store {step.status.phase or 'Pending'}"
    return type(step).__name__


def _child_name(wfe: WorkflowExecution) -> str:
    reference = wfe.status.execution_ref
    return reference.name if reference else lock_name(wfe.spec.target_resource)


def _difference(old: WorkflowExecutionStatus, new: WorkflowExecutionStatus) -> dict[str, Any]:
    """A merge patch from one status to the other."""
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return _patch(before, after)


def _patch(before: Any, after: Any) -> dict[str, Any]:
    changed: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        if value == old:
            continue
        both = isinstance(value, dict) and isinstance(old, dict)
        changed[name] = _patch(old, value) if both else value
    return changed


def _took(wfe: WorkflowExecution) -> float:
    start, end = wfe.status.start_time, wfe.status.completion_time
    return (end - start).total_seconds() if start is not None and end is not None else 0.0


def _fields(wfe: WorkflowExecution) -> dict[str, Any]:
    """What a log line about a transition carries."""
    failure = wfe.status.failure_details
    return {
        "workflow_execution": wfe.metadata.key,
        "phase": wfe.phase,
        "target_resource": wfe.spec.target_resource,
        "correlation_id": correlation_id_of(wfe),
        "reason": failure.reason if failure else None,
    }
