"""Does what was decided: one method for each step, each safe to repeat.

- Status writes are tied to the version that was read. A conflict is answered by reading again.
- Events and metrics follow a write that was accepted, and so come once.
- What no stored status will tell is recorded in the trail before it is done.
"""

import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec

from kubernaut.audit import JournalError
from kubernaut.kubernetes import (
    AlreadyExistsError,
    ApiError,
    Client,
    ConflictError,
    EventRecorder,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    Result,
    add_finalizer,
    remove_finalizer,
)
from kubernaut.workflowexecution._api import (
    FINALIZER,
    WORKFLOW_EXECUTIONS,
    WorkflowExecution,
    WorkflowExecutionStatus,
)
from kubernaut.workflowexecution._decide import Seen
from kubernaut.workflowexecution._latest import Latest
from kubernaut.workflowexecution._metrics import OperatorMetrics
from kubernaut.workflowexecution._names import child_name
from kubernaut.workflowexecution._owed import correlation_id_of
from kubernaut.workflowexecution._policy import Policy
from kubernaut.workflowexecution._refusal import refusal_of
from kubernaut.workflowexecution._run import Run
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
)
from kubernaut.workflowexecution._trail import Trail
from kubernaut.workflowexecution.engines import Child, Engine, Owner

_LOG: Final = logging.getLogger("kubernaut.workflowexecution")
_CLEANING: Final = 1.0
"""Seconds until another look at a deletion that is under way; its end is told by a watch."""
_JOURNAL_PAUSE: Final = 30.0
_PERHAPS_REFUSED: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_REFUSED: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, *_PERHAPS_REFUSED)


@dataclass(slots=True)
class Pass:
    """What one pass over an object knows and has come to.

    Attributes:
        wfe: its newest form.
        engine: that runs it; None where there is none.
        seen: what is around it.
        moment: of the decision that is being carried out.
        over: the pass is at its end.
        done: with this result.
    """

    wfe: WorkflowExecution
    engine: Engine | None
    seen: Seen
    moment: datetime
    done: Result | None = None
    over: bool = False

    def look(self, **changes: Any) -> None:
        self.seen = replace(self.seen, **changes)

    def end(self, after: float | None = None) -> None:
        self.over, self.done = True, Result(after)


class Performer:
    """Does steps.

    Args:
        client: reads and writes; fenced by the leader election where there is one.
        latest: the newest known objects.
        trail: the audit trail.
        recorder: of Events.
        metrics: of the operator.
        policy: times and defaults.
    """

    def __init__(  # noqa: PLR0913  (its parts)
        self,
        *,
        client: Client,
        latest: Latest,
        trail: Trail,
        recorder: EventRecorder,
        metrics: OperatorMetrics,
        policy: Policy,
    ) -> None:
        self._client = client
        self._latest = latest
        self._trail = trail
        self._recorder = recorder
        self._metrics = metrics
        self._policy = policy
        self._refused: dict[str, datetime] = {}  # By uid: since when.

    async def do(self, step: Step, now: Pass) -> None:  # noqa: C901  (a case for each step)
        """Do one step.

        Raises:
            KubernetesError: it was not taken; try again.
        """
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

    async def _write(self, now: Pass, writing: Coroutine[Any, Any, WorkflowExecution]) -> bool:
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

    async def _read_again(self, now: Pass) -> bool:
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

    async def _observe(self, now: Pass) -> None:
        engine = _of(now)
        child = await engine.observe(child_name(now.wfe))
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

    async def _create(self, now: Pass, run: Run) -> None:
        engine = _of(now)
        if run.dropped:
            _LOG.info(
                "%s: parameters not passed on: %s", now.wfe.metadata.key, ", ".join(run.dropped)
            )
        try:
            child = await engine.create(run)
        except AlreadyExistsError:
            self._refused.pop(now.wfe.metadata.uid, None)
            await self._observe(now)
        except ApiError as error:
            if error.status not in _REFUSED:
                raise
            since = None
            if error.status in _PERHAPS_REFUSED:
                since = self._refused.setdefault(now.wfe.metadata.uid, now.moment)
                _LOG.warning("%s: not created: %s", now.wfe.metadata.key, error)
            now.look(refusal=refusal_of(error, run), refused_since=since, live=True)
        else:
            self._refused.pop(now.wfe.metadata.uid, None)
            self._metrics.child_created(engine.name)
            now.look(child=child, live=True, created=True)

    async def _store(self, now: Pass, step: Store, status: WorkflowExecutionStatus) -> None:
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
            self._refused.pop(meta.uid, None)
            self._metrics.ended(
                "Completed" if after.phase == "Completed" else "Failed", _took(after)
            )
        if after.status.reconcile_forced != before.status.reconcile_forced:
            self._trail.forget(meta.uid)
            if now.engine is not None:
                await self._observe(now)

    async def _clean_up(self, now: Pass, name: str, uid: str | None) -> None:
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

    async def _replace(self, now: Pass, child: Child) -> None:
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

    async def _bypass(self, now: Pass, reason: str) -> None:
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

    async def _let_go(self, now: Pass) -> None:
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


def _of(now: Pass) -> Engine:
    assert now.engine is not None  # noqa: S101  (without one no such step is decided)
    return now.engine


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
