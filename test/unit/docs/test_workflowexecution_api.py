"""The page on the API of WorkflowExecutions, as it is built, says what types and code do."""

import copy
import importlib.util
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, get_args

import msgspec
import pytest
import yaml

from kubernaut.workflowexecution import _api, _conditions, _names, crd
from kubernaut.workflowexecution._api import WORKFLOW_EXECUTIONS
from kubernaut.workflowexecution._run import RunDefaults, SpecError, run_of
from test.unit.docs.pages import (
    DOCS,
    anchors,
    blocks,
    codes,
    first_codes,
    headings,
    prose,
    read,
    section,
    table,
)

TEXT: Final = read("reference/workflowexecution-api")
CREATED: Final = datetime(2026, 1, 1, tzinfo=UTC)


def extension() -> Any:
    """The module `docs/_ext/workflow_execution.py`, without Sphinx."""
    path = DOCS / "_ext" / "workflow_execution.py"
    spec = importlib.util.spec_from_file_location("workflow_execution", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built() -> str:
    """The page as it is built."""
    made = extension()
    assert read(made.PAGE) == TEXT
    assert TEXT.count(made.MARKER) == 1
    return TEXT.replace(made.MARKER, made.members())


PAGE: Final = built()
EXAMPLE: Final = yaml.safe_load(blocks(TEXT, "yaml")[0])


def objects(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "properties" in schema:
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from objects(f"{path}.{name}", inner)
    elif "items" in schema:
        yield from objects(f"{path}[]", schema["items"])


SCHEMA: Final = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
OBJECTS: Final = dict([*objects("spec", SCHEMA["spec"]), *objects("status", SCHEMA["status"])])
ALIKE: Final = {
    "spec.workflowRef.dependencies.configMaps[]": "spec.workflowRef.dependencies.secrets[]",
    "status.executionRef": "spec.workflowRef.dependencies.secrets[]",
    "status.pipelineRunRef": "spec.workflowRef.dependencies.secrets[]",
    "status.pipelineRunStatus": "status.executionStatus",
}
"""Objects that have the same members as another one, which is shown."""


@pytest.mark.parametrize("path", OBJECTS)
def test_every_object_has_its_section_with_all_members(path: str) -> None:
    schema = OBJECTS[path]
    shown = ALIKE.get(path, path)
    assert headings(PAGE).count(shown) == 1
    assert (path in headings(PAGE)) == (shown == path)
    required = schema.get("required", [])
    documented = {codes(row[0])[0]: row[1] for row in table(PAGE, shown)}
    assert documented == {
        name: "yes" if name in required else "no" for name in schema["properties"]
    }


def test_links_of_the_tables_lead_to_sections() -> None:
    found = set(anchors(PAGE))
    links = re.findall(r"\]\(#([^)]*)\)", prose(PAGE))
    assert len(links) > 10
    assert set(links) <= found


def test_every_word_of_an_enumeration_is_shown() -> None:
    for literal in (_api.Phase, _api.EngineName, _api.Reason):
        for word in get_args(literal):
            assert f"`{word}`" in section(PAGE, "Members"), word


def test_the_conditions_are_those_of_the_code() -> None:
    documented = {
        codes(row[0])[0]: (*codes(row[1]), *codes(row[2])) for row in table(TEXT, "Conditions")
    }
    assert documented == _conditions.REASONS


def constants(module: Any, ending: str) -> set[str]:
    return {
        value
        for name, value in vars(module).items()
        if name.endswith(ending) and not name.startswith("_")
    }


def test_annotations_and_labels_are_those_of_the_code() -> None:
    _, on_what_runs = section(TEXT, "Labels").split("On what runs a workflow")
    labels, annotations = on_what_runs.split("In values of labels")
    assert set(re.findall(r"^\| `(kubernaut\.ai/\S+)`", labels, re.MULTILINE)) == constants(
        _names, "_LABEL"
    )
    assert set(re.findall(r"^\| `(kubernaut\.ai/\S+)`", annotations, re.MULTILINE)) == constants(
        _names, "_ANNOTATION"
    )
    assert set(first_codes(table(TEXT, "Annotations"))) == constants(_api, "_ANNOTATION")
    assert f"`{_api.CORRELATION_LABEL}`" in section(TEXT, "Labels")
    assert f"`{_api.FINALIZER}`" in section(TEXT, "Finalizer")


def test_the_rules_for_labels_are_those_of_the_code() -> None:
    assert _names.label_value("shop/deployment/checkout") == "shop__deployment__checkout"
    assert _names.label_value("a b:c") == "a_b_c"
    assert len(_names.label_value("a" * 99)) == 63


def execution(spec: Mapping[str, Any]) -> _api.WorkflowExecution:
    body = EXAMPLE | {"spec": spec}
    body["metadata"] = body["metadata"] | {"creationTimestamp": CREATED}
    return WORKFLOW_EXECUTIONS.decoder.decode(msgspec.json.encode(body))


def test_the_example_can_be_run() -> None:
    run = run_of(execution(EXAMPLE["spec"]), RunDefaults())
    assert (run.engine, run.target) == ("tekton", "shop/deployment/checkout")
    for path, schema in OBJECTS.items():
        part: Any = EXAMPLE
        for name in path.removesuffix("[]").split("."):
            part = part.get(name, {})
        if path.startswith("spec") and part:
            assert part.keys() <= schema["properties"].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [(codes(row[0])[0], codes(row[1])[0]) for row in table(TEXT, "What fails")],
)
def test_what_fails_fails_with_that_message(change: str, message: str) -> None:
    spec = copy.deepcopy(EXAMPLE["spec"])
    for name, value in yaml.safe_load(change).items():
        if isinstance(value, dict):
            spec[name] = {
                key: given for key, given in (spec[name] | value).items() if given is not None
            }
        else:
            spec[name] = value
    with pytest.raises(SpecError) as raised:
        run_of(execution(spec), RunDefaults())
    assert str(raised.value).startswith(message)


def test_an_older_object_without_an_engine_is_tektons() -> None:
    spec = copy.deepcopy(EXAMPLE["spec"])
    del spec["workflowRef"]["executionEngine"]
    spec["workflowRef"]["containerImage"] = spec["workflowRef"].pop("executionBundle")
    assert run_of(execution(spec), RunDefaults()).engine == "tekton"


def test_parameters_are_passed_on_as_the_page_says() -> None:
    ours = ["TARGET_RESOURCE", "HOME", "TMPDIR", "WFE_NAME", "RR_NAME"]
    given = dict.fromkeys([*ours, "A", "B"], "x")
    spec = EXAMPLE["spec"] | {"parameters": given}
    run = run_of(execution(spec), RunDefaults())
    assert set(run.parameters) == {"A", "B"}
    assert set(run.dropped) == set(ours)
    spec["workflowRef"] = spec["workflowRef"] | {"declaredParameterNames": {"A": True, "B": False}}
    assert set(run_of(execution(spec), RunDefaults()).parameters) == {"A"}
