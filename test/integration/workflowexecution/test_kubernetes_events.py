"""The Events that people see, each once and to the word (catalogue 3.3, 095-01 to 095-04)."""

from datetime import datetime
from typing import Final

import pytest

from kubernaut.workflowexecution import lock_name
from test.polling import wait_for
from test.workflow_executions import Executions, Object

FAILING: Final = {"simulation.kubernaut.ai/exit-code": "1"}
"""The pod of a Job ends so."""

Told = list[tuple[str, str, str]]


def start(executions: Executions, engine: str) -> Told:
    """What is told of a run that starts."""
    target = executions.target("wfe")
    child = f"kubernaut-workflows/{lock_name(target)}"
    return [
        (
            "Normal",
            "WorkflowValidated",
            f"Workflow spec validated: restart-deployment (target: {target})",
        ),
        ("Normal", "ExecutionCreated", f"Created {engine} execution resource {child}"),
        ("Normal", "PhaseTransition", "Phase transition: Pending → Running"),
    ]


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_success_is_told(executions: Executions, engine: str) -> None:
    executions.create(engine=engine)
    if engine == "tekton":  # The Job is run by its controller, and its pod by kwok.
        executions.wait_phase("wfe", "Running")
        executions.succeed(executions.target("wfe"))
    took = executions.wait_phase("wfe", "Completed", 30)["duration"]
    text = f"Workflow restart-deployment completed successfully in {took}"
    end = [
        ("Normal", "WorkflowCompleted", text),
        ("Normal", "PhaseTransition", "Phase transition: Running → Completed"),
    ]
    executions.wait_told("wfe", start(executions, engine) + end)


def test_a_wrong_spec_is_told(executions: Executions) -> None:
    executions.create(target="a/b/c/d")
    message = executions.wait_phase("wfe", "Failed", 10)["failureDetails"]["message"]
    executions.wait_told(
        "wfe",
        [
            ("Warning", "WorkflowValidationFailed", f"Spec validation failed: {message}"),
            (
                "Warning",
                "WorkflowFailed",
                f"Pre-execution failure: ConfigurationError - {message}",
            ),
            ("Normal", "PhaseTransition", "Phase transition: Pending → Failed"),
        ],
    )


def test_a_cooldown_is_told_once(executions: Executions) -> None:
    target = executions.target()
    executions.create("first", target=target)
    executions.wait_phase("first", "Running")
    executions.succeed(target)
    ended = executions.wait_phase("first", "Completed")["completionTime"]
    executions.create("second", target=target)

    def told() -> list[Object]:
        return [one for one in executions.events("second") if one["reason"] == "CooldownActive"]

    (event,) = wait_for(told, 15, "CooldownActive") or []
    before, _, left = event["note"].removesuffix("s)").rpartition(" (remaining: ")
    assert before == f"Execution deferred: cooldown active for {target}"
    since = datetime.fromisoformat(event["eventTime"]) - datetime.fromisoformat(ended)
    assert abs(10 - since.total_seconds() - int(left)) < 1, "of the ten seconds that it lasts"
    assert executions.status("second")["phase"] == "Pending"
    # Whatever makes the operator look again, it has said so.
    for count in range(3):
        executions.annotate("second", {"example.com/touched": str(count)})
    executions.create("third", target=target)
    executions.wait("third", lambda one: one.get("status", {}).get("phase") == "Pending", 5, "")
    (again,) = told()
    assert "series" not in again
    assert executions.reasons("second") == ["CooldownActive"]


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_failure_is_told(executions: Executions, engine: str) -> None:
    executions.create(engine=engine, annotations=FAILING)
    if engine == "tekton":
        executions.wait_phase("wfe", "Running")
        executions.fail(executions.target("wfe"))
    details = executions.wait_phase("wfe", "Failed", 30)["failureDetails"]
    assert details["reason"] == "TaskFailed"
    text = f"Workflow restart-deployment failed: TaskFailed - {details['message']}"
    end = [
        ("Warning", "WorkflowFailed", text),
        ("Normal", "PhaseTransition", "Phase transition: Running → Failed"),
    ]
    executions.wait_told("wfe", start(executions, engine) + end)
