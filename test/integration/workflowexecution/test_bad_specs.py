"""Specs that cannot be run fail at once, in words that say what to write (catalogue 2.2, 3.3).

The API server takes them all. The case of the engine that is not there is IT-WE-015-001.
"""

from typing import Any, Final, NamedTuple

import pytest

from test.integration.workflowexecution.expected_trail import assert_trail
from test.polling import wait_for
from test.workflow_executions import BUNDLE, Executions, Trails

ANSIBLE: Final = {"executionEngine": "ansible", "engineConfig": {"playbookPath": "play.yml"}}


class Case(NamedTuple):
    """What is wrong, how the message begins, and what else it says."""

    given: dict[str, Any]
    message: str
    advice: str
    reason: str = "ConfigurationError"


CASES: Final = {
    "empty_bundle": Case(
        {"workflow": {"executionBundle": ""}},
        "workflowRef.executionBundle is required",
        "name the bundle or image that runs the workflow, for example registry.example/",
    ),
    "no_bundle": Case(
        {"workflow": {"executionBundle": None}},
        "workflowRef.executionBundle is required",
        "name the bundle or image",
    ),
    "empty_target": Case(
        {"target": ""},
        "targetResource is required",
        "{namespace}/{kind}/{name} (namespaced) or {kind}/{name} (cluster-scoped)",
    ),
    "one_part": Case(
        {"target": "a"},
        "targetResource must be in format {namespace}/{kind}/{name} (namespaced) or"
        " {kind}/{name} (cluster-scoped), got 1 parts",
        "{kind}/{name}",
    ),
    "empty_part": Case(
        {"target": "a//b"},
        "targetResource has empty part at position 1",
        "must be {namespace}/{kind}/{name} or {kind}/{name}",
    ),
    "empty_first_part": Case(
        {"target": "/b"}, "targetResource has empty part at position 0", "{kind}/{name}"
    ),
    "blank_part": Case(
        {"target": "a/ "}, "targetResource has empty part at position 1", "it is 'a/ '"
    ),
    "four_parts": Case(
        {"target": "a/b/c/d"},
        "targetResource must be in format {namespace}/{kind}/{name} (namespaced) or"
        " {kind}/{name} (cluster-scoped), got 4 parts",
        "{namespace}/{kind}/{name}",
    ),
    "past_deadline": Case(
        {"timesOutAt": "2020-01-01T00:00:00Z"},
        "timesOutAt is 2020-01-01T00:00:00+00:00, which was past when the object was created",
        "give a later time, or leave it out",
    ),
    "two_bundles": Case(
        {"workflow": {"containerImage": "registry.example/other:1"}},
        f"workflowRef.executionBundle is '{BUNDLE}' and workflowRef.containerImage, its older"
        " name, is 'registry.example/other:1'",
        "give one of them",
    ),
    "two_digests": Case(
        {"workflow": {"executionBundleDigest": "sha256:aa", "containerDigest": "sha256:bb"}},
        "workflowRef.executionBundleDigest is 'sha256:aa' and workflowRef.containerDigest",
        "give one of them",
    ),
    "no_engine": Case(
        {"engine": None},
        "execution engine not declared for WFE {key} — expected on spec.workflowRef at creation"
        " time",
        "set workflowRef.executionEngine to tekton, job or ansible",
    ),
    "another_cluster": Case(
        {"clusterID": "edge-1"}, "clusterID is 'edge-1'", "leave clusterID out"
    ),
    "engine_not_there": Case(
        {"workflow": ANSIBLE},
        'execution engine "ansible" is not available -- ',
        "",
        "UnsupportedEngine",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_spec(executions: Executions, trails: Trails, case: Case) -> None:
    executions.create(**case.given)
    status = executions.wait_phase("wfe", "Failed", 10)
    details = status["failureDetails"]
    assert details["reason"] == status["failureReason"] == case.reason
    assert details["wasExecutionFailure"] is False
    message = case.message.replace("{key}", f"{executions.namespace}/wfe")
    assert details["message"].startswith(message)
    assert case.advice in details["message"]
    assert f"Error: {details['message']}\n" in details["naturalLanguageSummary"]
    assert details["failedAt"] == status["completionTime"]
    assert (details["failedTaskIndex"], details["failedTaskName"]) == (0, "")
    never = {"startTime", "duration", "executionRef", "pipelineRunRef", "executionStatus"}
    assert never.isdisjoint(status)
    target = case.given.get("target", executions.target("wfe"))
    assert executions.child(target) is None
    audited = executions.wait_condition("wfe", "AuditRecorded")
    assert audited["message"] == "The audit event is stored in DataStorage"
    conditions = {one["type"]: one for one in executions.status()["conditions"]}
    assert {type_: (one["status"], one["reason"]) for type_, one in conditions.items()} == {
        "ExecutionCreated": ("False", "ExecutionCreationFailed"),
        "Ready": ("False", "NotReady"),
        "AuditRecorded": ("True", "AuditSucceeded"),
    }
    assert_trail(trails, executions.get(), ["workflow.failed"])
    text = f"Pre-execution failure: {case.reason} - {details['message']}"
    executions.wait_told(
        "wfe",
        [
            (
                "Warning",
                "WorkflowValidationFailed",
                f"Spec validation failed: {details['message']}",
            ),
            ("Warning", "WorkflowFailed", text),
            ("Normal", "PhaseTransition", "Phase transition: Pending → Failed"),
        ],
    )


def test_a_bad_spec_locks_nothing(executions: Executions) -> None:
    target = executions.target()
    executions.create("bad", target=target, workflow={"executionBundle": ""})
    executions.wait_phase("bad", "Failed", 10)
    executions.create("good", target=target)
    executions.wait_phase("good", "Running", 5)
    executions.delete("bad")
    wait_for(lambda: not executions.exists("bad"), 10, "it is gone")
    assert executions.child(target) is not None
    executions.succeed(target)
    executions.wait_phase("good", "Completed")
