"""Jobs, their pods and the events about them, to what a WorkflowExecution says of them."""

from collections.abc import Sequence
from typing import Any

import pytest

from kubernaut.workflowexecution._api import Reason
from kubernaut.workflowexecution.engines import JOB_EVENTS, JOB_PODS, JOBS, Failure, Job
from kubernaut.workflowexecution.engines._job import child_of
from kubernaut.workflowexecution.engines._job_failure import events_of, failure_of, retries_of
from kubernaut.workflowexecution.engines._job_kinds import (
    NO_PODS,
    STOPPED_ANNOTATION,
    JobEvent,
)
from test.unit.workflowexecution.objects import decoded

BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
CREATED = "2026-05-04T12:00:00Z"
BEFORE = "2026-05-04T11:59:59Z"
POD = "wfe-1-abc12"


def a_job(**status: Any) -> Job:
    metadata = {"name": "wfe-1", "uid": "u1", "creationTimestamp": CREATED}
    return decoded(JOBS, {"metadata": metadata, "status": {"startTime": CREATED, **status}})


def pod(state: dict[str, Any], name: str = POD, **status: Any) -> dict[str, Any]:
    statuses = [{"name": "sidecar", "state": {}}, {"name": "workflow", "state": state}]
    return {"metadata": {"name": name}, "status": {"containerStatuses": statuses, **status}}


def ended(code: int, reason: str, message: str = "", at: str = CREATED) -> dict[str, Any]:
    how = {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}
    return {"terminated": how}


def event(
    reason: str,
    note: str,
    kind: str = "Pod",
    name: str = POD,
    **more: Any,
) -> dict[str, Any]:
    uid = more.pop("uid", "")
    return {
        "metadata": {"name": "e", "creationTimestamp": more.pop("at", CREATED)},
        "reason": reason,
        "note": note,
        "regarding": {"kind": kind, "name": name, "uid": uid},
        **more,
    }


def events(*bodies: dict[str, Any]) -> list[JobEvent]:
    return events_of(a_job(), [decoded(JOB_EVENTS, body) for body in bodies])


def failed(
    said: tuple[str, str],
    *pods: dict[str, Any],
    about: Sequence[JobEvent] = (),
) -> Failure:
    return failure_of(a_job(), said, [decoded(JOB_PODS, body) for body in pods], about)


def test_a_container_that_failed_is_named_with_its_exit_code_and_words() -> None:
    assert failed(BACKOFF, pod(ended(2, "Error", "disk full"))) == Failure(
        reason="TaskFailed",
        message=f"container workflow of pod {POD} exited with code 2: Error: disk full;"
        " Job has reached the specified backoff limit",
        task_name=POD,
        step_name="workflow",
        exit_code=2,
        was_execution_failure=True,
    )


def test_of_several_pods_the_last_one_to_end_is_blamed() -> None:
    first = pod(ended(137, "OOMKilled", at="2026-05-04T12:01:00Z"), "wfe-1-aaaaa")
    last = pod(ended(137, "OOMKilled", at="2026-05-04T12:02:00Z"), "wfe-1-00000")
    found = failed(DEADLINE, first, last)
    assert (found.reason, found.task_name, found.exit_code) == ("OOMKilled", "wfe-1-00000", 137)
    assert found.message.endswith("Job was active longer than specified deadline")


@pytest.mark.parametrize(
    ("said", "pods", "reason", "acted"),
    [
        (BACKOFF, [], "TaskFailed", True),
        (("PodFailurePolicy", "a rule"), [], "TaskFailed", True),
        (DEADLINE, [], "DeadlineExceeded", True),
        (DEADLINE, [pod(ended(137, "Error"))], "DeadlineExceeded", True),
        (BACKOFF, [pod(ended(127, "StartError", "no such file"))], "ConfigurationError", False),
        (
            BACKOFF,
            [pod({}, reason="Evicted", message="The node was low on resource: memory.")],
            "ResourceExhausted",
            True,
        ),
        (
            DEADLINE,
            [pod({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}})],
            "ImagePullBackOff",
            False,
        ),
        (DEADLINE, [pod({"waiting": {"reason": "ContainerCreating"}})], "DeadlineExceeded", True),
        (("Stopped", "it was stopped"), [], "Unknown", True),
    ],
)
def test_what_a_job_and_its_pods_say_is_the_reason(
    said: tuple[str, str],
    pods: list[dict[str, Any]],
    reason: Reason,
    acted: bool,  # noqa: FBT001  (a column)
) -> None:
    found = failed(said, *pods)
    assert (found.reason, found.was_execution_failure) == (reason, acted)
    assert said[1] in found.message


