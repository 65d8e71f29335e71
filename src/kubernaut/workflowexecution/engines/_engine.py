"""What the controller knows of whatever runs a workflow, and what it asks of it.

An engine turns a `Run` into one object of the cluster (a *child*) and tells how that is going. It
decides nothing: names, locks, deadlines, phases and the audit trail are the controller's, and the
same for all engines.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from kubernaut.kubernetes import Source
from kubernaut.workflowexecution._api import EngineName, Reason
from kubernaut.workflowexecution._run import Run

ChildState = Literal["Waiting", "Running", "Succeeded", "Failed"]
"""`Waiting` is a run that has been created and not begun."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose child it is, as its labels and annotations say."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One object that runs a workflow, as it was seen.

    Attributes:
        resource: for people: `PipelineRun`, `Job`.
        created: its `creationTimestamp`, which is the start of the run.
        owner: None where it does not say, or not completely.
        reason: the engine's word for the state.
        message: the engine's text.
        begun: whether something of the workflow has begun to act.
        finished_at: where it is over and says so.
        stopping: it is being cancelled.
        deleting: it is being deleted.
        version: its `resourceVersion`.
        seen: the object itself, for the engine's own use.
    """

    engine: EngineName
    resource: str
    namespace: str
    name: str
    uid: str
    version: str
    created: datetime
    owner: Owner | None
    state: ChildState
    reason: str = ""
    message: str = ""
    begun: bool = False
    finished_at: datetime | None = None
    completed_tasks: int = 0
    total_tasks: int = 0
    retries: int = 0
    stopping: bool = False
    deleting: bool = False
    seen: Any = None

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.state in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed, in the words of the API.

    Attributes:
        message: what happened, as precisely as the engine can say it.
        task_name: the task to blame; "" where none is known.
        task_index: its position among the tasks that were started.
        completed_tasks: how many tasks had succeeded, where the child itself does not say so.
        was_execution_failure: whether the workflow may have acted on the target.
    """

    reason: Reason
    message: str
    task_name: str = ""
    task_index: int = 0
    step_name: str = ""
    exit_code: int | None = None
    completed_tasks: int | None = None
    was_execution_failure: bool


class Engine(Protocol):
    """Runs workflows as objects of one kind in the execution namespace.

    Attributes:
        name: as in `workflowRef.executionEngine`.
        children: a reflector of the objects that carry our labels; running it is the operator's
            business.
    """

    name: EngineName
    children: Source[Any]

    def cached(self, name: str) -> Child | None:
        """The child of a name as last seen by the watch."""

    async def observe(self, name: str) -> Child | None:
        """The child of a name as it is now; None where there is none.

        Raises:
            KubernetesError: it cannot be read.
        """

    async def create(self, run: Run) -> Child:
        """Create what runs a workflow.

        Raises:
            AlreadyExistsError: the name is taken, so the target is locked.
            InvalidError, ForbiddenError: it is refused, and would be again.
            KubernetesError: any other failure; it may have been created all the same.
        """

    async def explain(self, child: Child) -> Failure:
        """Why a failed child failed: reads what the child's own status does not say.

        Raises:
            KubernetesError: that cannot be read now.
        """

    async def stop(self, child: Child) -> None:
        """Ask a running child to end, keeping what can be read of it; nothing where it is over.

        Raises:
            KubernetesError: the request did not get through.
        """

    async def cleanup(self, name: str, uid: str | None) -> bool:
        """Delete a child and whatever it created.

        Args:
            name: of the child.
            uid: of the child; another one of that name is left alone. None: it is gone already,
                look for what it left.

        Returns:
            Whether nothing of it is left. Where it is False, ask again later: the deletion is on
            its way.

        Raises:
            KubernetesError: the request did not get through.
        """
