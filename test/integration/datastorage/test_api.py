"""What a client sees: stored, found, verified, and the same twice."""

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kubernaut.audit import uuid7
from kubernaut.local._port import free_port
from test.datastorage_service import BATCH, EVENTS, VERIFY, DataStorageProcess, StartService

MINIMAL = {"event_category": "workflow", "event_action": "workflow.started"}
TODAY = datetime.now(UTC).replace(microsecond=0)
NOW = TODAY.isoformat()


def correlation() -> str:
    return f"rr-{uuid4()}"


def repeatable(**members: Any) -> dict[str, Any]:
    event = MINIMAL | {"event_id": str(uuid7()), "event_timestamp": NOW}
    return event | {"correlation_id": correlation()} | members


def stored(service: DataStorageProcess, correlation_id: str) -> list[dict[str, Any]]:
    answer = service.get(EVENTS, correlation_id=correlation_id, order="asc", limit=1000)
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()["data"]
    return events


def test_the_literal_minimal_body_of_the_report_is_stored(shared: DataStorageProcess) -> None:
    body = '[{"event_category":"workflow","event_action":"workflow.started"}]'
    answer = shared.post(BATCH, body)
    assert answer.status_code == 201
    (event_id,) = answer.json()["event_ids"]
    event = shared.get(f"{EVENTS}/{event_id}").json()
    assert event["correlation_id"] == event_id
    assert event["event_type"] == "workflow.started"
    assert (event["version"], event["event_outcome"], event["severity"]) == (
        "1.0",
        "pending",
        "info",
    )
    assert (event["actor_type"], event["actor_id"]) == ("service", "workflow-service")
    assert (event["resource_type"], event["resource_id"]) == ("workflow", event_id)
    assert (event["retention_days"], event["is_sensitive"]) == (2555, False)
    assert event["event_data"] == {}
    assert event["chain_seq"] == 1


def test_the_literal_fuller_body_of_the_report_is_stored(shared: DataStorageProcess) -> None:
    body = """[{
    "event_category": "workflow",
    "event_action": "workflow.started",
    "event_outcome": "success",
    "resource_type": "WorkflowExecution",
    "correlation_id": "test-123"
  }]"""
    assert shared.post(BATCH, body).status_code == 201
    (event,) = stored(shared, "test-123")
    assert event["event_outcome"] == "success"
    assert event["resource_type"] == "WorkflowExecution"


def test_health_answers_as_the_report_wants(shared: DataStorageProcess) -> None:
    answer = shared.get("/health")
    assert answer.status_code == 200
    assert answer.text == '{"status":"healthy","database":"connected"}\n'


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/healthz", "/readyz"])
def test_probes_answer(shared: DataStorageProcess, path: str) -> None:
    assert shared.get(path).status_code == 200


def test_an_action_without_a_dot_is_prefixed_with_its_category(
    shared: DataStorageProcess,
) -> None:
    name = correlation()
    shared.post(EVENTS, MINIMAL | {"event_action": "started", "correlation_id": name})
    assert stored(shared, name)[0]["event_type"] == "workflow.started"


def test_the_same_event_again_is_a_duplicate(shared: DataStorageProcess) -> None:
    event = repeatable()
    first = shared.post(EVENTS, event)
    again = shared.post(EVENTS, dict(reversed(event.items())))
    assert (first.status_code, first.json()["result"]) == (201, "created")
    assert (again.status_code, again.json()["result"]) == (201, "duplicate")
    assert len(stored(shared, event["correlation_id"])) == 1


def test_the_same_id_with_other_content_conflicts(shared: DataStorageProcess) -> None:
    event = repeatable()
    shared.post(EVENTS, event)
    answer = shared.post(EVENTS, event | {"event_outcome": "failure"})
    assert answer.status_code == 409
    assert answer.json()["type"] == "https://kubernaut.ai/problems/conflict"
    assert stored(shared, event["correlation_id"])[0]["event_outcome"] == "pending"


def test_an_id_of_another_correlation_conflicts(shared: DataStorageProcess) -> None:
    event = repeatable()
    shared.post(EVENTS, event)
    other = event | {"correlation_id": correlation()}
    assert shared.post(EVENTS, other).status_code == 409
    assert stored(shared, other["correlation_id"]) == []


def test_a_conflict_in_a_batch_names_every_index_and_stores_nothing(
    shared: DataStorageProcess,
) -> None:
    known = repeatable()
    shared.post(EVENTS, known)
    name = correlation()
    good = repeatable(correlation_id=name)
    clash = known | {"event_action": "other"}
    answer = shared.post(BATCH, [clash, good, good | {"event_action": "other"}])
    assert answer.status_code == 409
    assert [fault["index"] for fault in answer.json()["errors"]] == [0, 2]
    assert stored(shared, name) == []


