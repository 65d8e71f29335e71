"""A failure in some lines for people: what failed, on what, why, and what to do next."""

from collections.abc import Mapping
from typing import Final

from kubernaut.workflowexecution._api import Reason
from kubernaut.workflowexecution.engines import Failure

RECOMMENDATIONS: Final[Mapping[Reason, str]] = {
    "OOMKilled": "raise the memory limit of the task that ran out of memory",
    "DeadlineExceeded": "give the run more time (timesOutAt), or choose a faster workflow",
    "Forbidden": "grant the workflow's service account the rights (RBAC) that the error names",
    "ResourceExhausted": "free resources, or raise the quota of the execution namespace",
    "ConfigurationError": "correct what the error names in the spec, or in the workflow's bundle",
    "ImagePullBackOff": "check that the image exists, that its registry can be reached, and the"
    " pull credentials",
    "TaskFailed": "read the log of the step that failed; what it had done by then stays done",
    "Unknown": "read the events and logs of what ran the workflow in the execution namespace",
    "UnsupportedEngine": "install the execution engine, or choose a workflow for another one",
    "Deduplicated": "nothing: another run is at work on this target; look at its result",
}
"""What to do about each reason."""
CANCELLED: Final = "Cancelled: "
"""How the message of a run that somebody stopped begins."""

_CANCELLED: Final = "nothing, if that was meant; what the workflow had done by then stays done"


def summary(workflow_id: str, target: str, failure: Failure, duration: str | None) -> str:
    """The summary of a failure; every line ends with a line feed.

    Args:
        workflow_id: of the workflow that failed.
        target: as in `targetResource`.
        failure: why.
        duration: how long it ran, as in `2m30s`; None or "" where it did not.
    """
    lines = [f"Workflow '{workflow_id}' failed on target '{target}'.", f"Reason: {failure.reason}"]
    if failure.message:
        lines.append(f"Error: {failure.message}")
    if duration:
        lines.append(f"Failed after: {duration}")
    was_cancelled = failure.message.startswith(CANCELLED)
    advice = _CANCELLED if was_cancelled else RECOMMENDATIONS[failure.reason]
    lines.append(f"Recommendation: {advice}")
    return "".join(f"{line}\n" for line in lines)
