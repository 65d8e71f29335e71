from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.kubernetes._conditions import (
    get_condition,
    has_status,
    is_true,
    remove_condition,
    same_conditions,
    set_condition,
)
from kubernaut.kubernetes._objects import Condition

START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = st.sampled_from(["Ready", "Failed", "Audited"])
STATUSES = st.sampled_from(["True", "False", "Unknown"])
REASONS = st.sampled_from(["Waiting", "Done", "Broken"])
SETS = st.lists(
    st.tuples(TYPES, STATUSES, REASONS, st.text(max_size=5), st.integers(0, 100)), max_size=20
)


def after(steps: list[tuple[str, str, str, str, int]]) -> list[Condition]:
    conditions: list[Condition] = []
    now = START
    for type_, status, reason, message, seconds in steps:
        now += timedelta(seconds=seconds)
        conditions = set_condition(conditions, type_, status, reason, message, now=now)  # type: ignore[arg-type]  # drawn
    return conditions


@given(SETS)
def test_each_type_is_there_once_with_what_was_set_last(
    steps: list[tuple[str, str, str, str, int]],
) -> None:
    conditions = after(steps)
    last = {type_: rest for type_, *rest in steps}
    assert len(conditions) == len(last)
    for condition in conditions:
        assert [condition.status, condition.reason, condition.message] == last[condition.type][:3]


@given(SETS)
def test_the_transition_time_is_when_the_status_became_what_it_is(
    steps: list[tuple[str, str, str, str, int]],
) -> None:
    now = START
    since: dict[str, tuple[str, datetime]] = {}
    for type_, status, _, _, seconds in steps:
        now += timedelta(seconds=seconds)
        if type_ not in since or since[type_][0] != status:
            since[type_] = (status, now)
    for condition in after(steps):
        assert condition.last_transition_time == since[condition.type][1]


@given(SETS, st.integers(0, 1000))
def test_setting_what_is_there_changes_nothing(
    steps: list[tuple[str, str, str, str, int]], later: int
) -> None:
    conditions = after(steps)
    again = conditions
    for each in conditions:
        again = set_condition(
            again,
            each.type,
            each.status,  # type: ignore[arg-type]  # one of the three
            each.reason,
            each.message,
            now=START + timedelta(days=1, seconds=later),
        )
    assert again == conditions


@given(SETS, TYPES, STATUSES)
def test_other_conditions_keep_place_and_content(
    steps: list[tuple[str, str, str, str, int]], type_: str, status: str
) -> None:
    before = after(steps)
    untouched = list(before)
    now = START + timedelta(days=1)
    result = set_condition(before, type_, status, "Done", now=now)  # type: ignore[arg-type]  # drawn
    assert before == untouched
    assert [each for each in result if each.type != type_] == remove_condition(before, type_)
    assert [each.type for each in result][: len(before)] == [each.type for each in before]


@given(SETS, st.randoms())
def test_comparing_ignores_order(
    steps: list[tuple[str, str, str, str, int]], random: st.DataObject
) -> None:
    conditions = after(steps)
    shuffled = list(conditions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' Random
    assert same_conditions(conditions, shuffled)
    if conditions:
        assert not same_conditions(conditions, conditions[1:])


def test_an_older_generation_does_not_count() -> None:
    conditions = set_condition([], "Ready", "True", "Done", now=START, observed_generation=3)
    assert is_true(conditions, "Ready")
    assert is_true(conditions, "Ready", generation=3)
    assert not is_true(conditions, "Ready", generation=4)


def test_no_generation_keeps_the_one_that_was_there() -> None:
    conditions = set_condition([], "Ready", "True", "Done", now=START, observed_generation=3)
    conditions = set_condition(conditions, "Ready", "True", "Again", now=START)
    assert conditions[0].observed_generation == 3


def test_a_missing_condition_has_no_status() -> None:
    assert get_condition([], "Ready") is None
    assert not has_status([], "Ready", "Unknown")


def test_times_can_be_left_out_of_a_comparison() -> None:
    one = set_condition([], "Ready", "True", "Done", now=START)
    other = set_condition([], "Ready", "True", "Done", now=START + timedelta(hours=1))
    assert not same_conditions(one, other)
    assert same_conditions(one, other, ignore_times=True)


@pytest.mark.parametrize("reason", ["", "not a word", "9lives", "Ends:", "a" * 1025])
def test_a_reason_that_the_schema_refuses_is_refused_at_once(reason: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        set_condition([], "Ready", "True", reason, now=START)