def test_a_repetition_inside_a_batch_is_a_duplicate(shared: DataStorageProcess) -> None:
    event = repeatable()
    answer = shared.post(BATCH, [event, event])
    assert [result["status"] for result in answer.json()["results"]] == ["created", "duplicate"]
    assert answer.json()["event_ids"] == [event["event_id"]] * 2


def test_lenient_handling_stores_what_is_right(shared: DataStorageProcess) -> None:
    known = repeatable()
    shared.post(EVENTS, known)
    good = repeatable()
    batch = [known, known | {"event_action": "x"}, {"event_category": "workflow"}, good]
    answer = shared.post(BATCH, batch, Prefer="handling=lenient")
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "handling=lenient"
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [
        "duplicate",
        "conflict",
        "rejected",
        "created",
    ]
    assert answer.json()["event_ids"] == [known["event_id"], None, None, good["event_id"]]
    assert results[2]["errors"] == [
        {"path": "$", "rule": "Object missing required field `event_action`"}
    ]


def test_a_parent_must_be_stored_or_come_before(shared: DataStorageProcess) -> None:
    parent = repeatable()
    child = repeatable(parent_event_id=parent["event_id"])
    refused = shared.post(EVENTS, child)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["path"] == "$.parent_event_id"
    assert shared.post(BATCH, [parent, child]).status_code == 201
    event = stored(shared, child["correlation_id"])[0]
    assert (event["parent_event_id"], event["parent_event_date"]) == (
        parent["event_id"],
        str(TODAY.date()),
    )


def test_null_means_absent_where_it_is_allowed(shared: DataStorageProcess) -> None:
    name = correlation()
    nullable = [
        "parent_event_id",
        "parent_event_date",
        "namespace",
        "cluster_id",
        "severity",
        "duration_ms",
        "error_code",
        "error_message",
        "retention_days",
        "is_sensitive",
    ]
    event = MINIMAL | {"correlation_id": name} | dict.fromkeys(nullable)
    assert shared.post(EVENTS, event).status_code == 201
    assert "severity" not in stored(shared, name)[0]


def test_a_payload_comes_back_byte_for_byte(shared: DataStorageProcess) -> None:
    payload = (
        '{"a": 1e2,"b":-0, "c":1.50,"big":123456789012345678901234567890,'
        '"e":"\\u00e9\\/<b>\'; DROP TABLE audit_events;--","nested":{"x":[1,{"y":null}]}}'
    )
    name = correlation()
    body = (
        f'{{"event_category":"workflow","event_action":"a","correlation_id":"{name}",'
        f'"event_data":{payload}}}'
    )
    assert shared.post(EVENTS, body).status_code == 201
    answer = shared.get(EVENTS, correlation_id=name).text
    assert f'"event_data":{payload}}}' in answer
    assert shared.verify(name)["is_valid"]


def test_unknown_members_are_kept_as_metadata(shared: DataStorageProcess) -> None:
    name = correlation()
    extra = {"x-team": "payments", "attempt": 3}
    assert shared.post(EVENTS, MINIMAL | {"correlation_id": name} | extra).status_code == 201
    assert stored(shared, name)[0]["event_metadata"] == extra
    assert shared.verify(name)["is_valid"]


def test_another_offset_is_the_same_instant(shared: DataStorageProcess) -> None:
    name = correlation()
    event = MINIMAL | {"correlation_id": name, "event_timestamp": "2026-11-23T23:30:00-05:30"}
    assert shared.post(EVENTS, event).status_code == 201
    assert stored(shared, name)[0]["event_timestamp"] == "2026-11-24T05:00:00Z"


def test_an_event_of_six_years_ago_is_stored(shared: DataStorageProcess) -> None:
    name = correlation()
    then = TODAY - timedelta(days=6 * 365)
    event = MINIMAL | {"correlation_id": name, "event_timestamp": then.isoformat()}
    assert shared.post(EVENTS, event).status_code == 201
    assert stored(shared, name)[0]["event_date"] == str(then.date())


def test_the_request_id_is_echoed(shared: DataStorageProcess) -> None:
    answer = shared.client.get("/health", headers={"X-Request-ID": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert re.fullmatch("[0-9a-f]{32}", shared.get("/health").headers["x-request-id"])


def test_the_api_page_needs_nothing_from_elsewhere(shared: DataStorageProcess) -> None:
    page = shared.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for name in re.findall(r'(?:src|href)="(docs/[^"]+)"', page):
        assert shared.get(f"/{name}").status_code == 200


def test_unknown_routes_and_methods_are_problems(shared: DataStorageProcess) -> None:
    nothing = shared.get("/api/v1/nothing")
    assert (nothing.status_code, nothing.headers["content-type"]) == (
        404,
        "application/problem+json",
    )
    wrong = shared.client.put(EVENTS)
    assert wrong.status_code == 405
    assert {"GET", "POST"} <= set(wrong.headers["allow"].replace(" ", "").split(","))


def test_verify_chain_of_nothing_is_valid(shared: DataStorageProcess) -> None:
    verification = shared.verify(correlation())
    assert verification["is_valid"]
    assert verification["message"] == "No events found for correlation_id"


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"correlation_id": ""}, "missing-correlation-id"),
        ({"correlation_id": "x" * 256}, "invalid-correlation-id"),
        ({"correlation_id": 1}, "validation-error"),
        ({}, "validation-error"),
        ("{", "invalid-request-body"),
    ],
)
def test_verify_chain_names_a_bad_request(shared: DataStorageProcess, body: Any, slug: str) -> None:
    answer = shared.post(VERIFY, body)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith(slug)


