"""A custom kind for tests."""

from typing import Any

import msgspec

from kubernaut.kubernetes import KubernetesObject, ObjectMeta, OwnerReference, Resource


class WidgetSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    size: int = 0
    note: str = ""


class Widget(KubernetesObject, frozen=True):
    spec: WidgetSpec = WidgetSpec()
    status: dict[str, Any] = msgspec.field(default_factory=dict)


WIDGETS = Resource("test.kubernaut.ai", "v1", "widgets", "Widget", True, Widget, True)


def widget(
    name: str,
    *,
    namespace: str = "default",
    version: str = "1",
    labels: dict[str, str] | None = None,
    owners: tuple[str, ...] = (),
) -> Widget:
    return Widget(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            resource_version=version,
            labels=labels or {},
            owner_references=[OwnerReference("v1", "Thing", uid, uid) for uid in owners],
        )
    )
