"""The definition says what the types say, and the file in `config/crd` what the definition says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
import yaml
from msgspec import inspect

from kubernaut.kubernetes import Condition
from kubernaut.workflowexecution import _api, _crd
from kubernaut.workflowexecution._crd import crd, crd_yaml

CONFIG: Final = Path(__file__).resolve().parents[3] / "config"
VERSION: Final = crd()["spec"]["versions"][0]
SCHEMA: Final = VERSION["schema"]["openAPIV3Schema"]


def at(path: str) -> dict[str, Any]:
    """The schema of a member: `spec.workflowRef`, `status.conditions[].type`."""
    found: dict[str, Any] = SCHEMA
    for part in path.split("."):
        found = found["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            found = found["items"]
    return found


def objects(kind: inspect.Type, path: str) -> Iterator[tuple[str, inspect.StructType]]:
    """Every struct of ours below a type, with where it is."""
    match kind:
        case inspect.Metadata(type=inner):
            yield from objects(inner, path)
        case inspect.UnionType(types=types):
            for one in types:
                yield from objects(one, path)
        case inspect.ListType(item_type=item):
            yield from objects(item, f"{path}[]")
        case inspect.StructType(cls=cls, fields=fields) if cls is not Condition:
            yield path, kind
            for field in fields:
                yield from objects(field.type, f"{path}.{field.encode_name}")


STRUCTS: Final = [
    *objects(inspect.type_info(_api.WorkflowExecutionSpec), "spec"),
    *objects(inspect.type_info(_api.WorkflowExecutionStatus), "status"),
]


def test_the_file_is_what_the_command_makes() -> None:
    path = CONFIG / "crd" / _crd.FILE
    remedy = f"run: kubernaut operator crd > config/crd/{_crd.FILE}"
    assert path.read_text(encoding="utf-8") == crd_yaml(), remedy
    assert [one.name for one in path.parent.iterdir()] == [_crd.FILE]


def test_the_text_is_the_definition_without_aliases() -> None:
    text = crd_yaml()
    assert yaml.safe_load(text) == crd()
    assert "&id" not in text
    assert text == crd_yaml()


def test_the_definition_is_the_callers_to_change() -> None:
    changed = crd()
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clear()
    conditions = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    conditions["properties"]["conditions"]["items"]["required"].clear()
    conditions["properties"]["conditions"]["x-kubernetes-list-map-keys"].clear()
    assert crd()["spec"]["versions"][0] == VERSION


def test_names() -> None:
    assert crd()["metadata"] == {"name": "workflowexecutions.kubernaut.ai"}
    spec = crd()["spec"]
    assert (spec["group"], spec["scope"]) == ("kubernaut.ai", "Namespaced")
    assert spec["names"] == {
        "kind": "WorkflowExecution",
        "listKind": "WorkflowExecutionList",
        "plural": "workflowexecutions",
        "singular": "workflowexecution",
        "shortNames": ["wfe"],
        "categories": ["kubernaut"],
    }
    assert (VERSION["name"], VERSION["served"], VERSION["storage"]) == ("v1alpha1", True, True)
    assert VERSION["subresources"] == {"status": {}}


@pytest.mark.parametrize(("path", "struct"), STRUCTS, ids=[path for path, _ in STRUCTS])
def test_every_member_is_there_and_those_without_a_default_are_required(
    path: str, struct: inspect.StructType
) -> None:
    schema = at(path)
    assert schema["type"] == "object"
    assert set(schema["properties"]) == {field.encode_name for field in struct.fields}
    required = {
        field.encode_name
        for field in struct.fields
        if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
    }
    assert set(schema.get("required", [])) == required
    assert schema["description"]


def test_what_the_root_requires() -> None:
    assert SCHEMA["required"] == ["spec"]
    assert list(SCHEMA["properties"]) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert at("metadata") == {"type": "object"}
    assert at("spec.workflowRef")["required"] == ["version", "workflowId"]
    assert at("spec")["required"] == ["remediationRequestRef", "targetResource", "workflowRef"]


@pytest.mark.parametrize(
    ("path", "literal"),
    [
        ("spec.workflowRef.executionEngine", _api.EngineName),
        ("status.phase", _api.Phase),
        ("status.failureDetails.reason", _api.Reason),
    ],
)
def test_enums_are_the_literals(path: str, literal: Any) -> None:
    assert at(path)["type"] == "string"
    assert set(at(path)["enum"]) == set(get_args(literal))


def test_the_one_rule_is_that_the_spec_does_not_change() -> None:
    assert at("spec")["x-kubernetes-validations"] == [
        {"rule": "self == oldSelf", "message": "spec is immutable after creation (ADR-001)"}
    ]
    without = [(key, node) for key, node in walk(SCHEMA) if node is not at("spec")]
    assert not [key for key, node in without if "x-kubernetes-validations" in node]
    limits = {"default", "minLength", "maxLength", "pattern", "minimum", "maximum", "minItems"}
    in_spec = [(key, limits & set(node)) for key, node in walk(at("spec"))]
    assert not [key for key, found in in_spec if found]


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from walk(schema[name], f"{path}[]")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spec.timesOutAt", {"type": "string", "format": "date-time"}),
        ("spec.confidence", {"type": "number"}),
        ("spec.parameters", {"type": "object", "additionalProperties": {"type": "string"}}),
        ("spec.remediationRequestRef", {"x-kubernetes-map-type": "atomic"}),
        (
            "spec.workflowRef.engineConfig",
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        ),
        (
            "spec.workflowRef.declaredParameterNames",
            {"type": "object", "nullable": True, "additionalProperties": {"type": "boolean"}},
        ),
        (
            "spec.workflowRef.resources.limits",
            {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
        ),
        (
            "spec.workflowRef.resources.claims",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        (
            "status.conditions",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
        ("status.observedGeneration", {"type": "integer", "format": "int64"}),
        ("status.failureDetails.exitCode", {"type": "integer", "format": "int32"}),
        ("status.executionStatus.retryCount", {"type": "integer", "format": "int32"}),
    ],
)
def test_members_of_special_types(path: str, expected: dict[str, Any]) -> None:
    schema = at(path)
    assert {key: schema[key] for key in expected} == expected


def test_null_is_taken_for_the_declared_parameters_alone() -> None:
    nullable = [path for path, node in walk(SCHEMA) if node.get("nullable")]
    assert nullable == [".spec.workflowRef.declaredParameterNames"]


def test_a_condition_is_that_of_kubernetes() -> None:
    condition = at("status.conditions[]")
    assert condition["required"] == ["lastTransitionTime", "message", "reason", "status", "type"]
    assert set(condition["properties"]) == {
        field.encode_name for field in msgspec.structs.fields(Condition)
    }
    assert condition["properties"]["status"]["enum"] == ["True", "False", "Unknown"]


def test_what_is_said_beyond_types_names_members_that_exist() -> None:
    for struct, name in _crd._BEYOND_TYPES:
        assert name in struct.__struct_fields__


def test_columns_and_selectable_fields_lead_to_members() -> None:
    columns = {one["name"]: one for one in VERSION["additionalPrinterColumns"]}
    assert list(columns) == [
        *("Phase", "Workflow", "WorkflowID", "Target", "Duration", "Reason", "Age"),
    ]
    wide = [name for name, one in columns.items() if one.get("priority")]
    assert wide == ["WorkflowID", "Reason"]
    paths = [one["jsonPath"] for one in VERSION["selectableFields"]]
    assert paths == [".spec.remediationRequestRef.name", ".spec.targetResource"]
    paths += [one["jsonPath"] for one in columns.values() if one["name"] not in {"Reason", "Age"}]
    for path in paths:
        assert at(path.removeprefix("."))["type"] == "string"


def test_a_type_that_the_api_does_not_have_is_refused() -> None:
    for kind in (bytes, int | bool, dict[str, tuple[int, ...]]):
        with pytest.raises(TypeError, match="no schema for"):
            _crd._type(inspect.type_info(kind))
