"""Parameters, names and labels of what is created (catalogue 3.3 parameter_filtering, 3.4).

A label that is not legal would be refused by the API server, so that a run which exists shows that
its labels are. What labels cannot hold is in the annotations, uncut.
"""

import uuid
from typing import Any

import pytest

from test.operator_process import OperatorProcess
from test.polling import wait_for
from test.workflow_executions import COMPLETED, FAILED, Executions, Object, Trails

GIVEN = {
    "NAMESPACE": "payments",
    "REPLICAS": "3",
    "HALLUCINATED": "a-secret-hallucination",
    "INJECTED": "a-secret-injection",
}
DECLARED = {"NAMESPACE": True, "REPLICAS": True, "INJECTED": False}
KEPT = {"NAMESPACE": "payments", "REPLICAS": "3"}
HOME = {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108  (in a container)
ILLEGIBLE = {
    ord(letter): 0x4E00 + ord(letter) for letter in "-0123456789abcdefghijklmnopqrstuvwxyz"
}
"""Letters of a namespace, each made another that no label can have."""
HANG = {"simulation.kubernaut.ai/hang": "true"}

ODD_TARGETS = {
    "long": f"{{}}/deployment/{'a' * 200}",
    "cut-after-a-dash": f"{{}}/deployment/{'a' * 32}-{'b' * 30}",
    "cut-after-dots": f"{{}}/deployment/{'a' * 30}...{'b' * 30}",
    "ends-in-a-dash": "{}/deployment/app-",
    "ends-in-an-underscore": "{}/deployment/app_",
    "ends-in-a-dot": "{}/deployment/app.",
    "begins-oddly": "-{}/deployment/app",
    "another-alphabet": "{}/deployment/aplicación-支付",
    "spaces": "{}/deployment/my app",
    "equals-and-comma": "{}/deployment/a=b,c!=d",
}
"""With a namespace, they are a test's own."""
ODD_WORKFLOWS = {
    "slashes-and-colons": "team/restart:v1",
    "spaces": "restart deployment",
    "another-alphabet": "再起動",
    "long": "w" * 300,
    "ends-in-a-dash": "restart-",
    "quotes": 'it\'s "quoted"',
}


def params_of(run: Object) -> dict[str, str]:
    """The parameters of a PipelineRun; each is there once, and a text."""
    found = run["spec"]["params"]
    assert len({one["name"] for one in found}) == len(found)
    assert all(isinstance(one["value"], str) for one in found)
    return {one["name"]: one["value"] for one in found}


def env_of(job: Object) -> dict[str, str]:
    """The environment of the container of a Job."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    found = container["env"]
    assert len({one["name"] for one in found}) == len(found)
    return {one["name"]: one.get("value", "") for one in found}


def passed(executions: Executions, engine: str, declared: Any, given: dict[str, str]) -> Any:
    """What a workflow gets, without `TARGET_RESOURCE`, which is always the target."""
    name = f"wfe-{uuid.uuid4().hex[:8]}"
    target = executions.target(name)
    # None would be left out by `manifest`, and means the same.
    executions.create(
        name,
        target=target,
        engine=engine,
        annotations=HANG,
        workflow={"declaredParameterNames": declared},
        parameters=given,
    )
    if engine == "tekton":
        values = params_of(executions.wait_child(target))
    else:
        values = env_of(executions.wait_child(target, "jobs"))
        assert {key: values.pop(key) for key in HOME} == HOME
    assert values.pop("TARGET_RESOURCE") == target
    return values


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_243_001_243_010_undeclared_parameters_are_stripped(
    executions: Executions, operator: OperatorProcess, engine: str
) -> None:
    assert passed(executions, engine, DECLARED, GIVEN) == KEPT

    def logged() -> list[str]:
        return [
            line["event"]
            for line in operator.log_lines()
            if executions.namespace in line["event"] and "not passed on" in line["event"]
        ]

    (line,) = wait_for(logged, 10, "a line that says it")
    assert line.endswith(": HALLUCINATED, INJECTED")
    assert "a-secret" not in operator.log(), "names are told, values are not"


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_243_002_243_011_without_declarations_all_pass(executions: Executions, engine: str) -> None:
    assert passed(executions, engine, None, GIVEN) == GIVEN


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_243_003_with_empty_declarations_none_passes(executions: Executions, engine: str) -> None:
    assert passed(executions, engine, {}, GIVEN) == {}


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_names_that_are_the_operators_are_dropped(executions: Executions, engine: str) -> None:
    ours = dict.fromkeys(
        ("TARGET_RESOURCE", "HOME", "TMPDIR", "WFE_X", "WFE_NAME", "RR_NAME"), "forged"
    )
    assert passed(executions, engine, None, KEPT | ours) == KEPT
    assert passed(executions, engine, DECLARED | dict.fromkeys(ours, True), KEPT | ours) == KEPT


def test_values_of_any_content_arrive(executions: Executions) -> None:
    odd = {
        "EMPTY": "",
        "LINES": "a\nb\n",
        "QUOTED": "\"'$(x)$$",
        "OTHER": "支付 ✓",
        "LONG": "x" * 9999,
    }
    assert passed(executions, "tekton", None, odd) == odd
    assert passed(executions, "job", None, odd) == odd


@pytest.mark.parametrize("engine", ["tekton", "job"])
def test_targets_that_no_label_can_hold(
    executions: Executions, trails: Trails, engine: str
) -> None:
    plural = "pipelineruns" if engine == "tekton" else "jobs"
    targets = {name: odd.format(executions.namespace) for name, odd in ODD_TARGETS.items()}
    targets["nothing-legal"] = f"支/{executions.namespace.translate(ILLEGIBLE)}"
    for name, target in targets.items():
        executions.create(name, target=target, engine=engine)
    labels = set()
    for name, target in targets.items():
        child = executions.wait_child(target, plural)
        assert child["metadata"]["annotations"]["kubernaut.ai/target-resource"] == target
        labels.add(child["metadata"]["labels"]["kubernaut.ai/target-resource"])
        passed_on = params_of(child) if engine == "tekton" else env_of(child)
        assert passed_on["TARGET_RESOURCE"] == target
        if engine == "tekton":
            executions.wait_phase(name, "Running")
            executions.succeed(target)
    assert "" in labels
    assert max(map(len, labels)) <= 63
    for name, target in targets.items():
        executions.wait_phase(name, "Completed", 30)
        told = trails.wait_types(f"rr-{executions.namespace}-{name}", COMPLETED)
        assert told[-1]["event_data"]["target_resource"] == target


def test_workflow_ids_that_no_label_can_hold(executions: Executions, trails: Trails) -> None:
    for name, odd in ODD_WORKFLOWS.items():
        executions.create(name, workflow={"workflowId": odd})
    for name, odd in ODD_WORKFLOWS.items():
        executions.wait_phase(name, "Running")
        child = executions.wait_child(executions.target(name))
        assert child["metadata"]["annotations"]["kubernaut.ai/workflow-id"] == odd
        executions.succeed(executions.target(name))
    for name, odd in ODD_WORKFLOWS.items():
        executions.wait_phase(name, "Completed")
        told = trails.wait_types(f"rr-{executions.namespace}-{name}", COMPLETED)
        assert told[0]["event_data"]["workflow_id"] == odd


@pytest.mark.parametrize("engine", ["tekton", "job"])
@pytest.mark.parametrize("length", [63, 64, 253])
def test_names_longer_than_a_label(
    executions: Executions, trails: Trails, engine: str, length: int
) -> None:
    plural = "pipelineruns" if engine == "tekton" else "jobs"
    name = ("a-very.long-name-" * 20)[: length - 1] + "z"
    twin = name[:-1] + "y"  # The same, once it is cut.
    target, request = executions.target(), f"rr-{executions.namespace}"
    executions.create(name, target=target, engine=engine, request=request, annotations=HANG)
    executions.wait_phase(name, "Running")
    child = executions.wait_child(target, plural)
    whose = f"{executions.namespace}/{name}"
    assert child["metadata"]["annotations"]["kubernaut.ai/workflow-execution"] == whose
    executions.create(twin, target=target, engine=engine)
    assert executions.wait_phase(twin, "Failed")["deduplicatedBy"] == name
    executions.delete(twin)
    wait_for(lambda: not executions.exists(twin), 15, "the twin is gone")
    assert executions.child(target, plural) is not None
    executions.delete_child(target, plural)
    executions.wait_phase(name, "Failed")
    told = trails.wait_types(request, FAILED)
    assert {one["resource_id"] for one in told} == {name}
    wait_for(lambda: "WorkflowFailed" in executions.reasons(name), 10, "its Events")


def test_an_audit_id_longer_than_an_event_can_hold(executions: Executions, trails: Trails) -> None:
    request = f"rr-{executions.namespace}-".ljust(300, "x")
    executions.create(request=request)
    executions.wait_phase("wfe", "Running")
    executions.succeed(executions.target("wfe"))
    executions.wait_phase("wfe", "Completed")
    trails.wait_types(request[:255], COMPLETED)
