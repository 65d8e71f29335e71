"""Identifiers: their bits, their order, and which of them are the same."""

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.audit._identity import deterministic_id, uuid7

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = datetime(2026, 11, 24, 9, 30, 0, 125000, UTC)

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.timezones())  # noqa: DTZ001
PARTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1)


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def test_the_form_is_fixed_for_ever() -> None:
    made = deterministic_id(MOMENT, "5f0c", "workflowexecution.workflow.failed", "1")
    assert made == UUID("01a20ce4-063d-890d-95ef-c37c1795a2ec")


@given(MOMENTS, PARTS)
def test_time_version_and_variant_are_where_rfc_9562_wants_them(
    moment: datetime, parts: list[str]
) -> None:
    made = deterministic_id(moment, *parts)
    assert made.version == 8
    assert made.variant == RFC_4122
    assert made.int >> 80 == milliseconds(moment)


@given(MOMENTS, PARTS, st.timedeltas(timedelta(hours=-12), timedelta(hours=12)))
def test_the_same_moment_and_parts_give_the_same_id(
    moment: datetime, parts: list[str], offset: timedelta
) -> None:
    utc = moment.astimezone(UTC)
    made = deterministic_id(moment, *parts)
    assert deterministic_id(utc, *parts) == made
    if utc.year < 9999:
        assert deterministic_id(utc.astimezone(timezone(offset)), *parts) == made
    assert deterministic_id(utc.replace(microsecond=utc.microsecond // 1000 * 1000), *parts) == made


@given(MOMENTS, PARTS, PARTS)
def test_other_parts_give_another_id(moment: datetime, one: list[str], other: list[str]) -> None:
    same = deterministic_id(moment, *one) == deterministic_id(moment, *other)
    assert same is (one == other)


@given(PARTS.filter(lambda parts: len(parts) > 1))
def test_where_one_part_ends_and_the_next_begins_counts(parts: list[str]) -> None:
    assert deterministic_id(MOMENT, "".join(parts)) != deterministic_id(MOMENT, *parts)


@given(MOMENTS, PARTS, MOMENTS, PARTS)
def test_ids_sort_by_time(
    earlier: datetime, one: list[str], later: datetime, other: list[str]
) -> None:
    if milliseconds(later) < milliseconds(earlier):
        earlier, later = later, earlier
    if milliseconds(earlier) < milliseconds(later):
        assert deterministic_id(earlier, *one) < deterministic_id(later, *other)


def test_it_sorts_among_ids_of_version_7() -> None:
    before, now, after = uuid7(), datetime.now(UTC) + timedelta(milliseconds=2), uuid7()
    assert before < deterministic_id(now, "part")
    assert after < deterministic_id(now + timedelta(seconds=60), "part")


@pytest.mark.parametrize(
    ("moment", "parts", "message"),
    [
        (datetime(2026, 11, 24), ("part",), "moment needs an offset"),  # noqa: DTZ001
        (MOMENT, (), "give at least one"),
        (
            EPOCH - timedelta(milliseconds=1),
            ("part",),
            "1969-12-31T23:59:59.999000+00:00 is before",
        ),
        (MOMENT, ("\ud800",), "surrogates not allowed"),
    ],
)
def test_what_gives_no_id(moment: datetime, parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        deterministic_id(moment, *parts)


def test_ids_of_version_7_are_unique_and_in_order() -> None:
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
