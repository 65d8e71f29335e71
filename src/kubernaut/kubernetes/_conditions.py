"""Conditions of a status: a list that is a map by `type`, as `meta.SetStatusCondition` keeps it.

* `lastTransitionTime` changes only when `status` changes: it says how long this has been so.
* Setting what is there already changes nothing: equal in, equal out, and no write is needed.
* Types keep their order; those of other controllers are left alone.

All functions return new lists: objects of a store are shared.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from kubernaut.kubernetes._objects import Condition

ConditionStatus = Literal["True", "False", "Unknown"]

_REASON: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_LONGEST_REASON: Final = 1024
_LONGEST_MESSAGE: Final = 32768


def get_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of a type, None where there is none."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str, *, generation: int | None = None) -> bool:
    """Whether the condition is `True`, and about `generation` where one is given."""
    return has_status(conditions, type_, "True", generation=generation)


def has_status(
    conditions: Iterable[Condition],
    type_: str,
    status: ConditionStatus,
    *,
    generation: int | None = None,
) -> bool:
    """Whether the condition has a status; a missing one has none, not even `Unknown`.

    Args:
        conditions: a status' list.
        type_: the condition's type.
        status: what to compare with.
        generation: given, a condition that observed an older generation doesn't count: it speaks of
            a spec that is no more.
    """
    found = get_condition(conditions, type_)
    if found is None or found.status != status:
        return False
    return generation is None or (found.observed_generation or 0) >= generation


def set_condition(  # noqa: PLR0913  (the members of a condition)
    conditions: Sequence[Condition],
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    observed_generation: int | None = None,
) -> list[Condition]:
    """The conditions with one set.

    Args:
        conditions: what was there.
        type_: the condition's type.
        status: `True`, `False` or `Unknown`.
        reason: one word in CamelCase; the API's schema requires it.
        message: for people; cut to what the API's schema allows.
        now: the time of the transition, if it is one. Kept to whole seconds, as the API keeps it.
        observed_generation: of the object that was looked at; None leaves what was there.

    Raises:
        ValueError: the reason would be refused by the API server.
    """
    if len(reason) > _LONGEST_REASON or not _REASON.fullmatch(reason):
        raise ValueError(f"not a reason for a condition: {reason!r}")
    old = get_condition(conditions, type_)
    since = old.last_transition_time if old is not None and old.status == status else None
    if observed_generation is None and old is not None:
        observed_generation = old.observed_generation
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message[:_LONGEST_MESSAGE],
        last_transition_time=since or _whole_seconds(now),
        observed_generation=observed_generation,
    )
    if old is None:
        return [*conditions, new]
    return [new if condition.type == type_ else condition for condition in conditions]


def remove_condition(conditions: Iterable[Condition], type_: str) -> list[Condition]:
    """The conditions without one."""
    return [condition for condition in conditions if condition.type != type_]


def same_conditions(
    left: Iterable[Condition], right: Iterable[Condition], *, ignore_times: bool = False
) -> bool:
    """Whether two lists say the same, whatever their order.

    Args:
        left: one list.
        right: the other.
        ignore_times: leave `lastTransitionTime` out, for comparing with what a test expects.
    """

    def as_map(conditions: Iterable[Condition]) -> dict[str, Condition]:
        return {
            condition.type: msgspec.structs.replace(condition, last_transition_time=None)
            if ignore_times
            else condition
            for condition in conditions
        }

    return as_map(left) == as_map(right)


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
