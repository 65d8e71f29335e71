"""The conditions of a WorkflowExecution: their types, reasons and messages.

`docs/reference/workflowexecution-api.md` has the table; a test compares it with this.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from kubernaut.kubernetes import Condition, ConditionStatus, is_true, set_condition

CREATED: Final = "ExecutionCreated"
RUNNING: Final = "ExecutionRunning"
COMPLETE: Final = "ExecutionComplete"
AUDITED: Final = "AuditRecorded"
READY: Final = "Ready"
STALLED: Final = "Stalled"
RELEASED: Final = "LockReleased"

REASONS: Final[dict[str, tuple[str, ...]]] = {
    CREATED: (
        "ExecutionCreated",
        "ExecutionCreationFailed",
        "QuotaExceeded",
        "RBACDenied",
    ),
    RUNNING: ("ExecutionStarted",),
    COMPLETE: (
        "ExecutionSucceeded",
        "ExecutionFailed",
        "TaskFailed",
        "DeadlineExceeded",
        "OOMKilled",
    ),
    AUDITED: ("AuditSucceeded", "AuditPending", "AuditFailed"),
    READY: ("Ready", "NotReady"),
    STALLED: ("NoProgress", "Progressing"),
    RELEASED: ("CooldownElapsed",),
}
"""Every reason that a condition may have."""


class ConditionList:
    """The conditions of one object, being changed at one time."""

    def __init__(self, conditions: Sequence[Condition], *, now: datetime, generation: int) -> None:
        self.all = list(conditions)
        self._now = now
        self._generation = generation

    def set(self, type_: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set one condition.

        Raises:
            ValueError: the reason is not one that the condition may have.
        """
        if reason not in REASONS[type_]:
            raise ValueError(f"{reason} is no reason of the condition {type_}")
        self.all = set_condition(
            self.all,
            type_,
            status,
            reason,
            message,
            now=self._now,
            observed_generation=self._generation,
        )

    def is_true(self, type_: str) -> bool:
        """Whether a condition is True."""
        return is_true(self.all, type_)
