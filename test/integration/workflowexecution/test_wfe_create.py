"""`kubernaut wfe create`, against a real API server."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import (
    samples,
)
from test.integration.workflowexecution.wfe_command import (
    COMPLETED,
    FAILED,
    RUNNING,
    SECONDS,
    Object,
    Wfe,
    cluster,
    executions,
    manifest,
    start,
    wfe,
)
from test.polling import wait_for
from test.workflow_executions import Executions, new_executions

__all__ = ["cluster", "executions", "wfe"]  # Fixtures, found by name.


def test_the_samples_are_created_from_one_stream(wfe: Wfe, executions: Executions) -> None:
    objects = samples("registry.example")
    for one in objects:
        del one["metadata"]["namespace"]
    said = wfe.says("create", "-f", "-", given=yaml.safe_dump_all(objects))
    names = [one["metadata"]["name"] for one in objects]
    assert said.splitlines() == [f"workflowexecution.kubernaut.ai/{name} created" for name in names]
    for one in objects:
        made = executions.get(one["metadata"]["name"])
        assert made["spec"] == one["spec"]
        assert made["metadata"].get("annotations") == one["metadata"].get("annotations")


def test_what_list_writes_can_be_created_again_elsewhere(
    wfe: Wfe, cluster: LocalCluster, executions: Executions, tmp_path: Path
) -> None:
    executions.create("one", labels={"team": "shop"})
    executions.patch_status("one", FAILED)
    whole = yaml.safe_load(wfe.says("list", "-o", "yaml"))
    for one in whole["items"]:
        del one["metadata"]["namespace"]
    file = tmp_path / "kept.yaml"
    file.write_text(yaml.safe_dump(whole))
    other = new_executions(cluster)
    Wfe(cluster, other.namespace)("create", "-f", str(file))
    assert other.get("one")["spec"] == executions.get("one")["spec"]
    assert other.get("one")["metadata"]["labels"] == {"team": "shop"}
    assert other.status("one") == {}


def test_one_is_created_from_options(wfe: Wfe, executions: Executions) -> None:
    options = ["--workflow", "restart", "--workflow-version", "1.2", "--bundle", "r.example/w:1"]
    options += ["--engine", "job", "--target", "shop/deployment/cart", "--param", "A=b=c"]
    options += ["--param", "EMPTY=", "--remediation-request", "rr-7", "--timeout", "1h30m"]
    wfe("create", "mine", *options)
    made = executions.get("mine")
    ends = made["spec"].pop("timesOutAt")
    assert made["spec"] == {
        "remediationRequestRef": {"name": "rr-7"},
        "workflowRef": {
            "workflowId": "restart",
            "version": "1.2",
            "executionBundle": "r.example/w:1",
            "executionEngine": "job",
        },
        "targetResource": "shop/deployment/cart",
        "parameters": {"A": "b=c", "EMPTY": ""},
    }
    created = made["metadata"]["creationTimestamp"]
    assert created[:11] < ends
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ends)
    assert wfe.complains("create", "mine", *options) == (
        f"mine exists already in namespace {executions.namespace}"
    )


WRONG: Final[Mapping[str, tuple[object, str]]] = {
    "a member that is misspelt": (
        manifest(workflowRef={"workflowId": "w", "versoin": "1"}),
        "standard input: the API has no spec.workflowRef.versoin",
    ),
    "a number for a text": (
        manifest(parameters={"REPLICAS": 3}),
        "standard input: spec.parameters[...]: Expected str, got int (put it in quotes)",
    ),
    "a member that is missing": (
        manifest(workflowRef={"workflowId": "w"}),
        "standard input: spec.workflowRef: Object missing required field version",
    ),
    "another kind": (
        {"apiVersion": "v1", "kind": "Pod"},
        "standard input: it is v1, Pod; needed is kubernaut.ai/v1alpha1, WorkflowExecution",
    ),
    "no object": ("a text", "standard input: it is no object"),
    "no name": (
        manifest() | {"metadata": {}},
        "standard input: metadata.name is missing",
    ),
    "another namespace": (
        manifest() | {"metadata": {"name": "bad", "namespace": "elsewhere"}},
        "bad is for namespace elsewhere, and -n says ",
    ),
}


@pytest.mark.parametrize(("document", "line"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_a_file_is_one_line(wfe: Wfe, document: object, line: str) -> None:
    assert wfe.complains("create", "-f", "-", given=json.dumps(document)).startswith(line)


def test_nothing_is_created_if_one_of_several_is_wrong(wfe: Wfe, executions: Executions) -> None:
    good = manifest() | {"metadata": {"name": "good"}}
    text = yaml.safe_dump_all([good, manifest(wrong=1)])
    assert wfe.complains("create", "-f", "-", given=text) == (
        "standard input, object 2: the API has no spec.wrong"
    )
    assert not executions.exists("good")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "NAME, --workflow, --workflow-version, --bundle, --target missing; or give -f FILE"),
        (["x", "-f", "y"], "give either -f or a name with options"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(wfe: Wfe, arguments: list[str], line: str) -> None:
    assert wfe.complains("create", *arguments, code=2) == line


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (["--param", "A"], "--param A: write NAME=VALUE"),
        (["--timeout", "soon"], "--timeout soon: write 90s, 10m or 1h30m"),
    ],
)
def test_a_wrong_value_is_exit_code_2(wfe: Wfe, option: list[str], line: str) -> None:
    least = ["x", "--workflow", "w", "--workflow-version", "1", "--bundle", "b", "--target", "a/b"]
    assert wfe.complains("create", *least, *option, code=2) == line


def test_files_that_cannot_be_read_are_named(wfe: Wfe, tmp_path: Path) -> None:
    missing, broken = tmp_path / "missing", tmp_path / "broken"
    broken.write_text("a: b\nc: [")
    assert wfe.complains("create", "-f", str(missing)) == (
        f"{missing} cannot be read: No such file or directory"
    )
    assert wfe.complains("create", "-f", str(broken)).startswith(f"{broken} is not YAML in line")


@pytest.mark.parametrize(("status", "code"), [(COMPLETED, 0), (FAILED, 1)])
def test_created_and_watched_it_ends_with_the_run(
    wfe: Wfe, executions: Executions, status: Object, code: int
) -> None:
    text = json.dumps(manifest() | {"metadata": {"name": "seen"}})
    with start(wfe, "create", "-f", "-", "--watch", "-n", executions.namespace) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(text)
        running.stdin.close()
        wait_for(lambda: executions.exists("seen"), SECONDS, "the object")
        executions.patch_status("seen", RUNNING)
        executions.patch_status("seen", status)
        said = running.stdout.read()
        assert running.wait(SECONDS) == code
    assert "workflowexecution.kubernaut.ai/seen created\n" in said
    assert re.search(r"seen  (Completed in 45s|Failed, TaskFailed: )", said)
