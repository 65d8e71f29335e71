"""What an answer means: events are condemned by DataStorage alone, and told apart one by one."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.audit._answers import Judgement, Settled, Split, TryAgain, judge
from kubernaut.audit._entries import Entry, Fate

PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"
HTML: Final = b"<html>not here</html>"
IDS: Final = [str(uuid4()) for _ in range(3)]


def entries(count: int, *, own_id: bool = False) -> list[Entry]:
    return [Entry(n, uuid4(), "rr-1", own_id, 0.0, 0, None, b"{}") for n in range(count)]


def judged(
    batch: Sequence[Entry], status: int, body: Any, kind: str | None = JSON, **headers: str
) -> Judgement:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(batch, status, named | ({} if kind is None else {"content-type": kind}), content)


def results(*statuses: str, **more: Any) -> dict[str, Any]:
    found = [{"event_id": None, "status": status} | more for status in statuses]
    return {"event_ids": [None] * len(statuses), "message": "", "results": found}


def fates(judgement: Judgement) -> list[Fate]:
    assert isinstance(judgement, Settled), judgement
    return [outcome.fate for outcome in judgement.outcomes]


def test_each_event_has_its_own_result() -> None:
    batch = entries(4)
    judgement = judged(batch, 201, results("created", "duplicate", "conflict", "rejected"))
    assert fates(judgement) == ["created", "duplicate", "quarantined", "quarantined"]
    assert isinstance(judgement, Settled)
    assert [outcome.entry for outcome in judgement.outcomes] == batch


def test_a_rejected_event_is_told_what_is_wrong_with_it() -> None:
    faults = [{"path": "$.version", "rule": "short"}, {"path": "$.x", "rule": "y", "index": 0}]
    judgement = judged(entries(1), 201, results("rejected", errors=faults))
    assert isinstance(judgement, Settled)
    assert judgement.outcomes[0].reason == "rejected: $.version: short; $.x: y"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (201, results("conflict"), JSON),
        (409, {"type": "x/conflict", "detail": "taken"}, PROBLEM),
    ],
)
def test_a_conflict_of_an_own_id_counts_as_stored(status: int, body: object, kind: str) -> None:
    judgement = judged(entries(1, own_id=True), status, body, kind)
    assert fates(judgement) == ["duplicate"]
    assert isinstance(judgement, Settled)
    assert judgement.outcomes[0].own_conflict
    assert fates(judged(entries(1), status, body, kind)) == ["quarantined"]


def test_the_old_contract_stores_all_or_nothing() -> None:
    body = {"event_ids": IDS, "message": "3 audit events created successfully"}
    assert fates(judged(entries(3), 201, body)) == ["created"] * 3


def test_the_old_contract_queues_and_promises_nothing() -> None:
    body = {"status": "accepted", "message": "queued for async processing via DLQ", "count": 3}
    assert fates(judged(entries(3), 202, body)) == ["unconfirmed"] * 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, b""),
        (201, HTML),
        (201, {}),
        (201, {"event_ids": IDS[:2], "message": "fewer than were sent"}),
        (201, results("created")),
        (201, results(*["created"] * 4)),
        (201, results("created", "created", "vanished")),
        (201, b"[" * 100_000),
        (202, b""),
        (202, HTML),
        (202, {}),
        (202, {"status": "queued"}),
        (202, b'{"status":' * 100_000),
        (200, results(*["created"] * 3)),
        (200, HTML),
        (204, b""),
        (302, HTML),
        (307, b""),
    ],
)
def test_a_success_that_is_not_understood_settles_nothing(status: int, body: object) -> None:
    assert isinstance(judged(entries(3), status, body), TryAgain)


CONDEMNING: Final = (400, 409, 413, 422)


@pytest.mark.parametrize("status", CONDEMNING)
def test_a_problem_condemns_one_event_and_splits_several(status: int) -> None:
    problem = {"type": "https://kubernaut.ai/problems/x", "title": "T", "detail": "of this kind"}
    for kind in (PROBLEM, f"{PROBLEM}; charset=utf-8", PROBLEM.upper()):
        judgement = judged(entries(1), status, problem, kind)
        assert fates(judgement) == ["quarantined"]
        assert isinstance(judgement, Settled)
        assert "of this kind" in str(judgement.outcomes[0].reason)
        split = Split("bytes") if status == 413 else Split(None)
        assert judged(entries(2), status, problem, kind) == split


def test_a_batch_of_too_many_is_split_and_its_size_is_learnt() -> None:
    problem = {"type": "https://kubernaut.ai/problems/batch-size-exceeded"}
    assert judged(entries(2), 400, problem, PROBLEM) == Split("events")
    assert fates(judged(entries(1), 400, problem, PROBLEM)) == ["quarantined"]


@pytest.mark.parametrize("status", [*CONDEMNING, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (HTML, "text/html"),
        (b"", None),
        ({"type": "x"}, JSON),
        (HTML, PROBLEM),
        (b"", PROBLEM),
        (b"null", PROBLEM),
        ([], PROBLEM),
        ({"type": 5}, PROBLEM),
        (b"[" * 100_000, PROBLEM),
    ],
)
def test_what_is_no_problem_document_condemns_nothing(
    status: int, body: object, kind: str | None
) -> None:
    judgement = judged(entries(1), status, body, kind)
    assert isinstance(judgement, TryAgain)
    assert judgement.new_token == (status == 401)
    assert f"HTTP {status}" in judgement.reason


@pytest.mark.parametrize("status", [401, 403, 404, 405, 408, 415, 425, 429, 500, 501, 503, 507])
@pytest.mark.parametrize("count", [1, 2])
def test_a_problem_with_the_way_or_the_server_condemns_nothing(status: int, count: int) -> None:
    judgement = judged(entries(count), status, {"type": "x", "detail": "the reason"}, PROBLEM)
    assert isinstance(judgement, TryAgain)
    assert judgement.reason == f"HTTP {status}: the reason"


def test_a_batch_that_is_too_long_for_a_proxy_is_split() -> None:
    assert judged(entries(2), 413, HTML, "text/html") == Split("bytes")


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("1", 1.0),
        (" 17 ", 17.0),
        ("301", 300.0),
        ("9" * 1000, 300.0),
        ("0", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 99 Foo 2026 00:00:00 GMT", None),
        ("Fri, 01 Jan 999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, after: float | None) -> None:
    judgement = judged(entries(1), 503, HTML, "text/html", retry_after=value)
    assert isinstance(judgement, TryAgain)
    assert judgement.after == after


def test_retry_after_may_be_a_date() -> None:
    for ahead, least, most in ((60, 50, 60), (86_400, 300, 300)):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        judgement = judged(entries(1), 429, b"", None, retry_after=date)
        assert isinstance(judgement, TryAgain)
        assert judgement.after is not None
        assert least <= judgement.after <= most


@given(
    count=st.integers(1, 4),
    status=st.integers(100, 599),
    kind=st.sampled_from([JSON, PROBLEM, "text/html"]) | st.text(max_size=20),
    after=st.text(max_size=30),
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["created", "accepted"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["event_ids", "results", "status", "type", "errors"]), inner
            )
        ),
        max_leaves=12,
    ),
)
def test_no_answer_is_too_strange_to_judge(
    count: int, status: int, kind: str, after: str, body: object
) -> None:
    """And whatever it is, either every event of the batch has an outcome or none has."""
    batch = entries(count)
    judgement = judged(batch, status, body, kind, retry_after=after)
    match judgement:
        case Settled(outcomes):
            assert [outcome.entry for outcome in outcomes] == batch
            assert status in {201, 202, *CONDEMNING}
        case Split():
            assert count > 1
        case TryAgain(reason, seconds):
            assert reason
            assert seconds is None or 0 < seconds <= 300
