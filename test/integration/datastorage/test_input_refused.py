"""Bad input: a problem that names the fault and where it is; nothing stored, nothing harmed."""

import gzip
import json
import socket
from typing import Any
from uuid import uuid4

import pytest

from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, StartService

GOOD = {"event_category": "workflow", "event_action": "started"}


def text(**members: Any) -> str:
    return json.dumps([GOOD, GOOD | members])


def total(service: DataStorageProcess) -> int:
    count: int = service.get(EVENTS, limit=1).json()["pagination"]["total"]
    return count


def assert_refused(
    service: DataStorageProcess, answer: Any, status: int, slug: str, before: int
) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"https://kubernaut.ai/problems/{slug}"
    assert problem["status"] == status
    assert total(service) == before, "a refused request stored something"
    return problem


DOCUMENTS = {
    "not JSON": ("hello", "not JSON"),
    "truncated": ('[{"event_category":"work', "truncated"),
    "trailing text": (json.dumps([GOOD]) + " x", "trailing characters"),
    "an object": (json.dumps(GOOD), "must be a JSON array"),
    "a number": ("1", "must be a JSON array"),
    "nothing": ("", "no body"),
    "white space": (" \n", "no body"),
    "an empty batch": ("[]", "batch cannot be empty"),
    "nesting of 10,000": (
        '[{"event_category":"workflow","event_action":"a","event_data":'
        + '{"a":' * 10_000
        + "1"
        + "}" * 10_000
        + "}]",
        "too deep",
    ),
    "NaN": ('[{"event_category":"workflow","event_action":"a","event_data":{"x":NaN}}]', "JSON"),
    "Infinity": (
        '[{"event_category":"workflow","event_action":"a","event_data":{"x":Infinity}}]',
        "JSON",
    ),
    "a control character": (
        '[{"event_category":"workflow","event_action":"a","event_data":{"x":"\x01"}}]',
        "JSON",
    ),
    "a byte order mark": ("\ufeff[]", "JSON"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_no_batch(shared: DataStorageProcess, name: str) -> None:
    body, said = DOCUMENTS[name]
    before = total(shared)
    problem = assert_refused(shared, shared.post(BATCH, body), 400, "validation-error", before)
    assert said in problem["detail"]


def test_invalid_utf_8_is_named_by_its_byte(shared: DataStorageProcess) -> None:
    body = b'[{"event_category":"workflow","event_action":"a","event_data":{"x":"\xff"}}]'
    before = total(shared)
    problem = assert_refused(shared, shared.post(BATCH, body), 400, "validation-error", before)
    assert "byte 68 is 0xff" in problem["detail"]


MEMBERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "duration beyond int32": ({"duration_ms": 2**31}, "$.duration_ms", "<= 2147483647"),
    "retention beyond 2555": ({"retention_days": 2556}, "$.retention_days", "<= 2555"),
    "version of 11": ({"version": "x" * 11}, "$.version", "length <= 10"),
    "event_type of 101": ({"event_type": "x" * 101}, "$.event_type", "length <= 100"),
    "event_action of 51": ({"event_action": "x" * 51}, "$.event_action", "length <= 50"),
    "event_action of 0": ({"event_action": ""}, "$.event_action", "length >= 1"),
    "correlation_id of 256": ({"correlation_id": "x" * 256}, "$.correlation_id", "length <= 255"),
    "correlation_id of 0": ({"correlation_id": ""}, "$.correlation_id", "length >= 1"),
    "actor_type of 51": ({"actor_type": "x" * 51}, "$.actor_type", "length <= 50"),
    "actor_id of 256": ({"actor_id": "x" * 256}, "$.actor_id", "length <= 255"),
    "resource_type of 101": ({"resource_type": "x" * 101}, "$.resource_type", "length <= 100"),
    "resource_id of 256": ({"resource_id": "x" * 256}, "$.resource_id", "length <= 255"),
    "namespace of 254": ({"namespace": "x" * 254}, "$.namespace", "length <= 253"),
    "cluster_id of 256": ({"cluster_id": "x" * 256}, "$.cluster_id", "length <= 255"),
    "severity of 21": ({"severity": "x" * 21}, "$.severity", "length <= 20"),
    "error_code of 51": ({"error_code": "x" * 51}, "$.error_code", "length <= 50"),
    "outcome": ({"event_outcome": "maybe"}, "$.event_outcome", "Invalid enum value"),
    "category": ({"event_category": "x"}, "$.event_category", "Invalid enum value"),
    "event_id": (
        {"event_id": "x", "event_timestamp": "2026-11-01T00:00:00Z"},
        "$.event_id",
        "UUID",
    ),
    "event_id alone": ({"event_id": str(uuid4())}, "$.event_timestamp", "required"),
    "parent no UUID": ({"parent_event_id": "x"}, "$.parent_event_id", "UUID"),
    "parent unknown": ({"parent_event_id": str(uuid4())}, "$.parent_event_id", "stored event"),
    "address": ({"actor_ip": "1.2.3"}, "$.actor_ip", "IPv4 or IPv6"),
    "address with a zone": ({"actor_ip": "fe80::1%eth0"}, "$.actor_ip", "without a zone"),
    "time without offset": (
        {"event_timestamp": "2026-11-01T00:00:00"},
        "$.event_timestamp",
        "timezone",
    ),
    "impossible date": (
        {"event_timestamp": "2026-02-30T00:00:00Z"},
        "$.event_timestamp",
        "RFC3339",
    ),
    "no time at all": ({"event_timestamp": "yesterday"}, "$.event_timestamp", "RFC3339"),
    "too far ahead": (
        {"event_timestamp": "2099-01-01T00:00:00Z"},
        "$.event_timestamp",
        "60 minutes",
    ),
    "too old": ({"event_timestamp": "2001-01-01T00:00:00Z"}, "$.event_timestamp", "2555 days"),
    "year 1 with an offset": (
        {"event_timestamp": "0001-01-01T00:00:00+14:00"},
        "$.event_timestamp",
        "years 1 to 9999",
    ),
    "NUL": ({"error_message": "a\0b"}, "$.error_message", "neither"),
    "NUL in the payload": ({"event_data": {"a": ["x", "\0"]}}, "$.event_data.a[1]", "neither"),
    "half a surrogate pair": ({"error_message": "\ud800"}, "$.error_message", "neither"),
    "payload of depth 11": (
        {"event_data": json.loads('{"a":' * 11 + "1" + "}" * 11)},
        "$.event_data",
        "at most 10 deep",
    ),
    "payload of 256 KiB and more": ({"event_data": {"a": "x" * 262_144}}, "$.event_data", "bytes"),
    "unknown event type": (
        {"event_data": {"event_type": "x.y"}},
        "$.event_data.event_type",
        "'x.y'",
    ),
    "event type no text": ({"event_data": {"event_type": 1}}, "$.event_data.event_type", "str"),
    "payload against its schema": (
        {"event_data": {"event_type": "workflowexecution.workflow.failed"}},
        "$.event_data",
        "missing required field",
    ),
    "payload with a wrong enum": (
        {
            "event_data": {
                "event_type": "workflowexecution.workflow.failed",
                "workflow_id": "w",
                "workflow_version": "1",
                "target_resource": "a/b/c",
                "phase": "Exploded",
                "container_image": "i",
                "execution_name": "e",
            }
        },
        "$.event_data.phase",
        "Invalid enum value",
    ),
    "null where it means nothing": ({"actor_id": None}, "$.actor_id", "null"),
    "number for text": ({"resource_id": 7}, "$.resource_id", "Expected `str`"),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_is_wrong_is_named(shared: DataStorageProcess, name: str) -> None:
    members, path, said = MEMBERS[name]
    before = total(shared)
    answer = shared.post(BATCH, text(**members))
    problem = assert_refused(shared, answer, 400, "validation-error", before)
    (fault,) = problem["errors"]
    assert (fault["index"], fault["path"]) == (1, path)
    assert said in fault["rule"]
    assert f"event at index 1 failed validation: {path}" in problem["detail"]


@pytest.mark.parametrize("payload", ["1", "null", "[]", '"x"'])
def test_a_payload_is_an_object(shared: DataStorageProcess, payload: str) -> None:
    before = total(shared)
    body = f'{{"event_category":"workflow","event_action":"a","event_data":{payload}}}'
    assert_refused(shared, shared.post(EVENTS, body), 400, "invalid_event_data", before)


def test_a_repeated_member_is_named(shared: DataStorageProcess) -> None:
    body = '[{"event_category":"workflow", "event_action":"a", "event_action" : "b"}]'
    before = total(shared)
    problem = assert_refused(shared, shared.post(BATCH, body), 400, "validation-error", before)
    assert problem["errors"] == [
        {"path": "$.event_action", "rule": "an event names each member once", "index": 0}
    ]


def test_every_bad_event_is_listed(shared: DataStorageProcess) -> None:
    batch = [GOOD, {}, GOOD | {"version": ""}, GOOD, 7, GOOD | {"actor_ip": "x"}]
    before = total(shared)
    problem = assert_refused(shared, shared.post(BATCH, batch), 400, "validation-error", before)
    assert [fault["index"] for fault in problem["errors"]] == [1, 2, 4, 5]


def test_more_events_than_the_limit(shared: DataStorageProcess) -> None:
    before = total(shared)
    answer = shared.post(BATCH, [GOOD] * 10_001)
    assert_refused(shared, answer, 400, "batch-size-exceeded", before)


def test_a_wrong_content_type(shared: DataStorageProcess) -> None:
    before = total(shared)
    answer = shared.client.post(
        BATCH, content=json.dumps([GOOD]), headers={"Content-Type": "text/plain"}
    )
    assert_refused(shared, answer, 400, "validation-error", before)


def test_an_unknown_content_encoding(shared: DataStorageProcess) -> None:
    before = total(shared)
    answer = shared.post(BATCH, b"x", **{"Content-Encoding": "br"})
    assert_refused(shared, answer, 415, "unsupported-content-encoding", before)
    assert answer.headers["accept-encoding"] == "gzip"


def test_100_mib_with_a_length(shared: DataStorageProcess) -> None:
    before = total(shared)
    answer = shared.post(BATCH, b" " * 100 * 2**20)
    assert_refused(shared, answer, 413, "request-too-large", before)


def test_100_mib_in_chunks(shared: DataStorageProcess) -> None:
    before = total(shared)
    answer = shared.client.post(
        BATCH,
        content=(b" " * 2**20 for _ in range(100)),
        headers={"Content-Type": "application/json"},
    )
    assert_refused(shared, answer, 413, "request-too-large", before)


def test_a_gzip_bomb(shared: DataStorageProcess) -> None:
    before = total(shared)
    memory = shared.memory()
    bomb = gzip.compress(b"[" + b" " * 200 * 2**20 + b"]")
    answer = shared.post(BATCH, bomb, **{"Content-Encoding": "gzip"})
    assert_refused(shared, answer, 413, "request-too-large", before)
    assert shared.memory() - memory < 64 * 2**20


@pytest.mark.parametrize("damage", [slice(0, -4), slice(3, None)])
def test_damaged_gzip(shared: DataStorageProcess, damage: slice) -> None:
    before = total(shared)
    body = gzip.compress(json.dumps([GOOD]).encode())[damage]
    answer = shared.post(BATCH, body, **{"Content-Encoding": "gzip"})
    assert_refused(shared, answer, 400, "validation-error", before)


def test_a_body_that_does_not_come(start_service: StartService) -> None:
    service = start_service(server={"body_timeout": 0.5})
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(
            f"POST {BATCH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            'Content-Length: 100\r\n\r\n[{"event_ca'.encode()
        )
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"problems/request-timeout" in answer
    assert total(service) == 0


def test_limits_are_settings(start_service: StartService) -> None:
    limits = {
        "max_batch_events": 2,
        "max_body_bytes": 2000,
        "max_payload_bytes": 50,
        "max_payload_depth": 2,
        "max_event_age_days": 10,
    }
    service = start_service(limits=limits)
    assert service.post(BATCH, [GOOD] * 2).status_code == 201
    assert service.post(BATCH, [GOOD] * 3).status_code == 400
    assert service.post(EVENTS, GOOD | {"error_message": "x" * 2000}).status_code == 413
    assert service.post(EVENTS, GOOD | {"event_data": {"a": "x" * 50}}).status_code == 400
    assert service.post(EVENTS, GOOD | {"event_data": {"a": {"b": {}}}}).status_code == 400
    old = GOOD | {"event_timestamp": "2026-01-01T00:00:00Z"}
    assert service.post(EVENTS, old).status_code == 400
    assert total(service) == 2
