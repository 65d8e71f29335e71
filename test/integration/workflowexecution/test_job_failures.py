"""Runs of the engine `job` that fail, or try again (catalogue 3.2: 014-002, 014-015, 019-004; 3.3).

Pods and Jobs are simulated and run as in `test_jobs.py`. Only what a kubelet tells of a pod in its
Events is written by hand, for kwok tells nothing. Four runs out of time share one wait.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from kubernaut.local import LocalCluster
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.job_pods import (
    begin_job,
    end_pod,
    pods_of,
    simulated,
    tell_of_pod,
    wait_pod,
)
from test.operator_process import OperatorProcess
from test.polling import wait_for
from test.workflow_executions import (
    COMPLETED,
    FAILED,
    Executions,
    Object,
    Trails,
    new_executions,
)

TIME: Final = 8
"""Seconds that a run has whose deadline is the point."""
UNPULLABLE: Final = (
    'Failed to pull image "registry.example/workflows/restart:1.0.0": rpc error: code = NotFound'
    " desc = manifest unknown"
)
UNMOUNTABLE: Final = 'MountVolume.SetUp failed for volume "secret-token": secret "token" not found'


def test_014_002_014_015_a_job_whose_program_fails(executions: Executions, trails: Trails) -> None:
    target = begin_job(executions)
    pod = end_pod(executions, target, exit_code="3", reason="Error", message="disk full")
    status = executions.wait_phase("wfe", "Failed")
    assert status["failureReason"] == "TaskFailed"
    details = status["failureDetails"]
    assert details["reason"] == "TaskFailed"
    assert details["exitCode"] == 3
    assert details["wasExecutionFailure"] is True
    assert (details["failedTaskName"], details["failedStepName"]) == (pod, "workflow")
    said = f"container workflow of pod {pod} exited with code 3: Error: disk full; "
    assert details["message"].startswith(said)
    assert "backoff limit" in details["message"], "what the Job says comes last"
    assert "read the log of the step that failed" in details["naturalLanguageSummary"]
    told = status["executionStatus"]
    assert (told["status"], told["reason"]) == ("False", "BackoffLimitExceeded")
    assert told.get("retryCount", 0) == 0
    complete = executions.condition("wfe", "ExecutionComplete") or {}
    assert (complete["status"], complete["reason"]) == ("False", "TaskFailed")
    assert complete["message"] == details["message"]
    executions.wait_condition("wfe", "AuditRecorded")
    assert (executions.condition("wfe", "Ready") or {})["status"] == "False"
    assert len(pods_of(executions, target)) == 1, "it is not tried again"
    assert_trail(trails, executions.get(), FAILED)


def test_019_004_a_pod_killed_for_its_memory_is_replaced_and_counted(
    executions: Executions, trails: Trails
) -> None:
    target = begin_job(executions)
    killed = end_pod(executions, target, exit_code="137", reason="OOMKilled")
    wait_for(lambda: len(pods_of(executions, target)) == 2, 30, "another pod")
    assert executions.status()["phase"] == "Running"
    assert end_pod(executions, target) != killed
    status = executions.wait_phase("wfe", "Completed")
    assert status["executionStatus"]["retryCount"] == 1
    assert "failureDetails" not in status
    last = assert_trail(trails, executions.get(), COMPLETED)[-1]
    assert last["event_data"]["retry_count"] == 1


# Out of time


class OutOfTime:
    """Four runs that reached their deadline, each for another reason."""

    def __init__(self, executions: Executions) -> None:
        self.executions = executions
        for name, annotations, dependencies in (
            ("hanging", simulated(hang="true"), None),
            ("unpullable", simulated(waiting="ImagePullBackOff"), None),
            (
                "unmountable",
                simulated(waiting="ContainerCreating"),
                {"secrets": [{"name": "token"}]},
            ),
            ("killed", simulated(exit_code="137", reason="OOMKilled"), None),
        ):
            self._create(name, annotations, dependencies)
        self.pods: dict[str, str] = {}
        phases = {"hanging": "Running", "killed": "Failed"}
        for name in ("hanging", "unpullable", "unmountable", "killed"):
            pod = wait_pod(executions, executions.target(name), phases.get(name, "Pending"))
            self.pods[name] = pod["metadata"]["name"]
        tell_of_pod(executions, self.pods["unpullable"], "Failed", UNPULLABLE)
        tell_of_pod(executions, self.pods["unpullable"], "Failed", "Error: ErrImagePull")
        tell_of_pod(executions, self.pods["unmountable"], "FailedMount", UNMOUNTABLE)
        # The Secret is missing; the Job was made all the same, and with a deadline.
        self.jobs = {
            name: executions.wait_child(executions.target(name), "jobs") for name in self.pods
        }
        self.wfes: dict[str, Object] = {}
        for name in self.pods:
            executions.wait_phase(name, "Failed", 30)
            executions.wait_condition(name, "AuditRecorded")
            self.wfes[name] = executions.get(name)

    def _create(self, name: str, annotations: Object, dependencies: Object | None) -> None:
        end = datetime.now(UTC) + timedelta(seconds=TIME)
        given: dict[str, Any] = {"timesOutAt": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        if dependencies:
            given["workflow"] = {"dependencies": dependencies}
        self.executions.create(name, engine="job", annotations=annotations, **given)

    def details(self, name: str) -> Object:
        """Why it failed, once what holds for all of them was looked at."""
        wfe = self.wfes[name]
        status = wfe["status"]
        assert status["executionStatus"]["reason"] == "DeadlineExceeded"
        assert 0 < self.jobs[name]["spec"]["activeDeadlineSeconds"] <= TIME
        end = datetime.fromisoformat(wfe["spec"]["timesOutAt"])
        late = datetime.fromisoformat(status["completionTime"]) - end
        assert timedelta(seconds=-2) < late < timedelta(seconds=8), "the Job ended it, not we"
        assert self.jobs[name]["spec"].get("suspend", False) is False
        details: Object = status["failureDetails"]
        assert "Job was active longer than specified deadline" in details["message"]
        complete = next(one for one in status["conditions"] if one["type"] == "ExecutionComplete")
        assert complete["status"] == "False"
        return details


@pytest.fixture(scope="module")
def late(kinds_cluster: LocalCluster, operator: OperatorProcess) -> OutOfTime:
    """All of them, once all have failed."""
    assert operator.is_running
    return OutOfTime(new_executions(kinds_cluster))


def test_a_job_that_hangs_is_ended_at_its_deadline(late: OutOfTime, trails: Trails) -> None:
    details = late.details("hanging")
    assert details["reason"] == "DeadlineExceeded"
    assert details["wasExecutionFailure"] is True
    assert "exitCode" not in details
    assert pods_of(late.executions, late.executions.target("hanging")) == []
    assert_trail(trails, late.wfes["hanging"], FAILED)


def test_1645_001_an_image_that_cannot_be_pulled(late: OutOfTime, trails: Trails) -> None:
    details = late.details("unpullable")
    assert details["reason"] == "ImagePullBackOff"
    assert details.get("wasExecutionFailure", False) is False
    assert f"Pod {late.pods['unpullable']}: Failed: {UNPULLABLE}" in details["message"]
    assert_trail(trails, late.wfes["unpullable"], FAILED)


def test_1481_001_a_secret_that_is_missing(late: OutOfTime, trails: Trails) -> None:
    details = late.details("unmountable")
    assert details["reason"] == "ConfigurationError"
    assert details.get("wasExecutionFailure", False) is False
    assert 'secret "token" not found' in details["message"]
    volumes = late.jobs["unmountable"]["spec"]["template"]["spec"]["volumes"]
    assert {"secretName": "token"}.items() <= volumes[0]["secret"].items()
    assert_trail(trails, late.wfes["unmountable"], FAILED)


def test_a_job_out_of_memory_is_ended_at_its_deadline_and_says_so(
    late: OutOfTime, trails: Trails
) -> None:
    # Exit code 137 is ignored by the policy of the Job, so that another pod would follow.
    details = late.details("killed")
    assert details["reason"] == "OOMKilled"
    assert details["exitCode"] == 137
    assert details["wasExecutionFailure"] is True
    assert f"pod {late.pods['killed']} exited with code 137: OOMKilled" in details["message"]
    assert_trail(trails, late.wfes["killed"], FAILED)