def test_metrics_can_have_a_port_of_their_own(start_service: StartService) -> None:
    port = free_port()
    service = start_service(server={"metrics_port": port})
    text = service.client.get(f"http://127.0.0.1:{port}/metrics").text
    assert "datastorage_write_queue_requests" in text
    assert service.get("/metrics").status_code == 404


def test_strict_contract_wants_all_required_fields(start_service: StartService) -> None:
    service = start_service(strict_contract=True)
    full = json.loads((Path(__file__).parent / "strict_event.json").read_text()) | {
        "event_timestamp": NOW
    }
    answer = service.post(EVENTS, full)
    assert answer.status_code == 201, answer.text
    for name in [
        "version",
        "event_type",
        "event_timestamp",
        "event_category",
        "event_action",
        "event_outcome",
        "correlation_id",
        "event_data",
    ]:
        without = {key: value for key, value in full.items() if key != name}
        refused = service.post(EVENTS, without)
        assert refused.status_code == 400
        assert name in refused.json()["detail"]
    untyped = full | {"event_data": {"a": 1}}
    assert service.post(EVENTS, untyped).json()["errors"][0]["path"] == "$.event_data.event_type"
    old = full | {"event_timestamp": (TODAY - timedelta(days=8)).isoformat()}
    assert service.post(EVENTS, old).status_code == 400
    assert service.post(EVENTS, full | {"event_category": "execution"}).status_code == 400


def test_head_is_get_without_the_body(shared: DataStorageProcess) -> None:
    answer = shared.client.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_an_id_of_another_correlation_conflicts_on_any_day(shared: DataStorageProcess) -> None:
    event = repeatable()
    shared.post(EVENTS, event)
    other = event | {
        "correlation_id": correlation(),
        "event_timestamp": (TODAY - timedelta(days=3)).isoformat(),
    }
    assert shared.post(EVENTS, other).status_code == 409


def test_a_parent_that_comes_later_or_is_refused_is_none(shared: DataStorageProcess) -> None:
    parent = repeatable()
    child = repeatable(parent_event_id=parent["event_id"])
    late = shared.post(BATCH, [child, parent])
    assert [fault["index"] for fault in late.json()["errors"]] == [0]
    itself = repeatable()
    itself["parent_event_id"] = itself["event_id"]
    assert shared.post(EVENTS, itself).status_code == 400
    wrong = parent | {"actor_ip": "x"}
    answer = shared.post(BATCH, [wrong, child], Prefer="handling=lenient")
    assert [result["status"] for result in answer.json()["results"]] == ["rejected", "rejected"]


def test_unknown_members_have_the_limits_of_a_payload(shared: DataStorageProcess) -> None:
    for extra in ({"x": "x" * 262_144}, {"x": json.loads("[" * 10 + "]" * 10)}):
        answer = shared.post(EVENTS, MINIMAL | extra)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "$"


def counted(service: DataStorageProcess, result: str) -> float:
    wanted = f'datastorage_audit_events_total{{result="{result}"}} '
    lines = service.get("/metrics").text.splitlines()
    return float(next((one for one in lines if one.startswith(wanted)), "x 0").split()[1])


def test_events_of_a_refused_batch_are_not_counted_as_stored(
    shared: DataStorageProcess,
) -> None:
    known = repeatable()
    shared.post(EVENTS, known)
    created, conflicts = counted(shared, "created"), counted(shared, "conflict")
    shared.post(BATCH, [repeatable(), known | {"event_action": "x"}, repeatable()])
    assert counted(shared, "created") == created
    assert counted(shared, "conflict") == conflicts + 1


def test_events_of_equal_time_come_in_the_order_of_their_batch(
    shared: DataStorageProcess,
) -> None:
    name = correlation()
    batch = [MINIMAL | {"correlation_id": name, "event_data": {"n": n}} for n in range(50)]
    assert shared.post(BATCH, batch).status_code == 201
    assert [one["event_data"]["n"] for one in stored(shared, name)] == list(range(50))


def test_many_gzip_bodies_at_once_are_taken(shared: DataStorageProcess) -> None:
    body = gzip.compress(json.dumps([MINIMAL] * 50).encode())
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: shared.post(BATCH, body, **{"Content-Encoding": "gzip"}), range(80))
        )
    assert {answer.status_code for answer in answers} == {201}
