"""The events of one workflow execution: what follows from what, and that all of them are valid."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.audit import AuditEvent
from kubernaut.audit._workflow_events import (
    FailureReason,
    WorkflowEventFields,
    WorkflowPhase,
    WorkflowRun,
    go_duration,
    workflow_completed,
    workflow_execution_started,
    workflow_failed,
    workflow_selection_completed,
    workflow_started,
)
from kubernaut.audit.payloads import WorkflowExecutionAuditPayload, decode_payload
from test.unit.audit.test_builders import recorded, strict

RUN: Final[WorkflowRun] = {
    "correlation_id": "rr-7",
    "namespace": "payments",
    "execution_name": "wfe-7",
    "workflow_id": "restart-deployment",
    "workflow_version": "1.2.0",
    "target_resource": "payments/deployment/api",
    "container_image": "registry.example/workflows/restart:1.2.0",
}
PAYLOAD: Final = {
    "execution_name": "wfe-7",
    "workflow_id": "restart-deployment",
    "workflow_version": "1.2.0",
    "target_resource": "payments/deployment/api",
    "container_image": "registry.example/workflows/restart:1.2.0",
}
STARTED: Final = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)

every_builder = pytest.mark.parametrize(
    ("build", "event_type", "phase"),
    [
        (workflow_selection_completed, "workflowexecution.selection.completed", "Pending"),
        (workflow_execution_started, "workflowexecution.execution.started", "Pending"),
        (workflow_started, "workflowexecution.workflow.started", "Running"),
        (workflow_completed, "workflowexecution.workflow.completed", "Completed"),
        (workflow_failed, "workflowexecution.workflow.failed", "Failed"),
    ],
)


def payload_of(event: AuditEvent) -> WorkflowExecutionAuditPayload:
    assert isinstance(event.event_type, str)
    assert isinstance(event.event_data, msgspec.Raw)
    payload = decode_payload(event.event_type, event.event_data)
    assert isinstance(payload, WorkflowExecutionAuditPayload)
    return payload


@every_builder
def test_the_required_fields_suffice(
    build: Callable[..., AuditEvent], event_type: str, phase: str
) -> None:
    event = build(**RUN)
    strict(event)
    members = recorded(event)
    payload = members["event_data"]
    assert members["event_type"] == payload["event_type"] == event_type
    assert members["event_category"] == "workflowexecution"
    assert members["event_action"] == event_type.rpartition(".")[2]
    assert members["event_outcome"] == ("failure" if phase == "Failed" else "success")
    assert (members["resource_type"], members["resource_id"]) == ("WorkflowExecution", "wfe-7")
    assert (members["actor_type"], members["actor_id"]) == (
        "service",
        "workflowexecution-controller",
    )
    assert (members["correlation_id"], members["namespace"]) == ("rr-7", "payments")
    payload.pop("error_details", None)
    assert payload == {**PAYLOAD, "event_type": event_type, "phase": phase}


@every_builder
def test_all_fields_together(build: Callable[..., AuditEvent], event_type: str, phase: str) -> None:
    event = build(
        **RUN,
        workflow_name="restart",
        action_type="RestartDeployment",
        pipelinerun_name="wfe-0123",
        parameters={"b": "2", "a": "1"},
        cluster_id="east",
        severity="info",
    )
    strict(event)
    payload = payload_of(event)
    assert (payload.event_type, payload.phase) == (event_type, phase)
    assert payload.workflow_name == "restart"
    assert payload.action_type == "RestartDeployment"
    assert payload.pipelinerun_name == "wfe-0123"
    assert payload.parameters == {"a": "1", "b": "2"}
    assert (event.cluster_id, event.severity) == ("east", "info")


@every_builder
@pytest.mark.parametrize("missing", [*PAYLOAD, "namespace", "correlation_id"])
def test_a_missing_field_is_named(
    build: Callable[..., AuditEvent], event_type: str, phase: str, missing: str
) -> None:
    assert event_type
    assert phase
    with pytest.raises(TypeError, match=missing):
        build(**{name: value for name, value in RUN.items() if name != missing})


@every_builder
def test_an_unknown_field_is_named(
    build: Callable[..., AuditEvent], event_type: str, phase: str
) -> None:
    assert event_type
    assert phase
    with pytest.raises(TypeError, match="colour"):
        build(**RUN, colour="red")


@every_builder
def test_none_is_left_out(build: Callable[..., AuditEvent], event_type: str, phase: str) -> None:
    assert event_type
    assert phase
    nothing = dict.fromkeys(WorkflowEventFields.__optional_keys__)
    assert build(**RUN, **nothing) == build(**RUN)


def test_the_same_parameters_in_another_order_are_the_same_event() -> None:
    one: WorkflowRun = {**RUN, "parameters": {"a": "1", "b": "2"}}
    other: WorkflowRun = {**RUN, "parameters": {"b": "2", "a": "1"}}
    events = [msgspec.json.encode(workflow_started(**run)) for run in (one, other)]
    assert events[0] == events[1]


def test_a_phase_that_is_on_record_can_be_given() -> None:
    assert payload_of(workflow_execution_started(**RUN, phase="Running")).phase == "Running"


@pytest.mark.parametrize("build", [workflow_completed, workflow_failed])
def test_durations_follow_from_the_times(build: Callable[..., AuditEvent]) -> None:
    ended = STARTED + timedelta(seconds=89, milliseconds=750)
    event = build(**RUN, started_at=STARTED, completed_at=ended, retry_count=3)
    strict(event)
    payload = payload_of(event)
    assert (payload.started_at, payload.completed_at) == (STARTED, ended)
    assert (payload.duration, event.duration_ms) == ("1m30s", 89_750)
    assert payload.retry_count == 3


@pytest.mark.parametrize("build", [workflow_completed, workflow_failed])
def test_a_measured_duration_is_better_than_the_times(build: Callable[..., AuditEvent]) -> None:
    event = build(
        **RUN,
        started_at=STARTED,
        completed_at=STARTED - timedelta(seconds=5),
        duration=timedelta(seconds=2),
    )
    assert (payload_of(event).duration, event.duration_ms) == ("2s", 2000)


def test_a_clock_that_was_set_back_loses_no_event() -> None:
    event = workflow_completed(
        **RUN, started_at=STARTED, completed_at=STARTED - timedelta(seconds=5)
    )
    strict(event)
    assert (payload_of(event).duration, event.duration_ms) == ("-5s", -5000)


def test_a_duration_beyond_32_bits_is_told_in_the_payload_alone() -> None:
    event = workflow_completed(**RUN, duration=timedelta(days=25))
    strict(event)
    assert (payload_of(event).duration, event.duration_ms) == ("600h0m0s", msgspec.UNSET)


@pytest.mark.parametrize(
    ("reason", "acted", "code", "retry_possible"),
    [
        ("ConfigurationError", True, "ERR_WORKFLOW_NOT_FOUND", False),
        ("Forbidden", True, "ERR_WORKFLOW_NOT_FOUND", False),
        ("ImagePullBackOff", False, "ERR_IMAGE_PULL", True),
        ("TaskFailed", True, "ERR_PIPELINE_FAILED", False),
        ("TaskFailed", False, "ERR_PIPELINE_FAILED", True),
        ("OOMKilled", True, "ERR_PIPELINE_FAILED", True),
        ("DeadlineExceeded", True, "ERR_PIPELINE_FAILED", True),
        ("ResourceExhausted", False, "ERR_PIPELINE_FAILED", True),
        ("UnsupportedEngine", False, "ERR_PIPELINE_FAILED", True),
        ("Deduplicated", False, "ERR_PIPELINE_FAILED", True),
        ("Unknown", True, "ERR_PIPELINE_FAILED", True),
        (None, True, "ERR_PIPELINE_FAILED", True),
    ],
)
def test_the_reason_gives_the_code_and_whether_to_retry(
    reason: FailureReason | None,
    acted: bool,  # noqa: FBT001  (a column of the table)
    code: str,
    retry_possible: bool,  # noqa: FBT001  (a column of the table)
) -> None:
    event = workflow_failed(**RUN, failure_reason=reason, was_execution_failure=acted)
    strict(event)
    details = payload_of(event).error_details
    assert not isinstance(details, msgspec.UnsetType)
    assert (details.code, details.retry_possible) == (code, retry_possible)
    assert details.component == "workflowexecution"
    assert event.error_code == code
    assert event.severity == "warning"


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, "unknown error"),
        ({"failure_reason": "OOMKilled"}, "Pipeline failed"),
        ({"failure_message": "no quota"}, "Pipeline failed: no quota"),
        ({"failed_task_name": "apply"}, "Pipeline failed at task 'apply'"),
        (
            {"failed_task_name": "apply", "failed_step_name": "run", "failure_message": "exit 3"},
            "Pipeline failed at task 'apply' step 'run': exit 3",
        ),
    ],
)
def test_the_text_of_the_error(known: dict[str, Any], text: str) -> None:
    event = workflow_failed(**RUN, **known)
    details = payload_of(event).error_details
    assert not isinstance(details, msgspec.UnsetType)
    assert details.message == text
    assert event.error_message == known.get("failure_message", text)


def test_a_time_without_an_offset_is_found_when_it_is_recorded() -> None:
    naive = STARTED.replace(tzinfo=None)
    event = workflow_completed(**RUN, started_at=naive, completed_at=naive)
    with pytest.raises(Exception, match="started_at"):
        strict(event)
    with pytest.raises(TypeError, match="offset-naive and offset-aware"):
        workflow_completed(**RUN, started_at=naive, completed_at=STARTED)


def test_reasons_and_phases_are_those_of_the_payload() -> None:
    hints = get_type_hints(WorkflowExecutionAuditPayload)
    reasons = {value for one in get_args(hints["failure_reason"]) for value in get_args(one)}
    assert reasons == set(get_args(FailureReason))
    assert set(get_args(hints["phase"])) == set(get_args(WorkflowPhase))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (0.5, "1s"),
        (45, "45s"),
        (59.5, "1m0s"),
        (150, "2m30s"),
        (3600, "1h0m0s"),
        (90_061, "25h1m1s"),
        (-0.4, "0s"),
        (-0.5, "-1s"),
        (-90, "-1m30s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert go_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, 10**9))
def test_a_written_duration_is_worth_what_was_measured(seconds: int) -> None:
    worth = 0
    for part in (
        go_duration(timedelta(seconds=seconds)).replace("h", "h ").replace("m", "m ").split()
    ):
        worth += int(part[:-1]) * {"h": 3600, "m": 60, "s": 1}[part[-1]]
    assert worth == seconds
