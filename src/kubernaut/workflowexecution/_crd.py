"""The custom resource definition of WorkflowExecutions, made from the types in `_api.py`.

What it guarantees:

- A member of a type is a property of the schema, under the same name, and there is no other one.
- A member without a default is required. A member with one has no default in the schema: the API
  server never writes anything into a spec.
- The one rule about values is that the spec does not change.
- Equal types give an equal text, so that the file in `config/crd` can be compared with it.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from msgspec import Struct, inspect

from kubernaut.kubernetes import Condition
from kubernaut.workflowexecution._api import (
    WORKFLOW_EXECUTIONS,
    ExecutionStatus,
    FailureDetails,
    WorkflowExecution,
    WorkflowExecutionSpec,
    WorkflowExecutionStatus,
    WorkflowReference,
)

_HEAD: Final = """\
# Made by `kubernaut operator crd` from the types of kubernaut.workflowexecution.
# To change it, change those and run: kubernaut operator crd > config/crd/{file}
"""
FILE: Final = f"{WORKFLOW_EXECUTIONS.group}_{WORKFLOW_EXECUTIONS.plural}.yaml"
"""The name of the file in `config/crd`."""

_IMMUTABLE: Final = {
    "rule": "self == oldSelf",
    "message": "spec is immutable after creation (ADR-001)",
}
_SMALL: Final = {"format": "int32"}
_BEYOND_TYPES: Final[Mapping[tuple[type[Struct], str], Mapping[str, Any]]] = {
    # The whole reference is one value, as in Kubernetes' own kinds.
    (WorkflowExecutionSpec, "remediation_request_ref"): {"x-kubernetes-map-type": "atomic"},
    # Go's clients write it even where it is not set.
    (WorkflowReference, "declared_parameter_names"): {"nullable": True},
    (ExecutionStatus, "retry_count"): _SMALL,
    (FailureDetails, "exit_code"): _SMALL,
    (WorkflowExecutionStatus, "consecutive_failures"): _SMALL,
}
"""What the schema says of a member and its type cannot."""

_PLAIN: Final[Mapping[type[inspect.Type], Mapping[str, Any]]] = {
    inspect.StrType: {"type": "string"},
    inspect.BoolType: {"type": "boolean"},
    inspect.IntType: {"type": "integer", "format": "int64"},
    inspect.FloatType: {"type": "number"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
}

_COLUMNS: Final = (
    ("Phase", "string", ".status.phase", 0),
    ("Workflow", "string", ".spec.workflowRef.workflowName", 0),
    ("WorkflowID", "string", ".spec.workflowRef.workflowId", 1),
    ("Target", "string", ".spec.targetResource", 0),
    ("Duration", "string", ".status.duration", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
"""What `kubectl get` shows: name, type, path, and 1 for what only `-o wide` shows."""
_SELECTABLE: Final = (".spec.remediationRequestRef.name", ".spec.targetResource")

# `meta/v1.Condition`. Our own type also reads the conditions of other kinds, which lack some
# members, so it does not say what the API server is to require.
_CONDITION: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
    "properties": {
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "message": {"type": "string", "maxLength": 32768},
        "lastTransitionTime": {
            "description": "When the status changed last",
            "type": "string",
            "format": "date-time",
        },
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
    },
}


def crd() -> dict[str, Any]:
    """The definition, as the API server takes it; the caller's to change."""
    resource = WORKFLOW_EXECUTIONS
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": ["wfe"],
                "categories": ["kubernaut"],
            },
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(_columns()),
                    "selectableFields": [{"jsonPath": path} for path in _SELECTABLE],
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def crd_yaml() -> str:
    """The text of `config/crd/kubernaut.ai_workflowexecutions.yaml`."""
    text = yaml.dump(crd(), Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True)
    return _HEAD.format(file=FILE) + text


class _Plain(yaml.SafeDumper):
    """Writes equal parts in full: not every reader of YAML follows an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML's signature)
        return True


def _columns() -> Iterator[dict[str, Any]]:
    for name, kind, path, priority in _COLUMNS:
        column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
        yield column | ({"priority": priority} if priority else {})


def _root() -> dict[str, Any]:
    schema = _struct(WorkflowExecution)
    head: dict[str, Any] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    # The API server knows what metadata is, and lets no schema say it.
    schema["properties"] = head | schema["properties"] | {"metadata": {"type": "object"}}
    schema["properties"]["spec"]["x-kubernetes-validations"] = [dict(_IMMUTABLE)]
    return schema


def _struct(cls: type[Struct]) -> dict[str, Any]:
    """The schema of an object, described by the first paragraph of its docstring."""
    if cls is Condition:
        return copy.deepcopy(dict(_CONDITION))
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)  # noqa: S101  (for the type checker)
    about = " ".join((cls.__doc__ or "").partition("\n\n")[0].split()).removesuffix(".")
    schema: dict[str, Any] = {"description": about, "type": "object"}
    if required := sorted(field.encode_name for field in info.fields if field.required):
        schema["required"] = required
    schema["properties"] = {
        field.encode_name: _type(field.type) | dict(_BEYOND_TYPES.get((cls, field.name), {}))
        for field in info.fields
    }
    return schema


def _type(kind: inspect.Type) -> dict[str, Any]:
    """The schema of a type.

    Raises:
        TypeError: the API has no such type. Say it otherwise in `_api.py`, or teach it here.
    """
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            extra = copy.deepcopy(extra or {})
            # First, for who reads the YAML; and in place of what the type says of itself.
            schema = ({"description": ""} if "description" in extra else {}) | _type(inner) | extra
        case inspect.UnionType(types=types):
            schema = _union([one for one in types if not isinstance(one, inspect.NoneType)])
        case inspect.LiteralType(values=values):
            schema = {"type": "string", "enum": list(values)}
        case inspect.ListType(item_type=item):
            schema = {"type": "array", "items": _type(item)}
        case inspect.DictType(value_type=inspect.AnyType()):
            schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case inspect.DictType(value_type=value):
            schema = {"type": "object", "additionalProperties": _type(value)}
        case inspect.StructType(cls=cls):
            schema = _struct(cls)
        case _ if type(kind) in _PLAIN:
            schema = dict(_PLAIN[type(kind)])
        case _:
            raise TypeError(f"no schema for {kind}")
    return schema


def _union(types: list[inspect.Type]) -> dict[str, Any]:
    """The schema of a type that may be left out, or of a number with a unit (`1`, `100Mi`)."""
    if {type(one) for one in types} == {inspect.IntType, inspect.StrType}:
        return {"x-kubernetes-int-or-string": True}
    if len(types) != 1:
        raise TypeError(f"no schema for one of {types}")
    return _type(types[0])
