"""The failure classification cases of the report (catalogue 2.9), and words that mislead.

What is written here is what Tekton writes where it has no TaskRun to blame; the rows of a failed
TaskRun are the matter of the tier with a real Tekton.
"""

from typing import NamedTuple

import pytest

from test.workflow_executions import FAILED, Executions, Trails


class Case(NamedTuple):
    """A failed PipelineRun, and what is to be made of it."""

    word: str
    message: str
    started: bool
    reason: str
    acted: bool


CATALOGUE = {
    "exit_code_1_is_task_failed": Case(
        "TaskRunFailed", "task failed with exit code 1", True, "TaskFailed", True
    ),
    "oom_killed": Case("TaskRunFailed", "task failed: OOMKilled", True, "OOMKilled", True),
    "deadline_exceeded": Case(
        "PipelineRunTimeout",
        "PipelineRun exceeded timeout of 10 minutes",
        True,
        "DeadlineExceeded",
        True,
    ),
    "forbidden": Case(
        "TaskRunFailed",
        'task failed: pods is forbidden: User "system:serviceaccount:a:b" cannot create pods',
        True,
        "Forbidden",
        True,
    ),
    "resource_exhausted": Case(
        "TaskRunCreationFailed",
        "exceeded quota: compute resources",
        False,
        "ResourceExhausted",
        False,
    ),
    "configuration_error": Case(
        "TaskRunValidationFailed",
        "invalid configuration: missing required parameter",
        False,
        "ConfigurationError",
        False,
    ),
    "image_pull_back_off": Case(
        "TaskRunImagePullFailed",
        "Failed to pull image: image pull backoff",
        False,
        "ImagePullBackOff",
        False,
    ),
    "unknown": Case("PipelineRunFailed", "unexpected error occurred", False, "Unknown", False),
}

CONDITIONS = {
    "TaskFailed": "TaskFailed",
    "OOMKilled": "OOMKilled",
    "DeadlineExceeded": "DeadlineExceeded",
}
"""Reasons of the condition `ExecutionComplete`; any other failure is `ExecutionFailed`."""

ADVICE = {
    "OOMKilled": "memory",
    "Forbidden": "service account",
    "DeadlineExceeded": "time",
    "ImagePullBackOff": "image",
}
"""A word of the recommendation that the summary ends with."""

MISLEADING = (
    "task failed: no room left in /var",
    "task failed: cannot zoom to level 3",
    "task failed: bloom filter too small",
    "task failed: mushroom-7 does not answer",
    "task failed: step-quota ended with 2",
    "task failed: GET https://quota.example/limits gave 500",
    "task failed: kubectl drain --timeout=30 gave 1",
    "task failed: the option deadlineSeconds was ignored",
    "task failed: pod forbidden-fruit-0 crashed",
    "task failed: rbac-proxy ended with 1",
    "task failed: the cache was invalidated twice",
    "task failed: image pulley not found",
    "task failed: net/http: TLS handshake timeout",
    "task failed: dial tcp 10.0.0.1:443: i/o timeout",
)
"""All of them are failures of the task and of nothing else."""

TELLING = {
    "task failed: the process ran out of memory": "OOMKilled",
    "task failed: (OOM-killed)": "OOMKilled",
    "task failed: OOM": "OOMKilled",
    "task failed: Error: ErrImagePull": "ImagePullBackOff",
    "task failed: Back-off pulling image a/b:1": "ImagePullBackOff",
    "task failed: permission denied": "Forbidden",
    "task failed: denied by RBAC": "Forbidden",
    'task failed: pods "a" is forbidden: exceeded quota: compute': "ResourceExhausted",
    "task failed: rollout timed out": "DeadlineExceeded",
    "task failed: invalid value for REPLICAS": "ConfigurationError",
}


@pytest.mark.parametrize("case", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_classify(executions: Executions, trails: Trails, case: Case) -> None:
    target = executions.target()
    executions.create(target=target)
    executions.wait_child(target)
    executions.wait_phase("wfe", "Running")
    executions.fail(target, case.word, case.message, started=case.started)
    status = executions.wait_phase("wfe", "Failed", 30)
    details = status["failureDetails"]
    assert details["reason"] == case.reason
    assert details.get("wasExecutionFailure", False) is case.acted
    assert case.message in details["message"]
    assert status["failureReason"] == case.reason
    assert status["executionStatus"]["reason"] == case.word
    assert details["failedAt"] == status["completionTime"]
    lines = details["naturalLanguageSummary"].splitlines()
    assert lines[0] == f"Workflow 'restart-deployment' failed on target '{target}'."
    assert lines[1] == f"Reason: {case.reason}"
    if case.reason in ADVICE:
        assert lines[-1].startswith("Recommendation: ")
        assert ADVICE[case.reason] in lines[-1].lower()
    complete = executions.condition("wfe", "ExecutionComplete")
    assert complete is not None
    assert complete["status"] == "False"
    assert complete["reason"] == CONDITIONS.get(case.reason, "ExecutionFailed")
    told = trails.wait_types(f"rr-{executions.namespace}-wfe", FAILED)[-1]
    assert told["event_outcome"] == "failure"
    assert told["event_data"]["failure_reason"] == case.reason
    assert case.message in told["event_data"]["failure_message"]


def reasons_of(executions: Executions, messages: list[str]) -> dict[str, str]:
    """The reason that each message leads to, as the message of a PipelineRun that failed."""
    names = {f"wfe-{number}": message for number, message in enumerate(messages)}
    for name in names:
        executions.create(name)
    for name in names:
        executions.wait_phase(name, "Running")
    for name, message in names.items():
        executions.fail(executions.target(name), "TaskRunFailed", message)
    return {
        message: executions.wait_phase(name, "Failed")["failureDetails"]["reason"]
        for name, message in names.items()
    }


def test_parts_of_words_and_names_do_not_mislead(executions: Executions) -> None:
    found = reasons_of(executions, list(MISLEADING))
    assert found == dict.fromkeys(MISLEADING, "TaskFailed")


def test_whole_words_tell(executions: Executions) -> None:
    assert reasons_of(executions, list(TELLING)) == TELLING
