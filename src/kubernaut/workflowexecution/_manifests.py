"""What a cluster needs for the operator, and samples to try it with, as objects.

The files are those of `config/`; the package has them as `manifests`. What is given is the caller's
to change.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from kubernaut.workflowexecution._crd import crd, crd_yaml

__all__ = ["SampleWorkflow", "crd", "crd_yaml", "rbac", "sample_workflows", "samples"]

Manifest = dict[str, Any]

NAMESPACE: Final = "kubernaut-system"
EXECUTION_NAMESPACE: Final = "kubernaut-workflows"
REGISTRY: Final = "localhost:5000"
"""Where the samples, as they are in the files, look for their workflows."""
REPOSITORIES: Final = "kubernaut/workflows"

_FILES: Final = Path(__file__).parent / "manifests"  # A link to config; in a wheel, a copy.
_VERSION_LABEL: Final = "app.kubernetes.io/version"


class SampleWorkflow(NamedTuple):
    """What a bundle of Tekton is to hold, and where it is to be pushed."""

    repository: str
    tag: str
    objects: list[Manifest]


def rbac(
    namespace: str = NAMESPACE, execution_namespace: str = EXECUTION_NAMESPACE
) -> list[Manifest]:
    """Namespaces, service accounts, roles and bindings, in the order in which to create them.

    Args:
        namespace: of the operator. ClusterRoleBindings of another one than the usual have its name
            in theirs, so that operators in several namespaces do not take each other's.
        execution_namespace: where workflows run; the same for the runner's ClusterRoleBinding.

    Raises:
        ValueError: both are the same. What runs there is restricted, and the operator is not.
    """
    if namespace == execution_namespace:
        raise ValueError(
            f"workflows need a namespace of their own, and {namespace} is the operator's"
        )
    names = {NAMESPACE: namespace, EXECUTION_NAMESPACE: execution_namespace}
    objects = list(_read("rbac"))
    for one in objects:
        metadata = one["metadata"]
        if one["kind"] == "Namespace":
            metadata["name"] = names[metadata["name"]]
        if "namespace" in metadata:
            metadata["namespace"] = names[metadata["namespace"]]
        for subject in one.get("subjects", []):
            usual = subject["namespace"]
            subject["namespace"] = names[usual]
            if one["kind"] == "ClusterRoleBinding" and names[usual] != usual:
                metadata["name"] += f"-{names[usual]}"
    return objects


def samples(registry: str = REGISTRY) -> list[Manifest]:
    """The sample WorkflowExecutions, in the order of their files.

    Args:
        registry: `host:port` where `sample_workflows` were pushed.
    """
    objects = list(_read("samples"))
    for one in objects:
        workflow = one["spec"]["workflowRef"]
        image = workflow["executionBundle"].removeprefix(f"{REGISTRY}/")
        workflow["executionBundle"] = f"{registry}/{image}"
    return objects


def sample_workflows() -> list[SampleWorkflow]:
    """The workflows that the samples run: push each as a bundle before they are created."""
    return [
        SampleWorkflow(
            f"{REPOSITORIES}/{path.stem}", objects[0]["metadata"]["labels"][_VERSION_LABEL], objects
        )
        for path, objects in _files("samples/workflows")
    ]


def _read(folder: str) -> Iterator[Manifest]:
    return (one for _, objects in _files(folder) for one in objects)


def _files(folder: str) -> Iterator[tuple[Path, list[Manifest]]]:
    for path in sorted((_FILES / folder).glob("*.yaml")):
        with path.open(encoding="utf-8") as text:
            yield path, list(yaml.safe_load_all(text))