@pytest.mark.parametrize(
    ("bodies", "reason", "acted", "told"),
    [
        (
            [event("FailedMount", 'MountVolume.SetUp failed: secret "token" not found')],
            "ConfigurationError",
            False,
            'secret "token" not found',
        ),
        (
            [
                event("BackOff", "Back-off pulling image"),
                event("Failed", "Error: ErrImagePull"),
                event("Failed", 'Failed to pull image "x": manifest unknown'),
            ],
            "ImagePullBackOff",
            False,
            "manifest unknown",
        ),
        (
            [event("Failed", 'Error: configmap "settings" not found')],
            "ConfigurationError",
            False,
            'configmap "settings" not found',
        ),
        (
            [event("FailedScheduling", "0/2 nodes are available: 2 Insufficient memory.")],
            "ResourceExhausted",
            False,
            "Insufficient memory",
        ),
        (
            [event("FailedCreate", "pods is forbidden: exceeded quota", "Job", "wfe-1")],
            "ResourceExhausted",
            False,
            "exceeded quota",
        ),
        (
            [
                event(
                    "FailedCreate",
                    'pods "wfe-1-" is forbidden: error looking up service account a/b:'
                    ' serviceaccount "b" not found',
                    "Job",
                    "wfe-1",
                )
            ],
            "ConfigurationError",
            False,
            'serviceaccount "b" not found',
        ),
        (
            [
                event("SuccessfulCreate", "Created pod", "Job", "wfe-1"),
                event("FailedCreate", "pods is forbidden: exceeded quota", "Job", "wfe-1"),
            ],
            "DeadlineExceeded",
            True,
            DEADLINE[1],
        ),
        (
            [event("FailedMount", "of a former Job's pod", at=BEFORE)],
            "DeadlineExceeded",
            True,
            DEADLINE[1],
        ),
        (
            [event("FailedMount", "of another's pod", name="wfe-12-abc12")],
            "DeadlineExceeded",
            True,
            DEADLINE[1],
        ),
    ],
)
def test_events_say_why_a_pod_that_is_gone_did_not_run(
    bodies: list[dict[str, Any]],
    reason: Reason,
    acted: bool,  # noqa: FBT001  (a column)
    told: str,
) -> None:
    found = failed(DEADLINE, about=events(*bodies))
    assert (found.reason, found.was_execution_failure) == (reason, acted)
    assert told in found.message
    assert found.message.endswith(DEADLINE[1])


def test_retries_are_the_pods_after_the_first() -> None:
    def created(**more: Any) -> dict[str, Any]:
        return event("SuccessfulCreate", "Created pod", "Job", "wfe-1", **more)

    assert retries_of(events()) == 0
    assert retries_of(events(created())) == 0
    assert retries_of(events(created(), created(), created(uid="u1", at=BEFORE))) == 2
    assert retries_of(events(created(deprecatedCount=4))) == 3
    series = {"count": 3, "lastObservedTime": CREATED}
    assert retries_of(events(created(series=series))) == 2
    # Those of a former Job of the same name: another uid, or, without one, too old.
    assert retries_of(events(created(), created(uid="u0"), created(at=BEFORE))) == 0


def conditions(*types: str) -> list[dict[str, Any]]:
    return [
        {"type": one, "status": "True", "reason": f"Because{one}", "lastTransitionTime": CREATED}
        for one in types
    ]


@pytest.mark.parametrize(
    ("status", "state", "reason", "begun"),
    [
        ({}, "Waiting", "Pending", False),
        ({"active": 1, "ready": 0}, "Running", "Running", True),
        ({"active": 1, "ready": 1}, "Running", "Running", True),
        ({"failed": 1, "conditions": conditions("FailureTarget")}, "Running", "Because", True),
        ({"succeeded": 1, "conditions": conditions("SuccessCriteriaMet")}, "Running", "B", True),
        ({"failed": 1, "conditions": conditions("FailureTarget", "Failed")}, "Failed", "B", True),
        ({"conditions": conditions("SuccessCriteriaMet", "Complete")}, "Succeeded", "B", True),
        ({"conditions": conditions("Suspended")}, "Waiting", "BecauseSuspended", False),
    ],
)
def test_a_job_as_a_child(
    status: dict[str, Any],
    state: str,
    reason: str,
    begun: bool,  # noqa: FBT001  (a column)
) -> None:
    child = child_of(a_job(**status))
    assert child.state == state
    assert child.reason.startswith(reason)
    assert (child.begun, child.stopping) == (begun, False)
    assert (child.finished_at is not None) == child.is_over
    assert (child.completed_tasks, child.total_tasks) == (int(state == "Succeeded"), 1)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"active": 1}, "Running"),
        ({"conditions": conditions("Suspended"), "terminating": 1}, "Running"),
        ({"conditions": conditions("Suspended")}, "Failed"),
        ({"conditions": conditions("Suspended", "Complete")}, "Succeeded"),
    ],
)
def test_a_stopped_job_is_over_once_its_pods_are_gone(status: dict[str, Any], state: str) -> None:
    metadata = {"name": "wfe-1", "annotations": {STOPPED_ANNOTATION: "true"}}
    job = decoded(JOBS, {"metadata": metadata, "spec": {"suspend": True}, "status": status})
    child = child_of(job)
    assert (child.state, child.stopping) == (state, True)


@pytest.mark.parametrize(("had_pods", "begun"), [("true", True), (NO_PODS, False)])
def test_a_stopped_job_tells_whether_it_had_pods(
    had_pods: str,
    begun: bool,  # noqa: FBT001  (a column)
) -> None:
    # Kubernetes resets all that a Job says of its pods when it is suspended.
    metadata = {"name": "wfe-1", "annotations": {STOPPED_ANNOTATION: had_pods}}
    status = {"conditions": conditions("Suspended")}
    job = decoded(JOBS, {"metadata": metadata, "spec": {"suspend": True}, "status": status})
    assert child_of(job).begun is begun
