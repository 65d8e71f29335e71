"""Looks, asks `decide`, lets the one step be done, and asks again.

- A pass goes on until there is nothing to do now; a crash anywhere in it leaves the next one the
  same question.
- Objects on one target are looked at one after another, so that two runs with different engines
  cannot both find it free. Between processes the name of the child is the lock.
"""

import asyncio
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kubernaut.kubernetes import (
    Change,
    Client,
    Clock,
    Controller,
    EventRecorder,
    Result,
    Source,
    is_true,
)
from kubernaut.workflowexecution._api import EngineName, WorkflowExecution
from kubernaut.workflowexecution._conditions import AUDITED
from kubernaut.workflowexecution._decide import Seen, decide, holds_lock, needs_attention
from kubernaut.workflowexecution._latest import Latest
from kubernaut.workflowexecution._metrics import OperatorMetrics
from kubernaut.workflowexecution._names import child_name, lock_key, lock_name
from kubernaut.workflowexecution._perform import Pass, Performer
from kubernaut.workflowexecution._policy import Policy
from kubernaut.workflowexecution._run import engine_of
from kubernaut.workflowexecution._step import Step, Store, Wait
from kubernaut.workflowexecution._trail import Trail, TrailState
from kubernaut.workflowexecution.engines import Engine, owner_of

_MOST_STEPS: Final = 50
"""A pass that takes more goes in a circle, and that is a defect."""

Hook = Callable[[str], None]


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
        self._executions = executions
        self._engines = engines
        self._unavailable = unavailable
        self._trail = trail
        self._policy = policy
        self._is_suspended = is_suspended
        self._hook = hook
        self._clock = clock or client.clock
        self._latest = Latest(executions)
        self._performer = Performer(
            client=client,
            latest=self._latest,
            trail=trail,
            recorder=recorder,
            metrics=metrics,
            policy=policy,
        )
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
        owner = owner_of(obj.metadata)
        wfe = self._latest.get(owner.key) if owner else None
        if wfe is not None and needs_attention(wfe):
            yield wfe.metadata.key
        if change.new is None:
            yield from self._latest.waiting(obj.metadata.name)

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
        now = Pass(
            wfe,
            engine,
            Seen(
                child=engine.cached(child_name(wfe)) if engine else None,
                trail=TrailState("pending", 0),
                unavailable=unavailable,
                live=engine is None,  # Nothing can be there.
            ),
            self._time(),
        )
        step: Step = Wait()
        for _ in range(_MOST_STEPS):
            now.look(
                trail=await self._trail_of(now.wfe),
                suspended=self._is_suspended(),
                siblings=self._latest.siblings(now.wfe) if now.wfe.phase == "Pending" else (),
            )
            now.moment = self._time()
            step = decide(now.wfe, now.seen, now.moment, self._policy)
            if isinstance(step, Wait):
                return Result(step.seconds)
            self._at(f"before {_name(step)}")
            await self._performer.do(step, now)
            self._at(f"after {_name(step)}")
            if now.over:
                return now.done
        raise RuntimeError(f"{wfe.metadata.key}: {_MOST_STEPS} steps led nowhere, last {step}")

    async def _trail_of(self, wfe: WorkflowExecution) -> TrailState:
        if is_true(wfe.status.conditions, AUDITED):
            if wfe.is_terminal:
                self._trail.forget(wfe.metadata.uid)
            return TrailState("stored", 0)
        self._at(f"before Record {wfe.phase}")
        state = await self._trail.ensure(wfe)
        self._at(f"after Record {wfe.phase}")
        return state

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def _at(self, point: str) -> None:
        if self._hook is not None:
            self._hook(point)


def _name(step: Step) -> str:
    if isinstance(step, Store):
        return f"Store {step.status.phase or 'Pending'}"
    return type(step).__name__
