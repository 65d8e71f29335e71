"""The kinds of Kubernetes itself that the kernel uses.

`Pod`, `Namespace` and `ConfigMap` are parts of their kinds, for reading; `Lease` and `Event` are
whole.
"""

from datetime import datetime
from typing import Any, Final

import msgspec

from kubernaut.kubernetes._objects import Condition, KubernetesObject, Resource


def _with_microseconds(moment: datetime | None) -> datetime | None:
    """For `MicroTime`, whose reader wants six digits: msgspec writes none for a whole second.

    One microsecond is not missed; a renewal refused once in a million would be.
    """
    if moment is not None and moment.microsecond == 0:
        return moment.replace(microsecond=1)
    return moment


class LeaseSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """`coordination.k8s.io/v1.LeaseSpec`; durations are whole seconds."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None
    strategy: str | None = None
    preferred_holder: str | None = None

    def __post_init__(self) -> None:
        for name in ("acquire_time", "renew_time"):
            msgspec.structs.force_setattr(self, name, _with_microseconds(getattr(self, name)))


class Lease(KubernetesObject, frozen=True):
    """A lock with a term, held by whoever renews it."""

    spec: LeaseSpec = LeaseSpec()


class ObjectReference(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"
):
    """`core/v1.ObjectReference`."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class EventSeries(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """How often an event was seen, and when last."""

    count: int
    last_observed_time: datetime

    def __post_init__(self) -> None:
        moment = _with_microseconds(self.last_observed_time)
        msgspec.structs.force_setattr(self, "last_observed_time", moment)


class Event(KubernetesObject, frozen=True):
    """`events.k8s.io/v1.Event`, without its deprecated members."""

    event_time: datetime | None = None
    series: EventSeries | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    action: str = ""
    reason: str = ""
    regarding: ObjectReference | None = None
    related: ObjectReference | None = None
    note: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "event_time", _with_microseconds(self.event_time))


class NamespaceStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A namespace is `Active` or `Terminating`."""

    phase: str = ""


class Namespace(KubernetesObject, frozen=True):
    """A part of `core/v1.Namespace`."""

    status: NamespaceStatus = NamespaceStatus()


class PodStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of `core/v1.PodStatus`; containers' states stay as they came."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: list[Condition] = []
    container_statuses: list[dict[str, Any]] = []
    init_container_statuses: list[dict[str, Any]] = []


class Pod(KubernetesObject, frozen=True):
    """A part of `core/v1.Pod`; its spec stays as it came."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: PodStatus = PodStatus()


class ConfigMap(KubernetesObject, frozen=True):
    """`core/v1.ConfigMap`; values of `binary_data` are base64."""

    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, str] = msgspec.field(default_factory=dict)
    immutable: bool | None = None


LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", True, Lease, True)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event", True, Event)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", False, Namespace)
PODS: Final = Resource("", "v1", "pods", "Pod", True, Pod)
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", True, ConfigMap, True)
