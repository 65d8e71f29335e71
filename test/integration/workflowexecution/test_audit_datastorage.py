"""The audit client against DataStorage: the five cases of the report's audit_datastorage file.

A5 to A8 met a server that answered 500 to every batch; so did the two bodies that the report sends
by hand, which are here to the letter. Beside the answer, each case looks at what was stored.
"""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from kubernaut.audit import AuditStore, Client
from kubernaut.audit.wire import StoredEvent
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess

ACTIONS: Final = {"started": "success", "completed": "success", "failed": "failure"}
MINIMAL: Final = '[{"event_category":"workflow","event_action":"workflow.started"}]'
FULLER: Final = """[{
    "event_category": "workflow",
    "event_action": "workflow.started",
    "event_outcome": "success",
    "resource_type": "WorkflowExecution",
    "correlation_id": "test-123"
  }]"""


@pytest.fixture
def client(trail_service: DataStorageProcess) -> Iterator[Client]:
    """The client of a service that says that it is well; one that is not fails the test."""
    with Client(trail_service.url) as opened:
        health = opened.health()
        assert (health.status, health.database) == ("healthy", "connected")
        yield opened


@pytest.fixture
def number() -> str:
    """What makes the names of this test its own."""
    return uuid.uuid4().hex[:12]


def event(number: str, action: str, **more: Any) -> dict[str, Any]:
    """An event as the report's suite sends it, by the name of its action."""
    return {
        "version": "1.0",
        "event_type": f"workflow.{action}",
        "event_category": "workflow",
        "event_action": action,
        "event_outcome": ACTIONS[action],
        "actor_type": "service",
        "actor_id": "workflowexecution-controller",
        "resource_type": "WorkflowExecution",
        "resource_id": f"test-wfe-{number}",
        "correlation_id": f"test-corr-{number}",
        "namespace": "default",
        "event_data": {
            "workflow_id": "restart-deployment",
            "target_resource": "default/deployment/app",
            "phase": "Running",
            "test_marker": number,
        },
    } | more


def write(client: Client, number: str, sent: Sequence[dict[str, Any]]) -> list[StoredEvent]:
    """Write a batch; gives what was stored, which is what was sent, in its order."""
    answer = client.write_batch(sent)
    assert answer.message == f"{len(sent)} audit events created successfully"
    assert [result.status for result in answer.results] == ["created"] * len(sent)
    stored = list(client.query(correlation_id=f"test-corr-{number}", order="asc"))
    stored.sort(key=lambda one: one.chain_seq or 0)
    assert [one.event_id for one in stored] == answer.event_ids
    for given, found in zip(sent, stored, strict=True):
        for name in given.keys() - {"event_data"}:
            assert getattr(found, name) == given[name], name
        assert found.data == given["event_data"]
        assert client.get(found.event_id) == found
    verdict = client.verify_chain(f"test-corr-{number}")
    assert (verdict.is_valid, verdict.total_events) == (True, len(sent))
    return stored


def test_should_write_audit_events_to_data_storage_via_batch_endpoint(
    client: Client, number: str
) -> None:
    (found,) = write(client, number, [event(number, "started")])
    assert (found.severity, found.chain_seq, found.duration_ms) == ("info", 1, None)


def test_should_write_workflow_completed_audit_event_via_batch_endpoint(
    client: Client, number: str
) -> None:
    (found,) = write(client, number, [event(number, "completed", duration_ms=5000)])
    assert found.duration_ms == 5000


def test_should_write_workflow_failed_audit_event_via_batch_endpoint(
    client: Client, number: str
) -> None:
    failed = event(
        number,
        "failed",
        error_code="PIPELINE_FAILED",
        error_message="Task step-1 failed with exit code 1",
    )
    (found,) = write(client, number, [failed])
    assert found.event_outcome == "failure"
    assert (found.error_code, found.error_message) == (
        "PIPELINE_FAILED",
        "Task step-1 failed with exit code 1",
    )


def test_should_write_multiple_audit_events_in_a_single_batch(client: Client, number: str) -> None:
    batch = [event(number, "started"), event(number, "completed")]
    first, second = write(client, number, batch)
    assert (first.chain_seq, second.chain_seq) == (1, 2)
    assert second.previous_event_hash == first.event_hash


def test_should_initialize_buffered_audit_store_and_flush_on_close(
    client: Client, number: str, trail_service: DataStorageProcess, tmp_path: Path
) -> None:
    store = AuditStore(trail_service.url, tmp_path / "workflowexecution-integration-test")
    receipt = store.record(event(number, "started"))
    assert store.close() == (1, 0, 0), "delivered, pending, quarantined"
    assert receipt.outcome == "created"
    (found,) = client.query(correlation_id=f"test-corr-{number}")
    assert found.event_id == receipt.event_id
    assert found.data["test_marker"] == number
    assert store.stats().created == 1


def test_the_literal_minimal_body_of_the_report(trail_service: DataStorageProcess) -> None:
    answer = trail_service.post(BATCH, MINIMAL)
    assert answer.status_code == 201
    (event_id,) = answer.json()["event_ids"]
    found = trail_service.get(f"{EVENTS}/{event_id}").json()
    assert found["event_category"] == "workflow"
    assert (found["event_type"], found["event_action"]) == ("workflow.started", "workflow.started")
    assert trail_service.verify(found["correlation_id"])["is_valid"] is True


def test_the_literal_fuller_body_of_the_report(trail_service: DataStorageProcess) -> None:
    before = len(trail_service.get(EVENTS, correlation_id="test-123").json()["data"])
    for sent in (1, 2):  # Without an id each is an event of its own.
        assert trail_service.post(BATCH, FULLER).status_code == 201
        found = trail_service.get(EVENTS, correlation_id="test-123").json()["data"]
        assert len(found) == before + sent
        assert found[0]["resource_type"] == "WorkflowExecution"
        assert found[0]["event_outcome"] == "success"
    assert trail_service.verify("test-123")["is_valid"] is True
