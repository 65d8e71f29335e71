"""A custom kind for tests, with a rule in CEL and a status subresource."""

import uuid
from typing import Any

from kubernaut.local import LocalCluster
from test.polling import wait_for


def widget_kind(group: str) -> dict[str, Any]:
    """The custom resource definition of a group's widgets."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
                "x-kubernetes-validations": [
                    {"rule": "self.min <= self.max", "message": "min must not exceed max"}
                ],
            },
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [version],
        },
    }


def serve_widgets(cluster: LocalCluster) -> str:
    """Make a kind of a new group; gives its group once it is served."""
    group = f"g{uuid.uuid4().hex[:8]}.test"
    created = cluster.api(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_kind(group)
    )
    assert created.status == 201, created
    path = f"/apis/{group}/v1/namespaces/default/widgets"
    wait_for(lambda: cluster.api("GET", path).status == 200, 30, "the new kind")
    return group


def widget(group: str, name: str, **spec: int) -> dict[str, Any]:
    """A widget."""
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": spec,
    }
