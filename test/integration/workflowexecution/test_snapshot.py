"""The spec is a snapshot that never changes, and no write of ours changes it either.

Catalogue 3.3 workflowref_snapshot (IT-WFE-340-001), and the Go operator's loop: an update for the
finalizer wrote a default into a spec that was created without it, and so broke the rule that the
spec is immutable, for ever. So here every spec is compared, byte for byte, with what was created,
after the object has gone its whole way.
"""

import copy
import json
from typing import Any

import pytest

from test.polling import wait_for
from test.workflow_executions import COMPLETED, GROUP, Executions, Object, Trails


def path_of(executions: Executions, name: str = "") -> str:
    path = f"{GROUP}/namespaces/{executions.namespace}/workflowexecutions"
    return f"{path}/{name}" if name else path


SPELLED_OUT: dict[str, dict[str, Any]] = {
    "absent": {},
    "null": {"workflowRef": {"declaredParameterNames": None}},
    "none": {"workflowRef": {"declaredParameterNames": {}}},
    "empty_texts": {
        "workflowRef": {
            "workflowName": "",
            "actionType": "",
            "executionBundleDigest": "",
            "containerImage": "",
            "containerDigest": "",
            "serviceAccountName": "",
        },
        "rationale": "",
        "clusterID": "",
        "executionConfig": {"timeout": "", "serviceAccountName": ""},
        "remediationRequestRef": {"apiVersion": "", "kind": "", "namespace": "", "uid": ""},
    },
    "empty_objects": {
        "workflowRef": {
            "dependencies": {},
            "resources": {},
            "engineConfig": {},
            "declaredParameterNames": {},
        },
        "parameters": {},
        "executionConfig": {},
    },
    "empty_lists": {
        "workflowRef": {
            "dependencies": {"secrets": [], "configMaps": []},
            "resources": {"claims": [], "limits": {}, "requests": {}},
        },
    },
    "defaults": {
        "workflowRef": {"declaredParameterNames": {"NAMESPACE": False}},
        "confidence": 0,
    },
}


def spelled(executions: Executions, name: str, changes: dict[str, Any]) -> Object:
    """A manifest with members set as they are given, null among them."""
    manifest = executions.manifest(name)
    spec = manifest["spec"]
    for member, value in changes.items():
        both = isinstance(value, dict) and isinstance(spec.get(member), dict) and value
        spec[member] = spec[member] | value if both else value
    return manifest


@pytest.mark.parametrize("name", SPELLED_OUT)
def test_whatever_is_left_out_or_spelled_out_goes_its_whole_way(
    executions: Executions, trails: Trails, name: str
) -> None:
    called = name.replace("_", "-")
    manifest = spelled(executions, called, SPELLED_OUT[name])
    answer = executions.cluster.api("POST", path_of(executions), manifest)
    assert answer.status == 201, answer
    created = json.dumps(answer.body["spec"])
    target = executions.target(called)
    executions.wait_phase(called, "Running")
    executions.succeed(target)
    executions.wait_phase(called, "Completed")
    trails.wait_types(f"rr-{executions.namespace}-{called}", COMPLETED)
    executions.wait_condition(called, "AuditRecorded")
    found = executions.get(called)
    assert json.dumps(found["spec"]) == created
    assert found["metadata"]["generation"] == 1
    assert found["metadata"]["finalizers"] == [
        "workflowexecution.kubernaut.ai/workflowexecution-cleanup"
    ]
    executions.delete(called)
    wait_for(lambda: not executions.exists(called), 15, "it is gone")
    assert executions.child(target) is None


def test_it_wfe_340_001_the_snapshot_is_immutable(executions: Executions) -> None:
    executions.create(workflow={"declaredParameterNames": {"NAMESPACE": True}})
    changes: dict[str, Any] = {
        "executionEngine": "job",
        "declaredParameterNames": {"NAMESPACE": True, "REPLICA_COUNT": True},
        "executionBundle": "registry.example/workflows/other:1",
    }
    for member, value in changes.items():
        body = {"spec": {"workflowRef": {member: value}}}
        answer = executions.cluster.api(
            "PATCH",
            path_of(executions, "wfe"),
            body,
            content_type="application/merge-patch+json",
        )
        assert answer.status == 422, answer
        assert answer.body["reason"] == "Invalid"
        assert "spec is immutable" in answer.body["message"]
    for member in ("executionEngine", "declaredParameterNames"):

        def without() -> bool:
            current = executions.get()
            del current["spec"]["workflowRef"][member]  # noqa: B023
            answer = executions.cluster.api("PUT", path_of(executions, "wfe"), current)
            assert answer.status in (409, 422), answer
            return answer.status == 422

        wait_for(without, 10, "an answer that is not about a version")


def test_it_wfe_340_001_an_identical_update_is_accepted(executions: Executions) -> None:
    executions.create()

    def update() -> bool:
        current = copy.deepcopy(executions.get())
        current["metadata"].setdefault("labels", {})["touched"] = "yes"
        answer = executions.cluster.api("PUT", path_of(executions, "wfe"), current)
        assert answer.status in (200, 409), answer
        return answer.status == 200

    wait_for(update, 10, "an update between those of the operator")
    executions.wait_phase("wfe", "Running")
    assert executions.get()["metadata"]["generation"] == 1
