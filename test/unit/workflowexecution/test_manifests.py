"""The files in `config`: what they grant, and what the samples ask for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from kubernaut.workflowexecution import _manifests
from kubernaut.workflowexecution._api import GROUP, VERSION, WORKFLOW_EXECUTIONS
from kubernaut.workflowexecution._manifests import rbac, sample_workflows, samples
from kubernaut.workflowexecution._permissions import PERMISSIONS, Place
from kubernaut.workflowexecution._run import RunDefaults, SpecError, run_of

CONFIG: Final = Path(__file__).resolve().parents[3] / "config"
OPERATOR: Final = "workflowexecution-operator"
RUNNER: Final = "kubernaut-workflow-runner"


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [one for one in rbac() if one["kind"] in kinds]


def rules(kind: str, name: str) -> list[dict[str, Any]]:
    (role,) = [one for one in of_kind(kind) if one["metadata"]["name"] == name]
    return list(role["rules"])


def grants(found: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The verbs of each `resource.group`; bound to names they are told apart by `/name`."""
    granted: dict[str, set[str]] = {}
    for rule in found:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    key = f"{resource}.{group}".removesuffix(".") + f"/{name}".removesuffix("/")
                    granted.setdefault(key, set()).update(rule["verbs"])
    return granted


def test_the_package_has_the_files_of_config() -> None:
    assert _manifests._FILES.resolve() == CONFIG
    names = {path.name for path in (CONFIG / "rbac").iterdir()}
    assert names == {"namespaces.yaml", "operator.yaml", "runner.yaml"}


def test_every_object_is_whole_and_has_a_name_of_its_own() -> None:
    versions = {
        "Namespace": "v1",
        "ServiceAccount": "v1",
        **dict.fromkeys(
            ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
            "rbac.authorization.k8s.io/v1",
        ),
    }
    keys = []
    for one in rbac():
        assert one["apiVersion"] == versions[one["kind"]]
        metadata = one["metadata"]
        in_namespace = one["kind"] in {"ServiceAccount", "Role", "RoleBinding"}
        assert ("namespace" in metadata) == in_namespace
        keys.append((one["kind"], metadata.get("namespace"), metadata["name"]))
    assert len(set(keys)) == len(keys)


def test_every_binding_binds_a_role_and_an_account_that_are_there() -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in rbac()}
    accounts = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in of_kind("ServiceAccount")
    }
    bindings = of_kind("RoleBinding", "ClusterRoleBinding")
    assert len(bindings) == len(of_kind("Role", "ClusterRole"))
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["namespace"], subject["name"]) in accounts


def test_no_rule_has_a_wildcard_or_reads_secrets_or_grants_more_of_itself() -> None:
    for role in of_kind("Role", "ClusterRole"):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            words += rule.get("resourceNames", [])
            assert not [word for word in words if "*" in word]
            assert rule.keys() <= {"apiGroups", "resources", "resourceNames", "verbs"}
            assert not {"secrets", "serviceaccounts/token"} & set(rule["resources"])
            assert not {"bind", "escalate", "impersonate", "deletecollection"} & set(rule["verbs"])


ROLES: Final[dict[Place, tuple[str, str]]] = {
    "watched": ("ClusterRole", OPERATOR),
    "executions": ("Role", f"{OPERATOR}-executions"),
    "own": ("Role", OPERATOR),
}


@pytest.mark.parametrize(("place", "role"), ROLES.items(), ids=ROLES.keys())
def test_the_operator_may_do_what_it_asks_for_at_its_start_and_nothing_else(
    place: Place, role: tuple[str, str]
) -> None:
    asked: dict[str, set[str]] = {}
    for each in PERMISSIONS:
        if each.place == place:
            key = f"{each.resource}.{each.group}".removesuffix(".")
            asked.setdefault(f"{key}/{each.name}".removesuffix("/"), set()).update(each.verbs)
    assert asked
    assert grants(rules(*role)) == asked


def test_the_runner_may_create_nothing_but_evictions() -> None:
    granted = grants(rules("ClusterRole", RUNNER))
    creating = {key for key, verbs in granted.items() if "create" in verbs}
    assert creating == {"pods/eviction"}
    assert {key for key, verbs in granted.items() if "delete" in verbs} == {"pods"}


def test_the_names_are_those_of_the_settings() -> None:
    defaults = RunDefaults()
    assert defaults.namespace == _manifests.EXECUTION_NAMESPACE
    accounts = {
        one["metadata"]["name"]: one["metadata"]["namespace"] for one in of_kind("ServiceAccount")
    }
    assert accounts == {
        OPERATOR: _manifests.NAMESPACE,
        defaults.service_account: _manifests.EXECUTION_NAMESPACE,
    }


