"""The API server's side of the API: what it keeps and takes, and the little that it refuses."""

import http.client
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
import pytest
import yaml
from msgspec import structs

from kubernaut.kubernetes import Client, ClientConfig, Condition, InvalidError, patch_status
from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import _api
from kubernaut.workflowexecution._api import WORKFLOW_EXECUTIONS, WorkflowExecution
from kubernaut.workflowexecution._crd import crd, crd_yaml
from test.integration.workflowexecution.whole_object import STATUS, whole
from test.kubernetes_cluster import new_namespace
from test.polling import wait_for

DEFINITION: Final = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workflowexecutions.kubernaut.ai"
)
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE: Final = "application/merge-patch+json"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """An API server with our kind, which was made from the text."""
    with LocalCluster(
        controller_manager=False, scheduler=False, kwok=False, crds=[yaml.safe_load(crd_yaml())]
    ) as running:
        wait_for(lambda: established(running), 30, "the kind")
        yield running


def established(cluster: LocalCluster) -> bool:
    conditions = cluster.api("GET", DEFINITION).body["status"]["conditions"]
    true = {one["type"] for one in conditions if one["status"] == "True"}
    served = cluster.api("GET", WORKFLOW_EXECUTIONS.path()).status == 200
    return served and {"Established", "NamesAccepted"} <= true


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    config = ClientConfig.load(cluster.kubeconfig_path)
    async with Client(config, field_manager="test", qps=0) as made:
        yield made


@pytest.fixture
def namespace(cluster: LocalCluster) -> str:
    return new_namespace(cluster)


def minimal(name: str = "a", **spec: Any) -> dict[str, Any]:
    """The least that the API server takes."""
    return {
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": name},
        "spec": {
            "remediationRequestRef": {"name": "rr"},
            "workflowRef": {"workflowId": "w", "version": "1"},
            "targetResource": "shop/deployment/checkout",
            **spec,
        },
    }


