"""How WorkflowExecutions are shown: as kubectl shows things, with nothing cut off."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kubernaut.cli._printable import printable
from kubernaut.kubernetes import Condition, get_condition
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution

NONE: Final = "<none>"

_GAP: Final = "   "
_SHORT: Final = 120
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_YEAR: Final = 365 * _DAY
# From this age on in seconds: the unit, and the smaller one that is shown with it (0: none).
_AGES: Final = (
    (2 * _YEAR, _YEAR, "y", _DAY, "d"),
    (8 * _DAY, _DAY, "d", 0, ""),
    (2 * _DAY, _DAY, "d", _HOUR, "h"),
    (8 * _HOUR, _HOUR, "h", 0, ""),
    (3 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (10 * _MINUTE, _MINUTE, "m", 0, ""),
    (2 * _MINUTE, _MINUTE, "m", 1, "s"),
)


def table(rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Lines of a table whose columns are as wide as they need."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        indent
        + _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]


def age(span: timedelta) -> str:
    """A span as kubectl writes it: `45s`, `2m10s`, `3h`, `4d`."""
    seconds = max(0, int(span.total_seconds()))
    for least, unit, letter, smaller, smaller_letter in _AGES:
        if seconds >= least:
            whole, rest = divmod(seconds, unit)
            part = rest // smaller if smaller else 0
            return f"{whole}{letter}{part}{smaller_letter}" if part else f"{whole}{letter}"
    return f"{seconds}s"


def since(moment: datetime | None) -> str:
    """How long ago something was."""
    return "<unknown>" if moment is None else age(datetime.now(UTC) - moment)


def workflow(wfe: WorkflowExecution) -> str:
    """The workflow by the name that people know it by."""
    reference = wfe.spec.workflow_ref
    return reference.workflow_name or reference.workflow_id


def reason(wfe: WorkflowExecution) -> str:
    """Why it failed, in one word."""
    failure = wfe.status.failure_details
    return failure.reason if failure else wfe.status.failure_reason


def failure_text(wfe: WorkflowExecution) -> str:
    """Why it failed, and where: `TaskFailed: task drain, step drain, exit code 1`."""
    failure = wfe.status.failure_details
    if failure is None:
        return reason(wfe)
    where = []
    if failure.failed_task_name:
        where.append(f"task {failure.failed_task_name}")
    if failure.failed_step_name:
        where.append(f"step {failure.failed_step_name}")
    if failure.exit_code is not None:
        where.append(f"exit code {failure.exit_code}")
    if failure.reason == "Unknown" and failure.message:
        return failure.message  # Such as `Cancelled: ...`.
    return f"{failure.reason}: {', '.join(where) or failure.message}"


def short(text: str) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."


def condition_text(condition: Condition) -> str:
    """A condition in a line."""
    return f"{condition.type}={condition.status} ({condition.reason}): {condition.message}"


def conditions_text(wfe: WorkflowExecution) -> str:
    """All conditions in a few words: the true ones by name, the others with what they are."""
    return ", ".join(
        one.type if one.status == "True" else f"{one.type}={one.status}"
        for one in wfe.status.conditions
    )


def is_audited(wfe: WorkflowExecution) -> bool:
    """Whether its trail is known to be complete."""
    found = get_condition(wfe.status.conditions, "AuditRecorded")
    return found is not None and found.status == "True"


def document(wfe: WorkflowExecution) -> dict[str, Any]:
    """The whole object, as JSON or YAML have it."""
    head = {"apiVersion": WORKFLOW_EXECUTIONS.api_version, "kind": WORKFLOW_EXECUTIONS.kind}
    return head | dict(msgspec.to_builtins(wfe))
