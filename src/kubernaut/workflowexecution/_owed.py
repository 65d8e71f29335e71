"""Which audit events a stored WorkflowExecution owes: a pure function of the object.

The times and the content come from what is stored, never from a clock, and the ids follow from
them. So whoever computes them again, after a crash, on another machine, years later, gets the same
events to the byte, and the server answers `duplicate`.

| Stored state | Events owed, in this order |
|---|---|
| Running | selection.completed, execution.started, workflow.started |
| Completed | those and workflow.completed |
| Failed with a start | those of Running and workflow.failed |
| Failed without | selection.completed (unless spec or engine was at fault), workflow.failed |

A run that was cancelled owes `cancel.requested` before its `workflow.failed`, and a forced
reconcile its `reconcile.forced` last.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from kubernaut.audit import (
    AuditEvent,
    WorkflowRun,
    deterministic_id,
    free_form_event,
    workflow_completed,
    workflow_execution_started,
    workflow_failed,
    workflow_selection_completed,
    workflow_started,
)
from kubernaut.workflowexecution._api import CORRELATION_LABEL, WorkflowExecution
from kubernaut.workflowexecution._summary import CANCELLED

ACTOR: Final = "workflowexecution-controller"

_NEVER_SELECTED: Final = ("ConfigurationError", "UnsupportedEngine")
_LONGEST_TEXT: Final = 4096
_LONGEST_PARAMETERS: Final = 128 * 1024
_LONGEST_CORRELATION: Final = 255


def correlation_id_of(wfe: WorkflowExecution) -> str:
    """The chain of a run: the label, else the remediation request, else its own name.

    Fixed in the status with the first event, for a label can be changed.
    """
    return (
        wfe.status.correlation_id
        or _plain(wfe.metadata.labels.get(CORRELATION_LABEL, ""))
        or _plain(wfe.spec.remediation_request_ref.name)[:_LONGEST_CORRELATION]
        or wfe.metadata.name
    )


def owed_events(wfe: WorkflowExecution) -> list[AuditEvent]:
    """The events that the stored status of a WorkflowExecution owes, in their order."""
    return list(_owed(wfe))


def event_identity(wfe: WorkflowExecution, event_type: str, moment: datetime) -> dict[str, Any]:
    """Id and time of the one event of a type that a WorkflowExecution has."""
    return {
        "event_id": deterministic_id(moment, wfe.metadata.uid, event_type),
        "event_timestamp": moment,
    }


def _owed(wfe: WorkflowExecution) -> Iterator[AuditEvent]:
    status, phase = wfe.status, wfe.phase
    if phase == "Pending" and status.reconcile_forced is None:
        return
    failure = status.failure_details
    started = status.start_time
    if phase == "Completed" and started is None:
        started = _created(wfe)  # Somebody else wrote the phase; what they left out is made up for.
    if phase != "Pending" and (
        started is not None or failure is None or failure.reason not in _NEVER_SELECTED
    ):
        yield _selection(wfe)
    if started is not None and phase != "Pending":
        yield from _starts(wfe, started)
    if phase == "Completed":
        yield _completed(wfe, started or _created(wfe))
    if phase == "Failed":
        yield from _failed(wfe)
    if status.reconcile_forced is not None:
        yield _forced(wfe)


def _selection(wfe: WorkflowExecution) -> AuditEvent:
    return workflow_selection_completed(
        phase="Pending",
        **_run(wfe),
        **event_identity(wfe, "workflowexecution.selection.completed", _created(wfe)),
    )


def _starts(wfe: WorkflowExecution, started: datetime) -> Iterator[AuditEvent]:
    child = _child(wfe)
    yield workflow_execution_started(
        phase="Running",
        pipelinerun_name=child,
        **_run(wfe),
        **event_identity(wfe, "workflowexecution.execution.started", started),
    )
    yield workflow_started(
        phase="Running",
        pipelinerun_name=child,
        started_at=started,
        **_run(wfe),
        **event_identity(wfe, "workflowexecution.workflow.started", started),
    )


def _completed(wfe: WorkflowExecution, started: datetime) -> AuditEvent:
    ended = wfe.status.completion_time or started
    execution = wfe.status.execution_status
    return workflow_completed(
        started_at=started,
        completed_at=ended,
        retry_count=execution.retry_count if execution else 0,
        pipelinerun_name=_child(wfe),
        **_run(wfe),
        **event_identity(wfe, "workflowexecution.workflow.completed", ended),
    )


def _failed(wfe: WorkflowExecution) -> Iterator[AuditEvent]:
    status = wfe.status
    ended = status.completion_time or status.start_time or _created(wfe)
    failure = status.failure_details
    if failure is not None and failure.message.startswith(CANCELLED):
        yield operator_event(
            "cancel.requested",
            correlation_id=correlation_id_of(wfe),
            moment=ended,
            parts=(wfe.metadata.uid,),
            data={
                "workflow_execution": wfe.metadata.name,
                "target_resource": _cut(wfe.spec.target_resource),
                "reason": _cut(failure.message.removeprefix(CANCELLED)),
            },
            wfe=wfe,
        )
    execution = status.execution_status
    yield workflow_failed(
        failure_reason=failure.reason if failure else "Unknown",
        failure_message=_cut(failure.message) if failure else None,
        failed_task_name=(_cut(failure.failed_task_name) or None) if failure else None,
        failed_step_name=(_cut(failure.failed_step_name) or None) if failure else None,
        was_execution_failure=failure.was_execution_failure if failure else True,
        started_at=status.start_time,
        completed_at=ended,
        retry_count=execution.retry_count if execution else 0,
        pipelinerun_name=_child(wfe),
        **_run(wfe),
        **event_identity(wfe, "workflowexecution.workflow.failed", ended),
    )


def _forced(wfe: WorkflowExecution) -> AuditEvent:
    forced = wfe.status.reconcile_forced
    assert forced is not None  # noqa: S101  (the caller looked)
    return operator_event(
        "reconcile.forced",
        correlation_id=correlation_id_of(wfe),
        moment=forced.at,
        parts=(wfe.metadata.uid, forced.token),
        data={"workflow_execution": wfe.metadata.name, "token": _cut(forced.token)},
        wfe=wfe,
    )


def operator_event(  # noqa: PLR0913  (what an event tells)
    action: str,
    *,
    correlation_id: str,
    moment: datetime,
    parts: tuple[str, ...],
    data: Mapping[str, Any],
    wfe: WorkflowExecution | None = None,
    outcome: Any = "success",
) -> AuditEvent:
    """An event about something that the operator did, free in form.

    Args:
        action: without the category, for example `cancel.requested`.
        correlation_id: the chain.
        moment: when it was done, as it is on record.
        parts: what tells it apart from others of the same action and moment.
        data: the payload.
        wfe: the object that it is about; None for the operator itself.
        outcome: how it went.
    """
    about: dict[str, Any] = {"resource_type": "Operator", "resource_id": ACTOR}
    if wfe is not None:
        about = {
            "resource_type": "WorkflowExecution",
            "resource_id": wfe.metadata.name,
            "namespace": wfe.metadata.namespace,
        }
    event_type = f"workflowexecution.{action}"
    return free_form_event(
        "workflowexecution",
        action,
        event_type=event_type,
        correlation_id=correlation_id,
        outcome=outcome,
        data=data,
        actor_id=ACTOR,
        event_id=deterministic_id(moment, event_type, *parts),
        event_timestamp=moment,
        **about,
    )


def _run(wfe: WorkflowExecution) -> WorkflowRun:
    """What all events of a run have in common."""
    reference = wfe.spec.workflow_ref
    return {
        "correlation_id": correlation_id_of(wfe),
        "namespace": wfe.metadata.namespace,
        "execution_name": wfe.metadata.name,
        "workflow_id": _cut(reference.workflow_id),
        "workflow_version": _cut(reference.version),
        "target_resource": _cut(wfe.spec.target_resource),
        "container_image": _cut(reference.execution_bundle or reference.container_image),
        "cluster_id": _cut(wfe.spec.cluster_id)[:253] or None,
        "workflow_name": _cut(reference.workflow_name) or None,
        "action_type": _cut(reference.action_type) or None,
        "parameters": _parameters(wfe.spec.parameters) or None,
    }


def _parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """All of them as they were given; where they are too many bytes for an event, their digests."""
    plain = {_plain(name): _plain(value) for name, value in sorted(parameters.items())}
    if sum(len(name) + len(value) for name, value in plain.items()) <= _LONGEST_PARAMETERS // 6:
        return plain  # A character is 6 bytes at most (JSON's `\\u001f`).
    encoded = "\n".join(f"{name}={value}" for name, value in plain.items()).encode()
    return {
        "_digest": f"sha256:{hashlib.sha256(encoded).hexdigest()}",
        "_note": f"{len(plain)} parameters of {len(encoded)} bytes are too long for an event",
    }


def _child(wfe: WorkflowExecution) -> str | None:
    return wfe.status.execution_ref.name if wfe.status.execution_ref else None


def _created(wfe: WorkflowExecution) -> datetime:
    created = wfe.metadata.creation_timestamp
    assert created is not None  # noqa: S101  (every object that was read has one)
    return created


def _plain(text: str) -> str:
    """Without the one character that no PostgreSQL text may have."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _cut(text: str) -> str:
    return _plain(text)[:_LONGEST_TEXT]