def created(cluster: LocalCluster, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = cluster.api("POST", WORKFLOW_EXECUTIONS.path(None, namespace), body)
    assert answer.status == 201, answer
    return dict(answer.body)


def refusal(cluster: LocalCluster, namespace: str, body: dict[str, Any]) -> str:
    """Why the API server does not take an object."""
    answer = cluster.api("POST", WORKFLOW_EXECUTIONS.path(None, namespace), body)
    assert answer.status == 422, answer
    return str(answer.body["message"])


def test_the_kind_is_structural_and_names_are_accepted(cluster: LocalCluster) -> None:
    conditions = cluster.api("GET", DEFINITION).body["status"]["conditions"]
    found = {one["type"]: (one["status"], one["message"]) for one in conditions}
    assert found["Established"][0] == "True"
    assert "NonStructuralSchema" not in found
    assert "Terminating" not in found


def test_the_api_server_keeps_the_definition_as_it_was_made(cluster: LocalCluster) -> None:
    kept = cluster.api("GET", DEFINITION).body["spec"]["versions"][0]
    (made,) = crd()["spec"]["versions"]
    assert kept == made


def test_short_name_and_category_are_discovered(cluster: LocalCluster) -> None:
    listed = cluster.api("GET", "/apis/kubernaut.ai/v1alpha1").body["resources"]
    found = {one["name"]: one for one in listed}
    assert set(found) == {"workflowexecutions", "workflowexecutions/status"}
    assert found["workflowexecutions"]["shortNames"] == ["wfe"]
    assert found["workflowexecutions"]["categories"] == ["kubernaut"]


async def test_a_whole_object_comes_back_as_it_was_written(client: Client, namespace: str) -> None:
    made = await client.create(WORKFLOW_EXECUTIONS, whole("a", namespace))
    with_status = structs.replace(made, status=STATUS)
    written = await client.replace(WORKFLOW_EXECUTIONS, with_status, subresource="status")
    read = await client.get(WORKFLOW_EXECUTIONS, "a", namespace)
    assert read == written
    assert read.spec == whole("a", namespace).spec
    assert read.status == STATUS
    # Replacing it with what was read changes nothing, least of all the spec.
    again = await client.replace(WORKFLOW_EXECUTIONS, read)
    assert again == read
    assert again.metadata.generation == 1


def test_the_whole_object_has_every_member() -> None:
    """So that a member that is added to the types and not to the object is found."""
    written = msgspec.to_builtins(structs.replace(whole("a", "b"), status=STATUS))
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        assert not list(missing(schema["properties"][part], written[part], part))


def missing(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            yield from missing(inner, value[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}"
    if "items" in schema:
        yield from missing(schema["items"], value[0], f"{path}[]")


async def test_a_status_may_be_applied(client: Client, namespace: str) -> None:
    made = await client.create(WORKFLOW_EXECUTIONS, whole("a", namespace))
    applied = await patch_status(client, WORKFLOW_EXECUTIONS, made, STATUS)
    assert applied.status == STATUS
    # Conditions are a map by type: another manager adds one and leaves ours alone.
    other = {"type": "Other", "status": "Unknown", "reason": "R", "message": ""}
    other["lastTransitionTime"] = "2026-01-02T03:04:05Z"
    both = await patch_status(
        client, WORKFLOW_EXECUTIONS, applied, {"conditions": [other]}, field_manager="other"
    )
    assert [one.type for one in both.status.conditions] == ["Ready", "AuditRecorded", "Other"]


async def test_the_status_is_written_by_its_own_subresource_alone(
    client: Client, namespace: str
) -> None:
    given = structs.replace(whole("a", namespace), status=STATUS)
    made = await client.create(WORKFLOW_EXECUTIONS, given)
    assert made.status == _api.WorkflowExecutionStatus()
    spec = structs.replace(made.spec, rationale="changed")
    changed = structs.replace(made, spec=spec, status=STATUS)
    written = await client.replace(WORKFLOW_EXECUTIONS, changed, subresource="status")
    assert written.spec == made.spec
    assert written.status == STATUS


SPEC_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "a text": {"targetResource": "shop/deployment/other"},
    "a parameter": {"parameters": {"A": "2"}},
    "one parameter more": {"parameters": {"B": ""}},
    "a reference": {"remediationRequestRef": {"name": "other"}},
    "inside the engine's settings": {"workflowRef": {"engineConfig": {"playbookPath": "b.yml"}}},
    "deep inside them": {"workflowRef": {"engineConfig": {"deep": [{"er": 1}, 1.5]}}},
    "one declared name more": {"workflowRef": {"declaredParameterNames": {"C": True}}},
    "a limit": {"workflowRef": {"resources": {"limits": {"cpu": 2}}}},
    "a member removed": {"timesOutAt": None},
}


@pytest.mark.parametrize("change", SPEC_CHANGES.values(), ids=SPEC_CHANGES.keys())
async def test_no_member_of_the_spec_changes(
    client: Client, namespace: str, change: dict[str, Any]
) -> None:
    await client.create(WORKFLOW_EXECUTIONS, whole("a", namespace))
    with pytest.raises(InvalidError, match=r"spec is immutable after creation \(ADR-001\)"):
        await client.patch(WORKFLOW_EXECUTIONS, "a", {"spec": change}, namespace=namespace)


async def test_metadata_of_an_immutable_spec_changes_even_where_defaults_are_spelled_out(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    # As Go's clients write it. Replacing such an object would drop these members, which the rule
    # refuses: the operator patches metadata alone.
    reference = {"workflowId": "w", "version": "1", "declaredParameterNames": None}
    made = created(cluster, namespace, minimal(workflowRef=reference, clusterID="", parameters={}))
    assert made["spec"]["workflowRef"] == reference
    body = {"metadata": {"finalizers": [_api.FINALIZER]}}
    patched = await client.patch(WORKFLOW_EXECUTIONS, "a", body, namespace=namespace)
    assert patched.metadata.finalizers == [_api.FINALIZER]
    read = cluster.api("GET", WORKFLOW_EXECUTIONS.path("a", namespace)).body
    assert read["spec"] == made["spec"]
    same = cluster.api("PUT", WORKFLOW_EXECUTIONS.path("a", namespace), read)
    assert (same.status, same.body["metadata"]["generation"]) == (200, 1)
    with pytest.raises(InvalidError, match="spec is immutable"):
        await client.replace(WORKFLOW_EXECUTIONS, patched)


def test_the_api_server_writes_no_default_into_a_spec(
    cluster: LocalCluster, namespace: str
) -> None:
    body = minimal()
    assert created(cluster, namespace, body)["spec"] == body["spec"]


ACCEPTED: Final[dict[str, dict[str, Any]]] = {
    "an empty target": {"targetResource": ""},
    "a target of one part": {"targetResource": "checkout"},
    "a target of four parts": {"targetResource": "a/b/c/d"},
    "a target with an empty part": {"targetResource": "//"},
    "an empty workflow": {"workflowRef": {"workflowId": "", "version": ""}},
    "an empty reference": {"remediationRequestRef": {}},
    "a time that is past": {"timesOutAt": "2001-01-01T00:00:00Z"},
    "a confidence of 7": {"confidence": 7},
    "odd names of parameters": {"parameters": {"": "", "lower case": "x"}},
    "two bundles": {
        "workflowRef": {
            "workflowId": "w",
            "version": "1",
            "executionBundle": "a",
            "containerImage": "b",
        }
    },
    "a quantity without a meaning": {
        "workflowRef": {"workflowId": "w", "version": "1", "resources": {"limits": {"cpu": "x"}}}
    },
}


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_wrong_with_a_value_is_not_the_api_servers_answer(
    cluster: LocalCluster, namespace: str, spec: dict[str, Any]
) -> None:
    made = created(cluster, namespace, minimal(**spec))
    assert spec.items() <= made["spec"].items()
    read = WORKFLOW_EXECUTIONS.decoder.decode(json.dumps(made))
    assert isinstance(read, WorkflowExecution)


REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "an unknown engine": (
        {"workflowRef": {"workflowId": "w", "version": "1", "executionEngine": "bash"}},
        'Unsupported value: "bash": supported values: "ansible", "job", "tekton"',
    ),
    "an empty engine": (
        {"workflowRef": {"workflowId": "w", "version": "1", "executionEngine": ""}},
        'spec.workflowRef.executionEngine: Unsupported value: ""',
    ),
    "no version": ({"workflowRef": {"workflowId": "w"}}, "spec.workflowRef.version: Required"),
    "a number as a parameter": ({"parameters": {"A": 1}}, "spec.parameters.A: Invalid value"),
    "a time that is none": ({"timesOutAt": "tomorrow"}, "spec.timesOutAt: Invalid value"),
    "no target": ({"targetResource": None}, "spec.targetResource: "),
}


@pytest.mark.parametrize(("spec", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_value_of_its_type_is_refused(
    cluster: LocalCluster, namespace: str, spec: dict[str, Any], said: str
) -> None:
    assert said in refusal(cluster, namespace, minimal(**spec))


def test_a_spec_is_required(cluster: LocalCluster, namespace: str) -> None:
    body = minimal()
    del body["spec"]
    assert "spec: Required value" in refusal(cluster, namespace, body)


STATUS_REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "an unknown phase": ({"phase": "Skipped"}, 'status.phase: Unsupported value: "Skipped"'),
    "details without a summary": (
        {
            "failureDetails": {
                "failedTaskIndex": 0,
                "failedTaskName": "",
                "reason": "Unknown",
                "message": "",
                "failedAt": "2026-01-02T03:04:05Z",
            }
        },
        "status.failureDetails.naturalLanguageSummary: Required value",
    ),
    "a reason of no list": (
        {"failureDetails": msgspec.to_builtins(STATUS.failure_details) | {"reason": "Bad"}},
        'status.failureDetails.reason: Unsupported value: "Bad"',
    ),
    "a condition without a reason": (
        {"conditions": [{"type": "Ready", "status": "True"}]},
        "status.conditions[0].reason: Required value",
    ),
    "a condition that is maybe true": (
        {"conditions": [msgspec.to_builtins(STATUS.conditions[0]) | {"status": "Maybe"}]},
        'status.conditions[0].status: Unsupported value: "Maybe"',
    ),
    "two conditions of one type": (
        {"conditions": [msgspec.to_builtins(STATUS.conditions[0])] * 2},
        "status.conditions[1]: Duplicate value",
    ),
    "an exit code that no process has": (
        {"failureDetails": msgspec.to_builtins(STATUS.failure_details) | {"exitCode": 2**31}},
        "must be of type integer with format int32 in failureDetails.exitCode",
    ),
}


@pytest.mark.parametrize(("status", "said"), STATUS_REFUSED.values(), ids=STATUS_REFUSED.keys())
def test_a_status_has_the_words_and_members_of_its_types(
    cluster: LocalCluster, namespace: str, status: dict[str, Any], said: str
) -> None:
    created(cluster, namespace, minimal())
    path = WORKFLOW_EXECUTIONS.path("a", namespace, "status")
    answer = cluster.api("PATCH", path, {"status": status}, content_type=MERGE)
    assert answer.status == 422, answer
    assert said in answer.body["message"]


async def test_zeros_that_the_schema_requires_are_written(client: Client, namespace: str) -> None:
    made = await client.create(WORKFLOW_EXECUTIONS, whole("a", namespace))
    assert STATUS.failure_details is not None
    details = structs.replace(
        STATUS.failure_details,
        failed_task_index=0,
        failed_task_name="",
        message="",
        natural_language_summary="",
    )
    condition = Condition(
        type="Ready", status="False", reason="NotReady", last_transition_time=details.failed_at
    )
    status = _api.WorkflowExecutionStatus(
        phase="Failed", failure_details=details, conditions=[condition]
    )
    written = await patch_status(client, WORKFLOW_EXECUTIONS, made, status)
    assert written.status == status


async def test_columns_are_printed(cluster: LocalCluster, client: Client, namespace: str) -> None:
    made = await client.create(WORKFLOW_EXECUTIONS, whole("a", namespace))
    await patch_status(client, WORKFLOW_EXECUTIONS, made, STATUS)
    table = as_table(cluster, WORKFLOW_EXECUTIONS.path(None, namespace))
    columns = {one["name"]: one["priority"] for one in table["columnDefinitions"]}
    assert columns == {
        "Name": 0,
        "Phase": 0,
        "Workflow": 0,
        "WorkflowID": 1,
        "Target": 0,
        "Duration": 0,
        "Reason": 1,
        "Age": 0,
    }
    (row,) = table["rows"]
    assert row["cells"][:-1] == [
        *("a", "Failed", "restart", "w-1", "shop/deployment/checkout", "2m30s", "Because"),
    ]


def as_table(cluster: LocalCluster, path: str) -> dict[str, Any]:
    """What kubectl asks for."""
    server = urlsplit(cluster.url)
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    assert server.hostname is not None
    connection = http.client.HTTPSConnection(server.hostname, server.port, context=context)
    headers = {"Authorization": f"Bearer {cluster.token}", "Accept": TABLE}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200
        return dict(json.load(answer))
    finally:
        connection.close()


def test_objects_are_selected_by_request_and_by_target(
    cluster: LocalCluster, namespace: str
) -> None:
    for name, request, target in (("a", "one", "x/y"), ("b", "two", "x/y"), ("c", "two", "x/z")):
        body = minimal(name, remediationRequestRef={"name": request}, targetResource=target)
        created(cluster, namespace, body)

    def selected(selector: str) -> list[str]:
        path = WORKFLOW_EXECUTIONS.path(None, namespace)
        answer = cluster.api("GET", f"{path}?fieldSelector={quote(selector)}")
        assert answer.status == 200, answer
        return [one["metadata"]["name"] for one in answer.body["items"]]

    assert selected("spec.remediationRequestRef.name=two") == ["b", "c"]
    assert selected("spec.targetResource=x/y") == ["a", "b"]
    assert selected("spec.targetResource=x/y,spec.remediationRequestRef.name=two") == ["b"]
