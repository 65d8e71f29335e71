"""A real API server for these tests, with a custom kind, and a namespace for each test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from kubernaut.kubernetes import NAMESPACES, Client, ClientConfig, Namespace, ObjectMeta
from kubernaut.local.cluster import LocalCluster

WIDGET_CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.kubernaut.ai"},
    "spec": {
        "group": "test.kubernaut.ai",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                                "properties": {
                                    "note": {"type": "string"},
                                    "fixed": {
                                        "type": "object",
                                        "properties": {"a": {"type": "string"}},
                                        "x-kubernetes-validations": [
                                            {"rule": "self == oldSelf", "message": "is fixed"}
                                        ],
                                    },
                                },
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "!has(self.note) || self.note != 'bad'",
                                        "message": "must not be bad",
                                    }
                                ],
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """An API server with etcd. Tests may kill and restart it, and leave it running."""
    with LocalCluster(
        controller_manager=False, scheduler=False, kwok=False, crds=[WIDGET_CRD]
    ) as running:
        yield running


@pytest.fixture
def config(cluster: LocalCluster) -> ClientConfig:
    """The administrator's connection."""
    return ClientConfig.load(cluster.kubeconfig_path)


@pytest.fixture
async def client(config: ClientConfig) -> AsyncIterator[Client]:
    """The administrator's client, without a rate limit."""
    async with Client(config, field_manager="test", qps=0) as made:
        yield made


@pytest.fixture
async def namespace(client: Client) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    await client.create(NAMESPACES, Namespace(metadata=ObjectMeta(name=name)))
    return name