def test_workflows_run_restricted() -> None:
    labels = {
        one["metadata"]["name"]: one["metadata"].get("labels") for one in of_kind("Namespace")
    }
    modes = ("enforce", "audit", "warn")
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
    assert labels == {"kubernaut-system": None, "kubernaut-workflows": restricted}


def test_namespaces_are_put_in_everywhere() -> None:
    moved = rbac("ops", "runs")
    assert moved != rbac()
    text = yaml.safe_dump_all(moved)
    assert "kubernaut-system" not in text
    assert "kubernaut-workflows" not in text
    placed = [(one["kind"], one["metadata"].get("namespace")) for one in moved]
    assert placed.count(("Role", "ops")) == placed.count(("Role", "runs")) == 1
    bindings = [
        (one["metadata"]["name"], one["roleRef"]["name"], one["subjects"][0]["namespace"])
        for one in moved
        if one["kind"] == "ClusterRoleBinding"
    ]
    assert bindings == [(f"{OPERATOR}-ops", OPERATOR, "ops"), (f"{RUNNER}-runs", RUNNER, "runs")]


def test_what_is_given_is_the_callers() -> None:
    rbac()[0]["metadata"].clear()
    samples()[0].clear()
    sample_workflows()[0].objects.clear()
    assert rbac()[0]["metadata"]
    assert samples()[0]
    assert sample_workflows()[0].objects


def test_workflows_do_not_run_in_the_operators_namespace() -> None:
    with pytest.raises(ValueError, match="a namespace of their own, and here is the operator's"):
        rbac("here", "here")


def test_every_sample_is_of_the_api_and_has_a_target_of_its_own() -> None:
    read = [WORKFLOW_EXECUTIONS.decoder.decode(msgspec.json.encode(one)) for one in samples()]
    assert len(read) == 6
    assert {(one["apiVersion"], one["kind"]) for one in samples()} == {
        (f"{GROUP}/{VERSION}", "WorkflowExecution")
    }
    assert len({wfe.spec.target_resource for wfe in read}) == len(read)
    assert len({wfe.metadata.name for wfe in read}) == len(read)
    for wfe in read:
        runs = RunDefaults(propagated_annotations=("simulation.kubernaut.ai/",))
        if wfe.metadata.name == "malformed-target":
            with pytest.raises(SpecError, match="targetResource must be in format"):
                run_of(wfe, runs)
        else:
            run = run_of(wfe, runs)
            assert run.engine == "tekton"
            assert wfe.annotations.items() <= run.annotations.items()


def test_samples_find_their_workflows_in_the_registry_that_is_given() -> None:
    pushed = {f"{one.repository}:{one.tag}" for one in sample_workflows()}
    wanted = {
        one["metadata"]["name"]: one["spec"]["workflowRef"]["executionBundle"]
        for one in samples("registry.test:1234")
    }
    for name, bundle in wanted.items():
        image = bundle.removeprefix("registry.test:1234/")
        assert image != bundle
        assert (image in pushed) == (name != "restart-payment"), name
    for one in samples():
        bundle = one["spec"]["workflowRef"]["executionBundle"]
        assert bundle.startswith("localhost:5000/kubernaut/workflows/")


def steps(pipeline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a Pipeline, with what their task gives to all of its steps."""
    for task in pipeline["spec"]["tasks"]:
        spec = task["taskSpec"]
        yield from ({**spec.get("stepTemplate", {}), **step} for step in spec["steps"])


def test_every_workflow_is_what_the_engine_looks_for_and_may_run_restricted() -> None:
    for workflow in sample_workflows():
        (pipeline,) = workflow.objects
        assert (pipeline["apiVersion"], pipeline["kind"]) == ("tekton.dev/v1", "Pipeline")
        assert pipeline["metadata"]["name"] == "workflow"
        for step in steps(pipeline):
            assert step["command"], "without it Tekton asks the registry for the image"
            assert step["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            }


def test_every_sample_gives_the_parameters_that_its_workflow_needs() -> None:
    needed = {
        f"{one.repository}:{one.tag}": {
            param["name"] for param in one.objects[0]["spec"]["params"] if "default" not in param
        }
        for one in sample_workflows()
    }
    for one in samples():
        image = one["spec"]["workflowRef"]["executionBundle"].removeprefix("localhost:5000/")
        given = set(one["spec"].get("parameters", {}))
        assert needed.get(image, set()) <= given, one["metadata"]["name"]
