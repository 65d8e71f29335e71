"""The client against the real API server."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubernaut.kubernetes import (
    CONFIG_MAPS,
    LEASES,
    NAMESPACES,
    AlreadyExistsError,
    Client,
    ClientConfig,
    ConfigMap,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubernetesObject,
    Lease,
    LeaseSpec,
    NotFoundError,
    NotServedError,
    ObjectMeta,
    Resource,
    UnauthorizedError,
    add_finalizer,
    apply,
    patch_status,
    remove_finalizer,
)
from kubernaut.local.cluster import LocalCluster
from test.unit.kubernetes.widgets import WIDGETS, Widget, WidgetSpec

FINALIZER = "test.kubernaut.ai/guard"


def named(name: str, namespace: str, note: str = "") -> Widget:
    metadata = ObjectMeta(name=name, namespace=namespace)
    return Widget(metadata=metadata, spec=WidgetSpec(note=note))


async def read_raw(client: Client, name: str, namespace: str) -> dict[str, Any]:
    """As JSON, with all that the type does not model."""

    class Whole(KubernetesObject, frozen=True):
        spec: dict[str, Any] = msgspec.field(default_factory=dict)

    resource = Resource("test.kubernaut.ai", "v1", "widgets", "Widget", True, Whole)
    return (await client.get(resource, name, namespace)).spec


async def test_an_objects_life(client: Client, namespace: str) -> None:
    made = await client.create(WIDGETS, named("a", namespace, "one"))
    assert made.metadata.uid
    assert await client.get(WIDGETS, "a", namespace) == made
    changed = await client.patch(WIDGETS, "a", {"spec": {"note": "two"}}, namespace=namespace)
    assert changed.spec.note == "two"
    assert changed.metadata.generation == 2
    await client.delete(WIDGETS, "a", namespace=namespace, uid=made.metadata.uid)
    with pytest.raises(NotFoundError):
        await client.get(WIDGETS, "a", namespace)


async def test_errors_are_told_apart(client: Client, namespace: str) -> None:
    made = await client.create(WIDGETS, named("a", namespace))
    with pytest.raises(AlreadyExistsError):
        await client.create(WIDGETS, named("a", namespace))
    with pytest.raises(InvalidError, match="must not be bad") as invalid:
        await client.create(WIDGETS, named("b", namespace, "bad"))
    assert invalid.value.details is not None
    assert invalid.value.details.causes is not None
    assert invalid.value.details.causes[0].field == "spec"
    with pytest.raises(ConflictError):
        await client.delete(WIDGETS, "a", namespace=namespace, uid="another")
    with pytest.raises(ConflictError):
        await client.delete(WIDGETS, "a", namespace=namespace, resource_version="1")
    unknown = Resource("test.kubernaut.ai", "v1", "gadgets", "Gadget", True, Widget)
    with pytest.raises(NotServedError, match="page not found"):
        await client.get(unknown, "a", namespace)
    nothing = Resource("", "v1", "nothings", "Nothing", True, Widget)
    with pytest.raises(NotServedError, match="could not find the requested resource"):
        await client.get(nothing, "a", namespace)
    with pytest.raises(NotFoundError, match=r'namespaces "nowhere" not found') as missing:
        await client.create(WIDGETS, named("a", "nowhere"))
    assert missing.value.details is not None
    await client.patch(WIDGETS, "a", {"spec": {"note": "x"}}, namespace=namespace)
    with pytest.raises(ConflictError):
        await client.replace(WIDGETS, made)


@pytest.mark.parametrize("patch", ["merge", "apply"])
@pytest.mark.parametrize("wrong", [{"uid": "another"}, {"resource_version": "1"}])
async def test_patches_are_tied_to_an_object(
    client: Client, namespace: str, patch: Any, wrong: dict[str, Any]
) -> None:
    await client.create(WIDGETS, named("a", namespace))
    body = {"spec": {"note": "x"}}
    with pytest.raises((ConflictError, InvalidError)):
        await client.patch(WIDGETS, "a", body, namespace=namespace, patch=patch, **wrong)
    assert (await client.get(WIDGETS, "a", namespace)).spec.note == ""


async def test_a_json_patch_whose_test_fails(client: Client, namespace: str) -> None:
    await client.create(WIDGETS, named("a", namespace, "one"))
    steps = [{"op": "replace", "path": "/spec/note", "value": "two"}]
    with pytest.raises(InvalidError):
        await client.patch(WIDGETS, "a", steps, namespace=namespace, patch="json", uid="another")
    changed = await client.patch(WIDGETS, "a", steps, namespace=namespace, patch="json")
    assert changed.spec.note == "two"


async def test_who_may_not_is_told(cluster: LocalCluster, config: ClientConfig) -> None:
    somebody = ClientConfig.load(cluster.kubeconfig_for("somebody"))
    async with Client(somebody, field_manager="test") as client:
        with pytest.raises(ForbiddenError, match="somebody"):
            await client.get(NAMESPACES, "default")
    wrong = ClientConfig(config.server, ca_file=config.ca_file, ca_data=config.ca_data, token="no")
    async with Client(wrong, field_manager="test") as client:
        with pytest.raises(UnauthorizedError):
            await client.get(NAMESPACES, "default")


async def test_a_token(cluster: LocalCluster, config: ClientConfig) -> None:
    by_token = ClientConfig(
        config.server, ca_file=config.ca_file, ca_data=config.ca_data, token=cluster.token
    )
    async with Client(by_token, field_manager="test") as client:
        assert (await client.get(NAMESPACES, "default")).key == "default"
        assert await client.raw("/readyz") == b"ok"


async def test_a_list_in_pages_is_of_one_moment(client: Client, namespace: str) -> None:
    for number in range(7):
        await client.create(WIDGETS, named(f"w{number}", namespace))
    sizes: list[int] = []
    versions: set[str] = set()
    async for page in client.list(WIDGETS, namespace=namespace, limit=3):
        if not sizes:
            await client.delete(WIDGETS, "w6", namespace=namespace)
        sizes.append(len(page.items))
        versions.add(page.resource_version)
    assert sizes == [3, 3, 1]
    assert len(versions) == 1


async def test_a_continue_token_that_etcd_forgot(
    cluster: LocalCluster, client: Client, namespace: str
) -> None:
    for number in range(3):
        await client.create(WIDGETS, named(f"w{number}", namespace))
    pages = client.list(WIDGETS, namespace=namespace, limit=1)
    await anext(pages)
    await client.create(WIDGETS, named("later", namespace))
    cluster.compact_etcd()
    cluster.apiserver.restart()  # Its cache keeps old lists for a while.
    with pytest.raises(GoneError):
        await anext(pages)


async def test_selectors(client: Client, namespace: str) -> None:
    for name, tier in (("a", "web"), ("b", "cache & more")):
        body = ConfigMap(
            metadata=ObjectMeta(name=name, namespace=namespace, labels={"tier": tier.split()[0]}),
            data={"tier": tier},
        )
        await client.create(CONFIG_MAPS, body)
    labels = client.list(CONFIG_MAPS, namespace=namespace, label_selector="tier in (web,none)")
    assert [obj.metadata.name async for page in labels for obj in page.items] == ["a"]
    fields = client.list(CONFIG_MAPS, namespace=namespace, field_selector="metadata.name=b")
    assert [obj.data async for page in fields for obj in page.items] == [{"tier": "cache & more"}]


async def test_a_lease_at_a_whole_second(client: Client, namespace: str) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    lease = Lease(
        metadata=ObjectMeta(name="l", namespace=namespace),
        spec=LeaseSpec(holder_identity="me", lease_duration_seconds=3, renew_time=moment),
    )
    made = await client.create(LEASES, lease)
    assert made.spec == lease.spec
    assert (await client.replace(LEASES, made)).spec == lease.spec


async def test_apply_makes_keeps_and_takes_away_what_is_ours(
    client: Client, namespace: str
) -> None:
    first = await apply(
        client, WIDGETS, "a", {"spec": {"note": "one", "size": 3}}, namespace=namespace
    )
    assert (first.spec.note, first.spec.size) == ("one", 3)
    with pytest.raises(ConflictError):
        await apply(
            client,
            WIDGETS,
            "a",
            {"spec": {"note": "two"}},
            namespace=namespace,
            field_manager="other",
        )
    taken = await apply(
        client,
        WIDGETS,
        "a",
        {"spec": {"note": "two"}},
        namespace=namespace,
        field_manager="other",
        force=True,
    )
    assert (taken.spec.note, taken.spec.size) == ("two", 3)
    left = await apply(client, WIDGETS, "a", {"spec": {}}, namespace=namespace)
    assert (left.spec.note, left.spec.size) == ("two", 0)


async def test_a_status_is_of_one_object_and_version(client: Client, namespace: str) -> None:
    made = await client.create(WIDGETS, named("a", namespace, "one"))
    first = await patch_status(client, WIDGETS, made, {"phase": "Running", "hint": "x"})
    assert first.status == {"phase": "Running", "hint": "x"}
    with pytest.raises(ConflictError):
        await patch_status(client, WIDGETS, made, {"phase": "Late"})
    second = await patch_status(client, WIDGETS, first, {"phase": "Done"})
    assert second.status == {"phase": "Done"}
    await client.delete(WIDGETS, "a", namespace=namespace)
    with pytest.raises(NotFoundError):
        await patch_status(client, WIDGETS, second, {"phase": "Ghost"})
    await client.create(WIDGETS, named("a", namespace))
    with pytest.raises(ConflictError):
        await patch_status(client, WIDGETS, second, {"phase": "Ghost"})


async def test_the_server_ignores_a_uid_on_status(client: Client, namespace: str) -> None:
    await client.create(WIDGETS, named("a", namespace))
    body = {"metadata": {"uid": "another"}, "status": {"phase": "Ghost"}}
    changed = await client.patch(
        WIDGETS, "a", body, namespace=namespace, patch="apply", subresource="status"
    )
    assert changed.status == {"phase": "Ghost"}  # Hence the rule of `patch_status`.
    with pytest.raises(ValueError, match="does not guard"):
        await client.patch(
            WIDGETS, "a", {}, namespace=namespace, subresource="status", uid="another"
        )


async def test_a_finalizer_comes_and_goes(client: Client, namespace: str) -> None:
    made = await client.create(WIDGETS, named("a", namespace))
    guarded = await add_finalizer(client, WIDGETS, made, FINALIZER)
    assert guarded.metadata.finalizers == [FINALIZER]
    assert await add_finalizer(client, WIDGETS, guarded, FINALIZER) is guarded
    with pytest.raises(ConflictError):
        await add_finalizer(client, WIDGETS, made, "test.kubernaut.ai/other")
    await client.delete(WIDGETS, "a", namespace=namespace)
    going = await client.get(WIDGETS, "a", namespace)
    assert going.metadata.deletion_timestamp is not None
    with pytest.raises((ForbiddenError, InvalidError)):
        await add_finalizer(client, WIDGETS, going, "test.kubernaut.ai/other")
    await remove_finalizer(client, WIDGETS, going, FINALIZER)
    with pytest.raises(NotFoundError):
        await client.get(WIDGETS, "a", namespace)
    assert await remove_finalizer(client, WIDGETS, going, FINALIZER) is None


async def test_a_finalizer_spares_a_spec_with_rules(client: Client, namespace: str) -> None:
    spec = {"fixed": {"a": "b"}, "unmodelled": [1, 2]}
    made = await apply(client, WIDGETS, "a", {"spec": spec}, namespace=namespace)
    guarded = await add_finalizer(client, WIDGETS, made, FINALIZER)
    assert await read_raw(client, "a", namespace) == spec
    await remove_finalizer(client, WIDGETS, guarded, FINALIZER)
    assert await read_raw(client, "a", namespace) == spec


async def test_removing_from_a_namesake_is_a_conflict(client: Client, namespace: str) -> None:
    made = await client.create(WIDGETS, named("a", namespace))
    guarded = await add_finalizer(client, WIDGETS, made, FINALIZER)
    await remove_finalizer(client, WIDGETS, guarded, FINALIZER)
    await client.delete(WIDGETS, "a", namespace=namespace)
    again = await client.create(WIDGETS, named("a", namespace))
    await add_finalizer(client, WIDGETS, again, FINALIZER)
    with pytest.raises(ConflictError):
        await remove_finalizer(client, WIDGETS, guarded, FINALIZER)


async def test_many_at_once_on_one_client(client: Client, namespace: str) -> None:
    made = await asyncio.gather(
        *(client.create(WIDGETS, named(f"w{number}", namespace)) for number in range(50))
    )
    assert len({obj.metadata.uid for obj in made}) == 50
