"""The steps that `decide` may answer with, as values."""

from dataclasses import dataclass

from kubernaut.workflowexecution._api import WorkflowExecutionStatus
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution._status import Announcement
from kubernaut.workflowexecution.engines import Child


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Make sure that the object cannot vanish unseen."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the object go."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Read the child from the API server."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create what runs the workflow."""

    run: Run


@dataclass(frozen=True, slots=True)
class Explain:
    """Find out why our child failed."""

    child: Child


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask our child to end."""

    child: Child


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Delete our child and what it left; `uid` is None where it is gone already."""

    name: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class Replace:
    """Delete a finished child whose owner is gone."""

    child: Child


@dataclass(frozen=True, slots=True)
class Store:
    """Store a status, and then show Events."""

    status: WorkflowExecutionStatus
    announcements: tuple[Announcement, ...] = ()


@dataclass(frozen=True, slots=True)
class Bypass:
    """Say in the trail that the object goes although its trail is not stored."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done now. `seconds`: until the next deadline; None: until a change."""

    seconds: float | None = None


Step = (
    AddFinalizer
    | RemoveFinalizer
    | Observe
    | Create
    | Explain
    | Stop
    | CleanUp
    | Replace
    | Store
    | Bypass
    | Wait
)
