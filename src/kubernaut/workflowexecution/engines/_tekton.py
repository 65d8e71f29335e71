"""The engine `tekton`: a run is a PipelineRun of `tekton.dev/v1` in the execution namespace.

- What it reads of a PipelineRun is its condition `Succeeded`; TaskRuns are read only to explain a
  failure.
- A name is free again only when no TaskRun of the former PipelineRun is left: Tekton adopts a
  TaskRun by its name, so a new PipelineRun of the same name would end with the work of the old.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Final, cast

from kubernaut.kubernetes import (
    Client,
    NotFoundError,
    Reflector,
    Source,
    controller_of,
)
from kubernaut.workflowexecution._api import EngineName
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution.engines._children import controlled_by, owner_of, reflector_of
from kubernaut.workflowexecution.engines._engine import Child, ChildState, Failure
from kubernaut.workflowexecution.engines._objects import ObjectEngine
from kubernaut.workflowexecution.engines._tekton_failure import TALLY, failure_of
from kubernaut.workflowexecution.engines._tekton_kinds import (
    PIPELINE_RUN_LABEL,
    PIPELINE_RUNS,
    TASK_RUNS,
    PipelineRun,
    TaskRun,
)
from kubernaut.workflowexecution.engines._tekton_manifest import pipeline_run_of

_NOT_BEGUN: Final = ("PipelineRunPending", "ResolvingPipelineRef")
_CANCEL: Final = "Cancelled"
_STOPPING: Final = frozenset({_CANCEL, "CancelledRunFinally"})
"""What ends tasks that run; after `StoppedRunFinally` they go on, only no other starts."""
_STATES: Final[dict[str, ChildState]] = {"True": "Succeeded", "False": "Failed"}


class TektonEngine(ObjectEngine[PipelineRun]):
    """Runs workflows as PipelineRuns.

    Args:
        client: to ask with.
        children: what `reflector` makes; running it is the caller's business.
        namespace: the execution namespace.
    """

    name: EngineName = "tekton"

    def __init__(self, client: Client, children: Source[PipelineRun], namespace: str) -> None:
        super().__init__(PIPELINE_RUNS, child_of, client, children, namespace)

    @staticmethod
    def reflector(client: Client, namespace: str) -> Reflector[PipelineRun]:
        """Watches the PipelineRuns that carry our labels."""
        return reflector_of(client, PIPELINE_RUNS, namespace)

    async def create(self, run: Run) -> Child:
        """Create a PipelineRun."""
        asked = pipeline_run_of(run, self._client.clock.time())
        return child_of(await self._client.create(PIPELINE_RUNS, asked))

    async def explain(self, child: Child) -> Failure:
        """Why it failed: reads each of its TaskRuns once."""
        run = cast(PipelineRun, child.seen)
        tasks: dict[str, TaskRun] = {}
        for reference in run.status.child_references:
            if reference.kind not in ("", "TaskRun"):
                continue
            try:
                task = await self._client.get(TASK_RUNS, reference.name, self._namespace)
            except NotFoundError:
                continue
            if controller_of(task) is None or controlled_by(task, child.uid):
                tasks[reference.name] = task
        return failure_of(run, tasks)

    async def stop(self, child: Child) -> None:
        """Cancel it: Tekton ends its tasks, and their TaskRuns stay."""
        if child.is_over or child.stopping:
            return
        # Tekton's webhook answers 400 once a run is complete.
        await self._end(child, {"spec": {"status": _CANCEL}}, moot=[HTTPStatus.BAD_REQUEST])

    async def cleanup(self, name: str, uid: str | None) -> bool:
        """Delete a PipelineRun and its TaskRuns; whether none of them is left.

        What is left are TaskRuns that are labelled with the name and do not belong to the
        PipelineRun that has the name now, if there is one.
        """
        if await self._delete(name, uid):
            return False
        left = await self._list(TASK_RUNS, label_selector=f"{PIPELINE_RUN_LABEL}={name}")
        return await self._is_free(name, left)


def child_of(run: PipelineRun) -> Child:
    """A PipelineRun as a child."""
    meta = run.metadata
    status = run.status
    condition = run.succeeded
    state, reason, message = _state_of(run)
    over = state in ("Succeeded", "Failed")
    completed, total = _tasks_of(run, state, message)
    started = status.start_time is not None
    finished_at = status.completion_time or (condition.last_transition_time if condition else None)
    return Child(
        engine=TektonEngine.name,
        resource=PIPELINE_RUNS.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        created=cast(datetime, meta.creation_timestamp),
        owner=owner_of(meta),
        state=state,
        reason=reason,
        message=message,
        begun=started and (over or bool(status.child_references)),
        finished_at=finished_at if over else None,
        completed_tasks=completed,
        total_tasks=total,
        stopping=run.spec.get("status") in _STOPPING,
        deleting=meta.deletion_timestamp is not None,
        seen=run,
    )


def _state_of(run: PipelineRun) -> tuple[ChildState, str, str]:
    condition = run.succeeded
    if condition is None:
        return "Waiting", "Pending", ""
    state = _STATES.get(condition.status)
    if state is None:
        state = "Waiting" if condition.reason in _NOT_BEGUN else "Running"
    return state, condition.reason, condition.message


def _tasks_of(run: PipelineRun, state: ChildState, message: str) -> tuple[int, int]:
    """How many tasks have succeeded, as Tekton counts them, and how many were started."""
    total = len(run.status.child_references)
    if found := TALLY.match(message):
        ended, *not_good = (int(found[name]) for name in ("completed", "failed", "cancelled"))
        return max(0, ended - sum(not_good)), total
    return (total if state == "Succeeded" else 0), total
