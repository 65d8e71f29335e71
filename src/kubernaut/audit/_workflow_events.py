"""The five events of one workflow execution, as its controller sends them.

Resource, actor, phase, durations and the code of a failure follow from what the controller knows.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, Required, TypedDict, Unpack

from kubernaut.audit._builders import EnvelopeFields, EventFields, typed_event
from kubernaut.audit._event import INT32_MAX, INT32_MIN, AuditEvent
from kubernaut.audit.payloads import ErrorDetails, WorkflowExecutionAuditPayload

WorkflowPhase = Literal["Pending", "Running", "Completed", "Failed"]
FailureReason = Literal[
    "OOMKilled",
    "DeadlineExceeded",
    "Forbidden",
    "ImagePullBackOff",
    "ConfigurationError",
    "ResourceExhausted",
    "TaskFailed",
    "UnsupportedEngine",
    "Deduplicated",
    "Unknown",
]

_PAYLOAD_FIELDS: Final = frozenset(WorkflowExecutionAuditPayload.__struct_fields__)
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_RUN_FAILED: Final = ("ERR_PIPELINE_FAILED", True)  # The code, and whether a retry may help.
_CODES: Final[Mapping[FailureReason, tuple[str, bool]]] = MappingProxyType(
    {
        "ConfigurationError": ("ERR_WORKFLOW_NOT_FOUND", False),
        "Forbidden": ("ERR_WORKFLOW_NOT_FOUND", False),
        "ImagePullBackOff": ("ERR_IMAGE_PULL", True),
    }
)


class WorkflowRun(TypedDict, total=False):
    """One workflow execution: what its events have in common, to be said once.

    `execution_name` and `namespace` are those of the WorkflowExecution, `correlation_id` is the
    name of its remediation request, `container_image` the bundle that is run. Parameters are
    stored as they are given, so leave secrets out.
    """

    correlation_id: Required[str]
    namespace: Required[str]
    execution_name: Required[str]
    workflow_id: Required[str]
    workflow_version: Required[str]
    target_resource: Required[str]
    container_image: Required[str]
    cluster_id: str | None
    workflow_name: str | None
    action_type: str | None
    parameters: Mapping[str, str] | None


class WorkflowEventFields(WorkflowRun, EnvelopeFields, total=False):
    """What an event of a workflow execution tells; None is the same as left out.

    `pipelinerun_name` is the resource that runs the workflow, whatever the engine.
    """

    pipelinerun_name: str | None


def workflow_selection_completed(
    *, phase: WorkflowPhase = "Pending", **fields: Unpack[WorkflowEventFields]
) -> AuditEvent:
    """The workflow was chosen and found valid; nothing of it exists in the cluster yet.

    Args:
        phase: The phase of the execution.
        **fields: What the event is about, see `WorkflowEventFields`.

    Returns:
        The event, ready for `record()`.

    Raises:
        TypeError: A required field is missing, or one is unknown.
    """
    return _event("workflowexecution.selection.completed", {"phase": phase}, {}, **fields)


def workflow_execution_started(
    *, phase: WorkflowPhase = "Pending", **fields: Unpack[WorkflowEventFields]
) -> AuditEvent:
    """The resource that runs the workflow was created; the phase is about to change.

    Args:
        phase: The phase of the execution.
        **fields: What the event is about, see `WorkflowEventFields`; give `pipelinerun_name`.

    Returns:
        The event, ready for `record()`.

    Raises:
        TypeError: A required field is missing, or one is unknown.
    """
    return _event("workflowexecution.execution.started", {"phase": phase}, {}, **fields)


def workflow_started(
    *,
    phase: WorkflowPhase = "Running",
    started_at: datetime | None = None,
    **fields: Unpack[WorkflowEventFields],
) -> AuditEvent:
    """The workflow runs. In the catalogue, though existing controllers do not send it.

    Args:
        phase: The phase of the execution.
        started_at: Since when, with an offset.
        **fields: What the event is about, see `WorkflowEventFields`.

    Returns:
        The event, ready for `record()`.

    Raises:
        TypeError: A required field is missing, or one is unknown.
    """
    facts = {"phase": phase, "started_at": started_at}
    return _event("workflowexecution.workflow.started", facts, {}, **fields)


def workflow_completed(
    *,
    started_at: datetime | None = None,
    completed_at: datetime | None = None,
    duration: timedelta | None = None,
    retry_count: int = 0,
    **fields: Unpack[WorkflowEventFields],
) -> AuditEvent:
    """The workflow reached its end and did what it should.

    Args:
        started_at: When it began, with an offset.
        completed_at: When it ended, with an offset.
        duration: How long it ran; without it, from `started_at` to `completed_at`.
        retry_count: How many failures of its pods were tolerated.
        **fields: What the event is about, see `WorkflowEventFields`.

    Returns:
        The event, ready for `record()`.

    Raises:
        TypeError: A required field is missing, one is unknown, or one of the two times has no
            offset.
    """
    facts, envelope = _ended(started_at, completed_at, duration, retry_count)
    facts["phase"] = "Completed"
    return _event("workflowexecution.workflow.completed", facts, envelope, **fields)


def workflow_failed(  # noqa: PLR0913  (what is known of a failure)
    *,
    failure_reason: FailureReason | None = None,
    failure_message: str | None = None,
    failed_task_name: str | None = None,
    failed_step_name: str | None = None,
    was_execution_failure: bool = True,
    started_at: datetime | None = None,
    completed_at: datetime | None = None,
    duration: timedelta | None = None,
    retry_count: int = 0,
    **fields: Unpack[WorkflowEventFields],
) -> AuditEvent:
    """The workflow failed, or could not be started.

    The payload's `error_details` and the envelope's `error_code` follow from the reason:
    `ERR_WORKFLOW_NOT_FOUND` for `ConfigurationError` and `Forbidden`, which no retry mends,
    `ERR_IMAGE_PULL` for `ImagePullBackOff`, and otherwise `ERR_PIPELINE_FAILED`. The severity is
    `warning` unless it is given.

    Args:
        failure_reason: Why.
        failure_message: The error in words.
        failed_task_name: The task that failed.
        failed_step_name: The step in it; told in the text of the error only.
        was_execution_failure: Whether the workflow had begun to act. After a `TaskFailed` a retry
            may help only if it had not.
        started_at: When it began, with an offset.
        completed_at: When it ended, with an offset.
        duration: How long it ran; without it, from `started_at` to `completed_at`.
        retry_count: How many failures of its pods were tolerated.
        **fields: What the event is about, see `WorkflowEventFields`.

    Returns:
        The event, ready for `record()`.

    Raises:
        TypeError: A required field is missing, one is unknown, or one of the two times has no
            offset.
    """
    code, retry_possible = _CODES.get(failure_reason or "Unknown", _RUN_FAILED)
    if failure_reason == "TaskFailed":
        retry_possible = not was_execution_failure
    details = ErrorDetails(
        message=_failure_text(failure_reason, failed_task_name, failed_step_name, failure_message),
        code=code,
        component="workflowexecution",
        retry_possible=retry_possible,
    )
    facts, envelope = _ended(started_at, completed_at, duration, retry_count)
    facts |= {
        "phase": "Failed",
        "failure_reason": failure_reason,
        "failure_message": failure_message,
        "failed_task_name": failed_task_name,
        "error_details": details,
    }
    envelope |= {
        "severity": "warning",
        "error_code": code,
        "error_message": failure_message or details.message,
    }
    return _event("workflowexecution.workflow.failed", facts, envelope, **fields)


def _event(  # noqa: PLR0913  (three of them are there so that Python names a missing one)
    event_type: Any,  # One of the payload's five.
    facts: dict[str, Any],
    envelope: EventFields,
    *,
    correlation_id: str,
    namespace: str,
    execution_name: str,
    parameters: Mapping[str, str] | None = None,
    **fields: Any,
) -> AuditEvent:
    """The event: what its kind adds to the payload and to the envelope, and what is told of it."""
    given = {name: value for name, value in fields.items() if value is not None}
    if parameters is not None:  # Sorted, so that a repetition is the same to the byte.
        facts["parameters"] = dict(sorted(parameters.items()))
    facts |= {name: given.pop(name) for name in _PAYLOAD_FIELDS & given.keys()}
    payload = WorkflowExecutionAuditPayload(
        event_type=event_type,
        execution_name=execution_name,
        **{name: value for name, value in facts.items() if value is not None},
    )
    about: dict[str, Any] = {
        "namespace": namespace,
        "resource_type": "WorkflowExecution",
        "resource_id": execution_name,
        "actor_id": "workflowexecution-controller",
        **envelope,
        **given,
    }
    return typed_event(payload, correlation_id=correlation_id, **about)


def _ended(
    started_at: datetime | None,
    completed_at: datetime | None,
    duration: timedelta | None,
    retry_count: int,
) -> tuple[dict[str, Any], EventFields]:
    """What payload and envelope tell of an execution that is over."""
    if duration is None and started_at is not None and completed_at is not None:
        duration = completed_at - started_at
    facts: dict[str, Any] = {
        "started_at": started_at,
        "completed_at": completed_at,
        "duration": None if duration is None else go_duration(duration),
        "retry_count": retry_count or None,
    }
    if duration is None or not INT32_MIN <= duration // _MILLISECOND <= INT32_MAX:
        return facts, {}  # 24 days are more than `duration_ms` holds; the payload has them.
    return facts, {"duration": duration}


def _failure_text(
    reason: FailureReason | None, task: str | None, step: str | None, message: str | None
) -> str:
    if not (reason or task or message):
        return "unknown error"
    text = "Pipeline failed"
    if task:
        text += f" at task '{task}'"
    if step:
        text += f" step '{step}'"
    return f"{text}: {message}" if message else text


def go_duration(duration: timedelta) -> str:
    """The duration as Go writes it, rounded to seconds: `45s`, `2m30s`, `1h0m0s`."""
    seconds = (abs(duration) + _SECOND / 2) // _SECOND
    minutes, rest = divmod(seconds, 60)
    hours, minutes_left = divmod(minutes, 60)
    text = f"{rest}s"
    if minutes:
        text = f"{minutes_left}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return f"-{text}" if seconds and duration < timedelta() else text
