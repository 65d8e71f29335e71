"""What the trail must hold of a WorkflowExecution, worked out from the stored object.

The rules are written here a second time, in plain JSON, from the table of the trail and not from
the operator's code. Times are compared as texts: those of an event are those of the object.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from test.workflow_executions import Object, Trails

PREFIX = "workflowexecution."
CANCELLED = "Cancelled: "
_OF_THE_SERVER = ("event_id", "event_date", "chain_seq", "event_hash", "previous_event_hash")
_ALWAYS: Object = {
    "version": "1.0",
    "event_category": "workflowexecution",
    "event_outcome": "success",
    "severity": "info",
    "resource_type": "WorkflowExecution",
    "actor_type": "service",
    "actor_id": "workflowexecution-controller",
    "parent_event_id": None,
    "parent_event_date": None,
    "retention_days": 2555,
    "is_sensitive": False,
    "legal_hold": False,
    "legal_hold_reason": "",
    "legal_hold_placed_by": "",
    "legal_hold_placed_at": None,
}
_CODES = {
    "ConfigurationError": ("ERR_WORKFLOW_NOT_FOUND", False),
    "Forbidden": ("ERR_WORKFLOW_NOT_FOUND", False),
    "ImagePullBackOff": ("ERR_IMAGE_PULL", True),
}


def correlation_of(wfe: Object) -> str:
    """The chain of a run."""
    label = wfe["metadata"].get("labels", {}).get("kubernaut.ai/correlation-id")
    name = wfe["spec"]["remediationRequestRef"].get("name")
    return str(label or name or wfe["metadata"]["name"])


def go_text(seconds: int) -> str:
    """A duration below an hour as Go writes it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def seconds_between(start: str, end: str) -> int:
    """Between two times of the API."""
    took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return int(took.total_seconds())


class _Events:
    """The events of one object, as they are to be made."""

    def __init__(self, wfe: Object) -> None:
        self._wfe = wfe
        self._name = wfe["metadata"]["name"]
        self._status = wfe["status"]
        self._start: str | None = self._status.get("startTime")
        self._end: str = self._status.get("completionTime", "")

    def all(self) -> Iterator[Object]:
        phase = self._status["phase"]
        failure = self._status.get("failureDetails", {"reason": "", "message": ""})
        if self._start or failure["reason"] not in ("ConfigurationError", "UnsupportedEngine"):
            created = self._wfe["metadata"]["creationTimestamp"]
            yield self._of_run("selection.completed", created, "Pending")
        if self._start:
            yield self._of_run("execution.started", self._start, "Running")
            yield self._of_run("workflow.started", self._start, "Running", started_at=self._start)
        if phase == "Completed":
            yield self._of_run("workflow.completed", self._end, phase, **self._times())
        if phase == "Failed":
            if failure["message"].startswith(CANCELLED):
                yield self._cancelled(failure["message"].removeprefix(CANCELLED))
            yield self._failed(failure)

    def _event(self, type_: str, moment: str, data: Object, **more: Any) -> Object:
        return (
            _ALWAYS
            | {
                "event_type": PREFIX + type_,
                "event_action": type_.removeprefix("selection.").split(".")[-1],
                "event_timestamp": moment,
                "correlation_id": correlation_of(self._wfe),
                "resource_id": self._name,
                "namespace": self._wfe["metadata"]["namespace"],
                "event_data": data,
            }
            | more
        )

    def _of_run(self, type_: str, moment: str, phase: str, **more: Any) -> Object:
        spec, reference = self._wfe["spec"], self._wfe["spec"]["workflowRef"]
        bundle = reference.get("executionBundle") or reference.get("containerImage", "")
        always: Object = {
            "event_type": PREFIX + type_,
            "workflow_id": reference["workflowId"],
            "workflow_version": reference["version"],
            "target_resource": spec["targetResource"],
            "phase": phase,
            "container_image": bundle,
            "execution_name": self._name,
        }
        known: Object = {
            "workflow_name": reference.get("workflowName"),
            "action_type": reference.get("actionType"),
            "parameters": spec.get("parameters"),
        }
        if phase != "Pending":
            known["pipelinerun_name"] = self._status.get("executionRef", {}).get("name")
        envelope: Object = {"cluster_id": spec["clusterID"]} if spec.get("clusterID") else {}
        if phase in ("Completed", "Failed"):
            known["retry_count"] = self._status.get("executionStatus", {}).get("retryCount")
        if self._start and phase in ("Completed", "Failed"):
            envelope["duration_ms"] = 1000 * seconds_between(self._start, self._end)
        known |= more
        data = always | {name: value for name, value in known.items() if value}
        return self._event(type_, moment, data, **envelope)

    def _times(self) -> Object:
        if self._start is None:
            return {"completed_at": self._end}
        took = go_text(seconds_between(self._start, self._end))
        return {"started_at": self._start, "completed_at": self._end, "duration": took}

    def _cancelled(self, reason: str) -> Object:
        data = {
            "workflow_execution": self._name,
            "target_resource": self._wfe["spec"]["targetResource"],
            "reason": reason,
        }
        action = "cancel.requested"
        return self._event(action, self._end, data, event_action=action)

    def _failed(self, failure: Object) -> Object:
        reason, message = failure["reason"], failure["message"]
        code, retry = _CODES.get(reason, ("ERR_PIPELINE_FAILED", True))
        if reason == "TaskFailed":
            retry = not failure["wasExecutionFailure"]
        task, step = failure["failedTaskName"], failure.get("failedStepName")
        where = (f" at task '{task}'" if task else "") + (f" step '{step}'" if step else "")
        event = self._of_run(
            "workflow.failed",
            self._end,
            "Failed",
            **self._times(),
            failure_reason=reason,
            failure_message=message,
            failed_task_name=task,
            error_details={
                "message": f"Pipeline failed{where}: {message}",
                "code": code,
                "component": "workflowexecution",
                "retry_possible": retry,
            },
        )
        return event | {
            "event_outcome": "failure",
            "severity": "warning",
            "error_code": code,
            "error_message": message,
        }


def expected_events(wfe: Object) -> list[Object]:
    """Every event that a started or ended object owes, in order, but for what the server adds."""
    return list(_Events(wfe).all())


def assert_trail(trails: Trails, wfe: Object, types: Sequence[str]) -> list[Object]:
    """The stored events, once they are of these types, and are to the letter what is owed."""
    correlation = correlation_of(wfe)
    assert wfe["status"]["correlationId"] == correlation
    stored = trails.wait_types(correlation, list(types))
    sent = [
        {name: value for name, value in event.items() if name not in _OF_THE_SERVER}
        for event in stored
    ]
    assert sent == expected_events(wfe)
    assert [event["chain_seq"] for event in stored] == list(range(1, len(stored) + 1))
    assert stored[0]["previous_event_hash"] == ""
    for before, after in pairwise(stored):
        assert after["previous_event_hash"] == before["event_hash"]
    ids = {UUID(event["event_id"]) for event in stored}
    assert len(ids) == len(stored)
    assert {one.version for one in ids} == {8}, "they follow from the object"
    return stored
