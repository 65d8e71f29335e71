"""`kubernaut wfe` as a process, for tests: a cluster, a namespace, statuses to look at."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import (
    WORKFLOW_EXECUTIONS,
    crd,
)
from test.audit_command import environment
from test.polling import wait_for
from test.workflow_executions import Executions, new_executions

COMMAND: Final = [sys.executable, "-m", "kubernaut", "wfe"]
SECONDS: Final = 60
NOBODY: Final = "http://127.0.0.1:1"
Object = dict[str, Any]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """An API server with our kind, and nothing that acts on it."""
    with LocalCluster(
        controller_manager=False, scheduler=False, kwok=False, crds=[crd()]
    ) as running:
        wait_for(lambda: running.api("GET", WORKFLOW_EXECUTIONS.path()).status == 200, 30, "kind")
        yield running


@pytest.fixture
def executions(cluster: LocalCluster) -> Executions:
    return new_executions(cluster)


class Wfe:
    """The command, for one namespace of one cluster."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self._namespace = namespace
        self.environment = environment(KUBECONFIG=cluster.kubeconfig_path)

    def __call__(self, verb: str, *arguments: str, given: str = "", code: int = 0) -> Done:
        done = subprocess.run(
            [*COMMAND, verb, "-n", self._namespace, *arguments],
            check=False,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done

    def says(self, verb: str, *arguments: str, given: str = "", code: int = 0) -> str:
        return self(verb, *arguments, given=given, code=code).stdout

    def complains(self, verb: str, *arguments: str, given: str = "", code: int = 1) -> str:
        """The one line with which the command could not do its work."""
        done = self(verb, *arguments, given=given, code=code)
        (line,) = done.stderr.splitlines()
        assert line.startswith("kubernaut: ")
        return line.removeprefix("kubernaut: ")


@pytest.fixture
def wfe(cluster: LocalCluster, executions: Executions) -> Wfe:
    return Wfe(cluster, executions.namespace)


def condition(type_: str, status: str, reason: str, message: str = "") -> Object:
    moment = "2026-11-24T09:30:00Z"
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": moment,
    }


RUNNING: Final[Object] = {
    "phase": "Running",
    "startTime": "2026-11-24T09:30:00Z",
    "executionRef": {"name": "wfe-0123456789abcdef"},
    "executionStatus": {
        "status": "Unknown",
        "reason": "Running",
        "totalTasks": 2,
        "completedTasks": 1,
    },
    "conditions": [condition("ExecutionRunning", "True", "ExecutionStarted", "it runs")],
}
COMPLETED: Final[Object] = RUNNING | {
    "phase": "Completed",
    "completionTime": "2026-11-24T09:30:45Z",
    "duration": "45s",
    "conditions": [condition("AuditRecorded", "True", "AuditSucceeded", "All 4 are stored")],
}
FAILED: Final[Object] = RUNNING | {
    "phase": "Failed",
    "completionTime": "2026-11-24T09:32:30Z",
    "duration": "2m30s",
    "failureReason": "TaskFailed",
    "failureDetails": {
        "failedTaskIndex": 0,
        "failedTaskName": "drain",
        "failedStepName": "evict",
        "reason": "TaskFailed",
        "message": "step evict exited with code 1",
        "exitCode": 1,
        "failedAt": "2026-11-24T09:32:30Z",
        "naturalLanguageSummary": "Workflow 'drain' failed.\nReason: TaskFailed\n",
        "wasExecutionFailure": True,
    },
    "conditions": [
        condition("ExecutionComplete", "False", "TaskFailed", "a task failed"),
        condition("AuditRecorded", "False", "AuditPending", "not acknowledged since 09:32"),
    ],
}


def start(wfe: Wfe, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**wfe.environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def manifest(**changes: Any) -> Object:
    spec = {
        "remediationRequestRef": {"name": "rr"},
        "workflowRef": {"workflowId": "w", "version": "1"},
        "targetResource": "a/b/c",
    }
    return {
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": "bad"},
        "spec": spec | changes,
    }
