"""Finding events: filters, pages by offset and by cursor, and what is said of bad parameters."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from kubernaut.audit import uuid7
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess

NOW = datetime.now(UTC).replace(microsecond=0)


def event(name: str, **members: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid7()),
        "event_timestamp": NOW.isoformat(),
        "event_category": "workflow",
        "event_action": "progressed",
        "correlation_id": name,
    } | members


def write(service: DataStorageProcess, events: list[dict[str, Any]]) -> None:
    answer = service.post(BATCH, events)
    assert answer.status_code == 201, answer.text


def ids(service: DataStorageProcess, **params: Any) -> list[str]:
    answer = service.get(EVENTS, **params)
    assert answer.status_code == 200, answer.text
    return [one["event_id"] for one in answer.json()["data"]]


def pages(service: DataStorageProcess, **params: Any) -> Iterator[list[str]]:
    """All pages by cursor, following the Link header as a client would."""
    path: str | None = None
    while True:
        answer = service.client.get(path) if path else service.get(EVENTS, cursor="", **params)
        assert answer.status_code == 200, answer.text
        yield [one["event_id"] for one in answer.json()["data"]]
        link = answer.headers.get("link")
        if link is None:
            assert not answer.json()["pagination"]["has_more"]
            return
        assert link.endswith('>; rel="next"')
        path = link.removeprefix("<").removesuffix('>; rel="next"')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event_type", "workflow.special"),
        ("event_category", "gateway"),
        ("event_outcome", "failure"),
        ("severity", "critical"),
    ],
)
def test_a_filter_finds_what_is_equal(shared: DataStorageProcess, name: str, value: str) -> None:
    correlation = f"rr-{uuid4()}"
    wanted = event(correlation, **{name: value})
    write(shared, [event(correlation), wanted, event(correlation)])
    assert ids(shared, correlation_id=correlation, **{name: value}) == [wanted["event_id"]]
    assert wanted["event_id"] in ids(shared, limit=1000, **{name: value})


def test_a_member_of_the_payload_can_be_filtered(shared: DataStorageProcess) -> None:
    correlation = f"rr-{uuid4()}"
    wanted = event(correlation, event_data={"step": "drain", "n": 7})
    write(shared, [wanted, event(correlation, event_data={"step": "cordon"})])
    for key, value in (("step", "drain"), ("n", "7")):
        found = ids(shared, correlation_id=correlation, detail_key=key, detail_value=value)
        assert found == [wanted["event_id"]]


def test_times_are_inclusive_and_come_in_many_forms(shared: DataStorageProcess) -> None:
    correlation = f"rr-{uuid4()}"
    ages = [timedelta(0), timedelta(hours=2), timedelta(days=3)]
    events = [event(correlation, event_timestamp=(NOW - age).isoformat()) for age in ages]
    write(shared, events)
    new, middle, old = (one["event_id"] for one in events)
    at = (NOW - ages[1]).isoformat()
    forms = {
        "1h": [new],
        "2h30m": [new, middle],
        "1d": [new, middle],
        "7d": [new, middle, old],
        at: [new, middle],
        at.replace("+00:00", "Z"): [new, middle],
        (NOW - ages[1]).strftime("%Y-%m-%dT%H:%M:%S"): [new, middle],
        (NOW - timedelta(days=4)).strftime("%Y-%m-%d"): [new, middle, old],
    }
    for since, found in forms.items():
        assert ids(shared, correlation_id=correlation, since=since) == found, since
    assert ids(shared, correlation_id=correlation, until=at) == [middle, old]
    assert ids(shared, correlation_id=correlation, since=at, until=at) == [middle]
    # A "+" that nobody percent-encoded arrives as a space.
    raw = shared.client.get(f"{EVENTS}?correlation_id={correlation}&since={at}")
    assert [one["event_id"] for one in raw.json()["data"]] == [new, middle]


def test_newest_first_or_oldest_first_with_ties_by_id(shared: DataStorageProcess) -> None:
    correlation = f"rr-{uuid4()}"
    events = [event(correlation) for _ in range(10)]
    write(shared, events)
    expected = sorted(one["event_id"] for one in events)
    assert ids(shared, correlation_id=correlation, order="asc") == expected
    assert ids(shared, correlation_id=correlation) == expected[::-1]


def test_pages_by_offset_have_a_total(shared: DataStorageProcess) -> None:
    correlation = f"rr-{uuid4()}"
    write(shared, [event(correlation) for _ in range(5)])
    answer = shared.get(EVENTS, correlation_id=correlation, limit=2, offset=2).json()
    assert len(answer["data"]) == 2
    pagination = answer["pagination"]
    assert (pagination["limit"], pagination["offset"], pagination["total"]) == (2, 2, 5)
    assert pagination["has_more"]
    last = shared.get(EVENTS, correlation_id=correlation, limit=2, offset=4).json()
    assert not last["pagination"]["has_more"]


def test_the_default_limit_is_50(shared: DataStorageProcess) -> None:
    correlation = f"rr-{uuid4()}"
    write(shared, [event(correlation) for _ in range(60)])
    assert len(ids(shared, correlation_id=correlation)) == 50


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("scope", ["correlation_id", "event_type"])
def test_pages_by_cursor_stay_stable_while_events_arrive(
    shared: DataStorageProcess, order: str, scope: str
) -> None:
    chance = random.Random(3)  # noqa: S311
    correlation, kind = f"rr-{uuid4()}", f"workflow.{uuid4()}"

    def some(count: int) -> list[dict[str, Any]]:
        seconds = [chance.choice([0, 0, 60, 3600, 86_400 * 40]) for _ in range(count)]
        return [
            event(
                correlation,
                event_type=kind,
                event_timestamp=(NOW - timedelta(seconds=age)).isoformat(),
            )
            for age in seconds
        ]

    first = some(100)
    write(shared, first)
    params = {scope: correlation if scope == "correlation_id" else kind}
    seen: list[str] = []
    for page in pages(shared, limit=7, order=order, **params):
        seen += page
        write(shared, some(3))
    assert len(seen) == len(set(seen)), "an event was shown twice"
    assert {one["event_id"] for one in first} <= set(seen), "an event was left out"


def test_a_page_by_cursor_has_no_total(shared: DataStorageProcess) -> None:
    pagination = shared.get(EVENTS, cursor="", limit=1).json()["pagination"]
    assert "total" not in pagination
    assert "offset" not in pagination


def test_an_event_tells_its_place_in_the_chain(shared: DataStorageProcess) -> None:
    correlation = f"rr-{uuid4()}"
    write(shared, [event(correlation) for _ in range(3)])
    data = shared.get(EVENTS, correlation_id=correlation, order="asc").json()["data"]
    assert sorted(one["chain_seq"] for one in data) == [1, 2, 3]
    by_seq = sorted(data, key=lambda one: one["chain_seq"])
    assert by_seq[0]["previous_event_hash"] == ""
    assert by_seq[1]["previous_event_hash"] == by_seq[0]["event_hash"]
    # The same by every way of finding it.
    for one in data:
        assert shared.get(f"{EVENTS}/{one['event_id']}").json() == one


BAD = {
    "limit=0": "limit",
    "limit=1001": "limit",
    "limit=x": "limit",
    "limit=1.5": "limit",
    "limit=": "limit",
    "limit=1&limit=2": "limit",
    "offset=-1": "offset",
    "offset=99999999999999999999": "offset",
    "since=tomorrow": "since",
    "since=-3d": "since",
    "since=2026-13-01": "since",
    "since=99999999d": "since",
    "until=1x": "until",
    "event_outcome=maybe": "event_outcome",
    "order=up": "order",
    "cursor=!": "cursor",
    "cursor=bm9uZQ": "cursor",
    "detail_key=a": "detail_value",
    "detail_value=a": "detail_key",
    "detail_key=a'b&detail_value=x": "detail_key",
    "severity=": "severity",
    "severity=%00": "severity",
    "severity=%ff": "severity",
    f"correlation_id={'x' * 256}": "correlation_id",
}


@pytest.mark.parametrize("query", BAD)
def test_a_bad_parameter_is_named(shared: DataStorageProcess, query: str) -> None:
    answer = shared.client.get(f"{EVENTS}?{query}")
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert problem["type"] == "https://kubernaut.ai/problems/validation-error"
    assert [fault["path"] for fault in problem["errors"]] == [BAD[query]]
    assert set(problem["field_errors"]) == {BAD[query]}


def test_every_bad_parameter_is_named(shared: DataStorageProcess) -> None:
    answer = shared.get(EVENTS, limit=0, since="x", order="y")
    assert set(answer.json()["field_errors"]) == {"limit", "since", "order"}


def test_unknown_parameters_are_ignored(shared: DataStorageProcess) -> None:
    assert shared.get(EVENTS, limit=1, colour="green").status_code == 200


@pytest.mark.parametrize("value", ["'; DROP TABLE audit_events;--", "%", "a\\b", "<b>", "ü€"])
def test_a_value_is_only_a_value(shared: DataStorageProcess, value: str) -> None:
    correlation = f"{value}{uuid4()}"
    write(shared, [event(correlation, severity=value[:20], event_data={"k": value})])
    found = ids(shared, correlation_id=correlation, detail_key="k", detail_value=value)
    assert len(found) == 1
    assert len(ids(shared, correlation_id=correlation, severity=value[:20])) == 1


def test_an_id_that_is_no_uuid_is_refused(shared: DataStorageProcess) -> None:
    answer = shared.get(f"{EVENTS}/7")
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "event_id")


def test_an_unknown_id_is_not_found(shared: DataStorageProcess) -> None:
    assert shared.get(f"{EVENTS}/{uuid4()}").status_code == 404
