"""What a stored object owes, and that it is the same whoever asks and whenever."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kubernaut.audit import AuditEvent, check_payload
from kubernaut.kubernetes import ObjectMeta
from kubernaut.workflowexecution._api import (
    CANCEL_ANNOTATION,
    WORKFLOW_EXECUTIONS,
    WorkflowExecution,
)
from kubernaut.workflowexecution._owed import correlation_id_of, owed_events
from test.unit.workflowexecution.worlds import World, execution

STARTED = ["selection.completed", "execution.started", "workflow.started"]


def payload_of(event: AuditEvent) -> Any:
    assert isinstance(event.event_data, msgspec.Raw)
    return msgspec.json.decode(event.event_data)


def types(wfe: WorkflowExecution) -> list[str]:
    return [str(event.event_type).removeprefix("workflowexecution.") for event in owed_events(wfe)]


def run(state: str | None = None, **spec: Any) -> World:
    """A world whose child was created, and has come to `state`."""
    world = World(wfe=execution(**spec))
    world.run_pass()
    if state is not None:
        assert world.child is not None
        world.advance(30)
        world.child = world.cached = replace(
            world.child,
            state=state,  # type: ignore[arg-type]
            begun=True,
            finished_at=world.now,
        )
        world.run_pass()
    return world


def test_pending_owes_nothing() -> None:
    assert owed_events(execution()) == []


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (run(), STARTED),
        (run("Succeeded"), [*STARTED, "workflow.completed"]),
        (run("Failed"), [*STARTED, "workflow.failed"]),
        (run(target_resource=""), ["workflow.failed"]),
    ],
)
def test_the_table(world: World, expected: list[str]) -> None:
    assert types(world.wfe) == expected
    for event in owed_events(world.wfe):
        assert isinstance(event.event_data, msgspec.Raw)
        check_payload(bytes(event.event_data), typed="cancel" not in str(event.event_type))
        assert event.event_category == "workflowexecution"
        assert event.resource_id == "wfe"


def test_a_run_that_lost_a_race_was_selected() -> None:
    world = World(wfe=execution())
    world.child = None
    world.run_pass(crash_after=0)
    other = World(wfe=execution("other", "uid-2"))
    other.run_pass()
    world.child = replace(other.child, state="Running") if other.child else None
    world.run_pass()
    assert world.wfe.status.failure_details is not None
    assert world.wfe.status.failure_details.reason == "Deduplicated"
    assert types(world.wfe) == ["selection.completed", "workflow.failed"]


def test_deleted_while_running() -> None:
    world = run()
    world.advance(5)
    world.delete()
    world.cached = world.child
    world.run_pass()
    deleted = world.wfe.metadata.deletion_timestamp
    assert types(world.wfe) == [*STARTED, "cancel.requested", "workflow.failed"]
    last = owed_events(world.wfe)[-1]
    assert last.event_timestamp == deleted
    payload = payload_of(last)
    assert payload["failure_reason"] == "Unknown"
    assert payload["failure_message"].startswith("Cancelled: ")


def test_cancelled_while_running() -> None:
    world = run()
    world.annotate(CANCEL_ANNOTATION, "wrong target")
    world.cached = world.child
    world.run_pass()
    assert types(world.wfe) == [*STARTED, "cancel.requested", "workflow.failed"]


def test_phases_in_the_payloads() -> None:
    phases = [payload_of(event)["phase"] for event in owed_events(run("Succeeded").wfe)]
    assert phases == ["Pending", "Running", "Running", "Completed"]


@pytest.mark.parametrize("state", [None, "Succeeded", "Failed"])
def test_the_object_as_it_was_stored_gives_the_same_bytes(state: str | None) -> None:
    wfe = run(state).wfe
    stored = WORKFLOW_EXECUTIONS.decoder.decode(WORKFLOW_EXECUTIONS.encode(wfe))
    assert [msgspec.json.encode(event) for event in owed_events(stored)] == [
        msgspec.json.encode(event) for event in owed_events(wfe)
    ]


def test_a_label_that_changes_later_moves_nothing() -> None:
    wfe = run().wfe
    before = [event.correlation_id for event in owed_events(wfe)]
    labels = {"kubernaut.ai/correlation-id": "elsewhere"}
    meta = msgspec.structs.replace(wfe.metadata, labels=labels)
    moved = msgspec.structs.replace(wfe, metadata=meta)
    assert [event.correlation_id for event in owed_events(moved)] == before


@pytest.mark.parametrize(
    ("labels", "request_name", "expected"),
    [
        ({"kubernaut.ai/correlation-id": "label"}, "request", "label"),
        ({}, "request", "request"),
        ({}, "", "wfe"),
    ],
)
def test_where_the_correlation_id_comes_from(
    labels: dict[str, str], request_name: str, expected: str
) -> None:
    wfe = execution()
    reference = msgspec.structs.replace(wfe.spec.remediation_request_ref, name=request_name)
    spec = msgspec.structs.replace(wfe.spec, remediation_request_ref=reference)
    meta = msgspec.structs.replace(wfe.metadata, labels=labels)
    assert correlation_id_of(msgspec.structs.replace(wfe, spec=spec, metadata=meta)) == expected


def test_what_no_event_may_hold_is_made_to_fit() -> None:
    huge = {f"P{number}": "x" * 10_000 for number in range(100)}
    wfe = run("Failed", parameters=huge | {"NUL": "a\x00b"}, rationale="").wfe
    for event in owed_events(wfe):
        assert isinstance(event.event_data, msgspec.Raw)
        payload = bytes(event.event_data)
        assert b"\\u0000" not in payload
        check_payload(payload)


def test_parameters_are_told_unfiltered() -> None:
    wfe = run(parameters={"B": "2", "A": "1"}).wfe
    payload = payload_of(owed_events(wfe)[0])
    assert list(payload["parameters"].items()) == [("A", "1"), ("B", "2")]


def test_two_objects_of_one_name_have_different_events() -> None:
    first, second = run().wfe, run().wfe
    meta = ObjectMeta(
        name="wfe",
        namespace="ns",
        uid="uid-9",
        creation_timestamp=first.metadata.creation_timestamp,
    )
    second = msgspec.structs.replace(second, metadata=meta)
    ids = {event.event_id for event in owed_events(first)}
    assert ids.isdisjoint({event.event_id for event in owed_events(second)})
