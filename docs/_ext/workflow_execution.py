"""Writes the members of a WorkflowExecution into their page from the schema that the cluster gets.

The page holds `MARKER`; what stands there when Sphinx reads the page is made here, so that the
page cannot say anything else than the custom resource definition.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubernaut.workflowexecution import crd

PAGE: Final = "reference/workflowexecution-api"
MARKER: Final = "<!-- the members of a WorkflowExecution -->"

_FORMATS: Final = {
    "date-time": "time (RFC 3339)",
    "int32": "integer of 32 bits",
    "int64": "integer",
}

Schema = Mapping[str, Any]


def members() -> str:
    """A section for each object, in the order of the schema, as Markdown."""
    version = crd()["spec"]["versions"][0]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    found = [
        (path, schema)
        for part in ("spec", "status")
        for path, schema in _objects(part, properties[part])
    ]
    first: dict[str, str] = {}
    lines: list[str] = []
    for path, schema in found:
        # What has the same members as another object is described once.
        if first.setdefault(_shape(schema), path) != path:
            continue
        lines += [f"### {path}", ""]
        if about := schema.get("description"):
            lines += [f"{about}.", ""]
        lines += [*_table(path, schema, first), ""]
    return "\n".join(lines)


def _objects(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The objects in a schema, outer ones first."""
    if "properties" in schema:
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from _objects(f"{path}.{name}", inner)
    elif "items" in schema:
        yield from _objects(f"{path}[]", schema["items"])


def _shape(schema: Schema) -> str:
    return json.dumps([schema["properties"], schema.get("required", [])], sort_keys=True)


def _table(path: str, schema: Schema, first: dict[str, str]) -> Iterator[str]:
    yield from ("| Member | Required | Type | Meaning |", "|---|---|---|---|")
    required = schema.get("required", [])
    for name, inner in schema["properties"].items():
        needed = "yes" if name in required else "no"
        about = inner.get("description", "")
        yield f"| `{name}` | {needed} | {_type(f'{path}.{name}', inner, first)} | {about} |"


def _type(path: str, schema: Schema, first: dict[str, str]) -> str:
    if "properties" in schema:
        there = first.setdefault(_shape(schema), path)
        text = f"[{there}](#{_anchor(there)})"
    elif "items" in schema:
        text = f"list of {_type(f'{path}[]', schema['items'], first)}"
    elif "additionalProperties" in schema:
        text = f"map to {_type(path, schema['additionalProperties'], first)}"
    elif "enum" in schema:
        text = ", ".join(f"`{value}`" for value in schema["enum"])
    elif schema.get("x-kubernetes-int-or-string"):
        text = "quantity: integer or string"
    elif schema.get("x-kubernetes-preserve-unknown-fields"):
        text = "object of any members"
    else:
        text = _FORMATS.get(schema.get("format", ""), str(schema["type"]))
    return f"{text}, or null" if schema.get("nullable") else text


def _anchor(heading: str) -> str:
    """As GitHub and MyST make it."""
    return "".join(sign for sign in heading.lower() if sign.isalnum() or sign in "-_")


def _write(_app: Any, name: str, source: list[str]) -> None:
    if name == PAGE:
        source[0] = source[0].replace(MARKER, members())


def _always(*_: Any) -> list[str]:
    return [PAGE]  # It depends on code, not only on its own text.


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", _write)
    app.connect("env-get-outdated", _always)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
