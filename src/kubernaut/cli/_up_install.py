"""Put into a cluster what the operator needs; what is there already is brought up to date."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubernaut.kubernetes import (
    Client,
    ClientConfig,
    KubernetesError,
    KubernetesObject,
    NotServedError,
    Resource,
)
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, crd

FIELD_MANAGER: Final = "kubernaut-up"

_PLURALS: Final = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Namespace": "namespaces",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ServiceAccount": "serviceaccounts",
}
_SERVED_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


class _Any(KubernetesObject, frozen=True):
    """An object of whatever kind, as far as this has to know it."""


def client_of(config: ClientConfig) -> Client:
    """A client for what `kubernaut up` does."""
    return Client(config, field_manager=FIELD_MANAGER, retry_for=10.0)


async def install(client: Client, manifests: Sequence[Mapping[str, Any]] = ()) -> None:
    """The custom resource definition and then the rest; return when the kind is served.

    Raises:
        KubernetesError: the API server refuses something, or does not answer.
    """
    for manifest in (crd(), *manifests):
        await _apply(client, manifest)
    deadline = client.clock.monotonic() + _SERVED_SECONDS
    while not await _is_served(client):
        if client.clock.monotonic() > deadline:
            raise KubernetesError(f"the CRD is not served after {_SERVED_SECONDS:g} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def _apply(client: Client, manifest: Mapping[str, Any]) -> None:
    group, _, version = manifest["apiVersion"].rpartition("/")
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    kind = manifest["kind"]
    resource = Resource(group, version, _PLURALS[kind], kind, namespace is not None, _Any)
    await client.patch(
        resource, metadata["name"], manifest, namespace=namespace, patch="apply", force=True
    )


async def _is_served(client: Client) -> bool:
    try:
        async for _ in client.list(WORKFLOW_EXECUTIONS, limit=1):
            return True
    except NotServedError:
        return False
    return True
