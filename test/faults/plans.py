"""What becomes of each storage operation of a traced scenario.

A plan is asked when an operation begins, in the order in which operations begin, once for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import fnmatchcase

from test.faults.operations import Kind, Operation

Matches = Callable[[Operation], bool]


class Step(Enum):
    """What becomes of an operation."""

    GO_ON = auto()
    KILL_BEFORE = auto()
    KILL_AFTER = auto()


@dataclass(frozen=True, slots=True)
class Fail:
    """The kernel does nothing, and the caller gets this errno."""

    errno: int


@dataclass(frozen=True, slots=True)
class Shorten:
    """A write does only its first bytes and says so, as on a disk that becomes full."""

    length: int


Verdict = Step | Fail | Shorten
Plan = Callable[[Operation], Verdict]


def record(_: Operation) -> Verdict:
    """Let everything happen."""
    return Step.GO_ON


def kill_before(number: int) -> Plan:
    """SIGKILL when operation `number`, counted from 0, is about to begin."""
    return lambda operation: Step.KILL_BEFORE if operation.number == number else Step.GO_ON


def kill_after(number: int) -> Plan:
    """SIGKILL when operation `number` is done and nobody knows it yet."""
    return lambda operation: Step.KILL_AFTER if operation.number == number else Step.GO_ON


def on(*kinds: Kind, path: str = "*", start: int = 0, count: int | None = None) -> Matches:
    """Which operations: of these kinds (none: all), on a path like this pattern.

    `start` of them are let pass, and after `count` further ones all the rest. It counts, so every
    run needs a new one.
    """
    seen = 0

    def matches(operation: Operation) -> bool:
        nonlocal seen
        if (kinds and operation.kind not in kinds) or not fnmatchcase(operation.path, path):
            return False
        seen += 1
        return seen > start and (count is None or seen <= start + count)

    return matches


def when(matches: Matches, verdict: Verdict) -> Plan:
    """Give the operations that match this verdict."""
    return lambda operation: verdict if matches(operation) else Step.GO_ON


def fail(matches: Matches, errno: int) -> Plan:
    """Let the operations that match fail."""
    return when(matches, Fail(errno))


def first_of(*plans: Plan) -> Plan:
    """The first verdict that is not to go on; all plans are asked."""

    def plan(operation: Operation) -> Verdict:
        verdicts = [plan(operation) for plan in plans]
        return next((verdict for verdict in verdicts if verdict is not Step.GO_ON), Step.GO_ON)

    return plan
