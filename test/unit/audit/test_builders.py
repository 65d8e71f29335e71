"""Events that are built are right: every type of the catalogue, and payloads outside of it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.audit import AuditEvent, InvalidEventError, StrictAuditEvent, check_payload
from kubernaut.audit._builders import free_form_event, typed_event
from kubernaut.audit._envelopes import ENVELOPE_DEFAULTS, EnvelopeDefaults
from kubernaut.audit._event import CurrentCategory, Outcome
from kubernaut.audit._snapshot import snapshot
from kubernaut.audit.payloads import (
    PAYLOAD_TYPES,
    GatewayAuditPayload,
    GatewayConfigReloadedPayload,
    NotificationMessageEscalatedPayload,
    UnknownEventTypeError,
    decode_payload,
)
from test.unit.audit.test_payloads import full

RELOADED = GatewayConfigReloadedPayload(event_type="gateway.config.reloaded", component="router")
TIME = datetime(2026, 11, 24, 9, 30, 0, 125000, UTC)
ID = UUID("0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4f")
PARENT = UUID("0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4e")

every_event_type = pytest.mark.parametrize("event_type", sorted(PAYLOAD_TYPES))


def recorded(event: AuditEvent) -> dict[str, Any]:
    """What is kept of the event, once it has passed every check that recording makes."""
    body: dict[str, Any] = json.loads(snapshot(event).body)
    return body


def strict(event: AuditEvent) -> StrictAuditEvent:
    """The event under the full contract, its payload included."""
    checked = msgspec.json.decode(snapshot(event).body, type=StrictAuditEvent)
    check_payload(bytes(checked.event_data), typed=True)
    return checked


def test_the_table_has_the_types_of_the_catalogue_and_no_other() -> None:
    assert list(ENVELOPE_DEFAULTS) == list(PAYLOAD_TYPES)
    assert len(ENVELOPE_DEFAULTS) == 142


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ENVELOPE_DEFAULTS["made.up"] = EnvelopeDefaults("gateway", "up", "success")  # type: ignore[index]


@every_event_type
def test_each_row_is_valid(event_type: str) -> None:
    category, action, outcome = ENVELOPE_DEFAULTS[event_type]
    assert category in get_args(CurrentCategory)
    assert outcome in get_args(Outcome)
    assert action in (event_type.rpartition(".")[2], "block_cleared")


@pytest.mark.parametrize(
    ("event_type", "row"),
    [
        ("gateway.signal.received", ("gateway", "received", "success")),
        ("datastorage.ratelimit.denied", ("security", "denied", "failure")),
        ("workflowexecution.selection.completed", ("workflowexecution", "completed", "success")),
        ("workflowexecution.execution.started", ("workflowexecution", "started", "success")),
        ("workflowexecution.workflow.completed", ("workflowexecution", "completed", "success")),
        ("workflowexecution.workflow.failed", ("workflowexecution", "failed", "failure")),
        ("workflowexecution.block.cleared", ("workflowexecution", "block_cleared", "success")),
    ],
)
def test_rows_that_existing_senders_fix(event_type: str, row: tuple[str, str, str]) -> None:
    assert ENVELOPE_DEFAULTS[event_type] == row


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (("failed", "failure", "denied", "rejected", "occurred", "timed_out"), "failure"),
        (("started", "created", "sent", "reloaded", "admitted"), "success"),
    ],
)
def test_words_that_tell_the_outcome(words: tuple[str, ...], outcome: Outcome) -> None:
    for event_type, row in ENVELOPE_DEFAULTS.items():
        if row.action.endswith(words):
            assert row.outcome == outcome, event_type


@every_event_type
def test_every_payload_becomes_an_event_of_the_full_contract(event_type: str) -> None:
    payload = decode_payload(event_type, msgspec.json.encode(full(event_type)))
    event = strict(typed_event(payload, correlation_id="rr-7"))
    assert event.event_type == event_type
    row = ENVELOPE_DEFAULTS[event_type]
    assert (event.event_category, event.event_action, event.event_outcome) == row
    assert json.loads(bytes(event.event_data)) == full(event_type)


def test_what_is_not_given_is_left_out() -> None:
    event = typed_event(RELOADED, correlation_id="rr-7", namespace=None, severity=None)
    members = json.loads(msgspec.json.encode(event))
    assert members == {
        "version": "1.0",
        "event_type": "gateway.config.reloaded",
        "event_category": "gateway",
        "event_action": "reloaded",
        "event_outcome": "success",
        "correlation_id": "rr-7",
        "actor_type": "service",
        "event_data": {"event_type": "gateway.config.reloaded", "component": "router"},
    }


def test_what_is_given_is_in_the_envelope() -> None:
    event = typed_event(
        RELOADED,
        correlation_id="rr-7",
        outcome="pending",
        actor_type="user",
        actor_id="jo",
        actor_ip="192.0.2.7",
        resource_type="ConfigMap",
        resource_id="router",
        namespace="payments",
        cluster_id="east",
        severity="info",
        duration=timedelta(seconds=1, microseconds=250_999),
        error_code="ERR_LIMIT_RATE",
        error_message="too much",
        parent_event_id=PARENT,
        retention_days=30,
        is_sensitive=False,
        event_id=ID,
        event_timestamp=TIME,
    )
    members = recorded(event)
    del members["event_data"]
    assert members == {
        "version": "1.0",
        "event_type": "gateway.config.reloaded",
        "event_category": "gateway",
        "event_action": "reloaded",
        "event_outcome": "pending",
        "correlation_id": "rr-7",
        "actor_type": "user",
        "actor_id": "jo",
        "actor_ip": "192.0.2.7",
        "resource_type": "ConfigMap",
        "resource_id": "router",
        "namespace": "payments",
        "cluster_id": "east",
        "severity": "info",
        "duration_ms": 1250,
        "error_code": "ERR_LIMIT_RATE",
        "error_message": "too much",
        "parent_event_id": str(PARENT),
        "retention_days": 30,
        "is_sensitive": False,
        "event_id": str(ID),
        "event_timestamp": "2026-11-24T09:30:00.125000Z",
    }


def test_a_payload_of_no_known_type_is_no_event() -> None:
    payload = GatewayConfigReloadedPayload(event_type="gateway.made.up", component="router")  # type: ignore[arg-type]
    with pytest.raises(UnknownEventTypeError, match=r"'gateway\.made\.up' is not in the payload"):
        typed_event(payload, correlation_id="rr-7")


def test_a_payload_of_another_type_is_no_event() -> None:
    payload = NotificationMessageEscalatedPayload(
        event_type="gateway.crd.failed",  # type: ignore[arg-type]
        notification_id="n-1",
        subject="down",
        priority="High",
        reason="no answer",
    )
    with pytest.raises(
        TypeError,
        match=r"'gateway\.crd\.failed' belongs to GatewayAuditPayload,"
        " not to NotificationMessageEscalatedPayload",
    ):
        typed_event(payload, correlation_id="rr-7")


def test_a_wrong_value_in_the_payload_is_found_when_it_is_recorded() -> None:
    payload = GatewayAuditPayload(
        event_type="gateway.crd.failed",
        signal_type="rumour",  # type: ignore[arg-type]
        signal_name="HighLatency",
        namespace="payments",
        fingerprint="f00d",
    )
    with pytest.raises(InvalidEventError, match=r"^\$\.event_data\.signal_type: "):
        snapshot(typed_event(payload, correlation_id="rr-7"))


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="Unexpected keyword argument 'colour'"):
        typed_event(RELOADED, correlation_id="rr-7", colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("action", "event_type"),
    [("drained", "gateway.drained"), ("node.drained", "node.drained")],
)
def test_a_free_form_event_has_a_type_of_its_category_and_action(
    action: str, event_type: str
) -> None:
    event = free_form_event(
        "gateway", action, correlation_id="rr-7", outcome="success", data={"left": 3}
    )
    checked = msgspec.json.decode(snapshot(event).body, type=StrictAuditEvent)
    assert (checked.event_type, checked.event_action) == (event_type, action)
    assert bytes(checked.event_data) == b'{"left":3}'


def test_a_free_form_event_takes_the_whole_envelope() -> None:
    event = free_form_event(
        "security",
        "denied",
        correlation_id="rr-7",
        outcome="failure",
        data={},
        event_type="door.denied",
        actor_type="external",
        duration=timedelta(milliseconds=5),
    )
    members = recorded(event)
    assert members["event_type"] == "door.denied"
    assert (members["actor_type"], members["duration_ms"]) == ("external", 5)


def test_free_form_data_that_names_a_type_is_told_where_to_go() -> None:
    with pytest.raises(ValueError, match=r"'gateway\.crd\.failed'.*call typed_event\(\), or take"):
        free_form_event(
            "gateway",
            "failed",
            correlation_id="rr-7",
            outcome="failure",
            data={"event_type": "gateway.crd.failed"},
        )


@given(st.dictionaries(st.text(max_size=8).filter("event_type".__ne__), st.integers(0, 2**53)))
def test_free_form_data_is_kept_as_it_is(data: dict[str, int]) -> None:
    event = free_form_event(
        "gateway", "counted", correlation_id="rr-7", outcome="success", data=data
    )
    assert isinstance(event.event_data, msgspec.Raw)
    assert json.loads(bytes(event.event_data)) == data
