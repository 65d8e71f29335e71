"""WorkflowExecutions as people write them, in YAML, checked before the API server sees them.

A member that the API does not have is refused: the API server would drop it without a word.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution, crd

_STDIN: Final = "-"
_HEAD: Final = ("apiVersion", "kind", "metadata", "status")


class ManifestError(Exception):
    """What was given is no WorkflowExecution; the text says where and why."""


def read_manifests(file: str) -> list[WorkflowExecution]:
    """The objects of a file with one or several documents; `-` is standard input.

    Raises:
        ManifestError: it cannot be read, or something in it is no WorkflowExecution.
    """
    name = "standard input" if file == _STDIN else file
    try:
        text = sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ManifestError(f"{name} cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise ManifestError(f"{name} is not YAML{place}") from None
    if not documents:
        raise ManifestError(f"{name} holds no object")
    found = []
    for number, one in enumerate(_each(documents), start=1):
        try:
            found.append(manifest(one))
        except ManifestError as error:
            place = f"{name}, object {number}" if len(documents) > 1 else name
            raise ManifestError(f"{place}: {error}") from None
    return found


def _each(documents: list[Any]) -> Iterator[Any]:
    """The documents; the items of one that is a list, as `wfe list -o yaml` writes it."""
    for one in documents:
        if isinstance(one, dict) and one.get("kind") == "List":
            yield from one.get("items") or ()
        else:
            yield one


def manifest(document: Any) -> WorkflowExecution:
    """An object to be created: its spec and what people write of the metadata.

    Raises:
        ManifestError: it is none.
    """
    if not isinstance(document, dict):
        raise ManifestError("it is no object")
    wanted = (WORKFLOW_EXECUTIONS.api_version, WORKFLOW_EXECUTIONS.kind)
    given = (document.get("apiVersion"), document.get("kind"))
    if given != wanted:
        raise ManifestError(
            f"it is {given[0] or 'no apiVersion'}, {given[1] or 'no kind'}; needed is"
            f" {wanted[0]}, {wanted[1]}"
        )
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    if unknown := [one for one in _unknown(document, schema, "") if one not in _HEAD]:
        raise ManifestError(f"the API has no {', '.join(unknown)}")
    try:
        wfe = msgspec.convert(document, WorkflowExecution)
    except msgspec.ValidationError as error:
        raise ManifestError(_mended(str(error))) from None
    metadata = msgspec.structs.replace(
        wfe.metadata,
        uid="",
        resource_version="",
        generation=0,
        creation_timestamp=None,
        deletion_timestamp=None,
        finalizers=[],
    )
    if not (metadata.name or metadata.generate_name):
        raise ManifestError("metadata.name is missing")
    return WorkflowExecution(metadata=metadata, spec=wfe.spec)


def _unknown(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """The members that the schema does not have; a map's are anybody's."""
    if isinstance(value, list):
        for one in value:
            yield from _unknown(one, schema.get("items", {}), f"{path}[]")
    properties = schema.get("properties")
    if not isinstance(value, dict) or properties is None:
        return
    for name, inner in value.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in properties:
            yield where
        else:
            yield from _unknown(inner, properties[name], where)


def _mended(text: str) -> str:
    """What msgspec says, in the words of a manifest."""
    said, _, path = text.partition(" - at `$.")
    line = said.replace("`", "")
    if path:
        line = f"{path.removesuffix('`')}: {line}"
    if line.endswith(("Expected str, got int", "Expected str, got bool")):
        line += " (put it in quotes)"
    return line
