"""Objects on the wire: nothing that was not said, nothing lost that must be there."""

from datetime import UTC, datetime

import msgspec
import pytest

from kubernaut.kubernetes import (
    EVENTS,
    LEASES,
    NAMESPACES,
    PODS,
    Client,
    ClientConfig,
    Condition,
    Event,
    Lease,
    LeaseSpec,
    Namespace,
    ObjectMeta,
)
from kubernaut.kubernetes._client import _patch_body
from test.unit.kubernetes.widgets import WIDGETS, Widget, widget

WHOLE_SECOND = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_no_null_is_written_and_the_type_is() -> None:
    written = msgspec.json.decode(WIDGETS.encode(Widget(metadata=ObjectMeta(name="a"))))
    assert written == {
        "apiVersion": "test.kubernaut.ai/v1",
        "kind": "Widget",
        "metadata": {"name": "a"},
    }


def test_managed_fields_and_unknown_fields_are_not_kept() -> None:
    read = WIDGETS.decoder.decode(
        b'{"apiVersion":"x/v1","kind":"Widget","metadata":{"name":"a","managedFields":[{}],'
        b'"creationTimestamp":null},"spec":{"size":3,"newer":null}}'
    )
    written = msgspec.json.decode(WIDGETS.encode(read))
    assert written["metadata"] == {"name": "a"}
    assert written["spec"] == {"size": 3}


def test_required_texts_of_a_condition_are_written_when_empty() -> None:
    condition = Condition(type="Ready", status="True")
    assert msgspec.to_builtins(condition) == {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "",
    }


def test_a_pods_condition_without_texts_is_read() -> None:
    pod = PODS.decoder.decode(
        b'{"metadata":{"name":"p"},"status":{"phase":"Running","conditions":[{"type":"Ready",'
        b'"status":"False","lastProbeTime":null,"lastTransitionTime":null}]}}'
    )
    assert pod.status.conditions[0].type == "Ready"


def test_micro_times_have_six_digits_even_on_a_whole_second() -> None:
    lease = Lease(spec=LeaseSpec(renew_time=WHOLE_SECOND, acquire_time=WHOLE_SECOND))
    event = Event(event_time=WHOLE_SECOND)
    assert LEASES.encode(lease).count(b"2026-01-02T03:04:05.000001Z") == 2
    assert b"2026-01-02T03:04:05.000001Z" in EVENTS.encode(event)
    half = LeaseSpec(renew_time=WHOLE_SECOND.replace(microsecond=500_000))
    assert b"05.500000Z" in msgspec.json.encode(half)


def test_objects_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        widget("a").metadata.name = "b"  # type: ignore[misc]


def test_keys() -> None:
    assert widget("a").key == "default/a"
    assert Namespace(metadata=ObjectMeta(name="a")).key == "a"


def test_paths() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("a", "n") == "/api/v1/namespaces/n/pods/a"
    assert NAMESPACES.path("n") == "/api/v1/namespaces/n"
    assert (
        WIDGETS.path("a:b/c", "n", "status")
        == "/apis/test.kubernaut.ai/v1/namespaces/n/widgets/a%3Ab%2Fc/status"
    )


@pytest.mark.parametrize(
    ("resource", "name", "namespace"),
    [(PODS, "a", None), (PODS, "", "n"), (NAMESPACES, "a", "n")],
)
def test_paths_that_are_none(resource: object, name: str, namespace: str | None) -> None:
    with pytest.raises(ValueError, match="name"):
        resource.path(name, namespace)  # type: ignore[attr-defined]


def test_an_owner_reference_names_the_object() -> None:
    reference = WIDGETS.owner_reference(widget("a"))
    assert (reference.api_version, reference.kind) == ("test.kubernaut.ai/v1", "Widget")
    assert (reference.name, reference.uid, reference.controller) == ("a", "uid-a", True)


def test_patch_bodies() -> None:
    conditions = {"uid": "u", "resourceVersion": "1"}
    merge = _patch_body(WIDGETS, "a", {"metadata": {"labels": {"x": None}}}, "merge", conditions)
    assert msgspec.json.decode(merge) == {
        "metadata": {"labels": {"x": None}, "uid": "u", "resourceVersion": "1"}
    }
    applied = _patch_body(WIDGETS, "a", {"metadata": {"managedFields": []}}, "apply", {})
    assert msgspec.json.decode(applied) == {
        "apiVersion": "test.kubernaut.ai/v1",
        "kind": "Widget",
        "metadata": {"name": "a"},
    }
    steps = _patch_body(WIDGETS, "a", [{"op": "remove", "path": "/spec"}], "json", {"uid": "u"})
    assert msgspec.json.decode(steps) == [
        {"op": "test", "path": "/metadata/uid", "value": "u"},
        {"op": "remove", "path": "/spec"},
    ]


async def test_replacing_is_refused_where_it_could_lose_something() -> None:
    client = Client(ClientConfig("http://127.0.0.1:1"), field_manager="test")
    with pytest.raises(TypeError, match="part of Namespace"):
        await client.replace(NAMESPACES, Namespace(metadata=ObjectMeta(name="a")))
    with pytest.raises(ValueError, match="no resourceVersion"):
        await client.replace(WIDGETS, widget("a", version=""))
