from kubernaut.kubernetes._objects import ObjectMeta, OwnerReference, Resource
from kubernaut.kubernetes._owners import (
    by_label,
    by_owner,
    controller_of,
    generation_changed,
    is_controlled_by,
    key_of,
    split_key,
)
from kubernaut.kubernetes._store import Change
from test.unit.kubernetes.widgets import WIDGETS, Widget

NODES = Resource("test.kubernaut.ai", "v1", "nodes", "Node", False, Widget)


def owned(*owners: OwnerReference, labels: dict[str, str] | None = None) -> Widget:
    metadata = ObjectMeta(
        name="child", namespace="ns", owner_references=list(owners), labels=labels or {}
    )
    return Widget(metadata=metadata)


def reference(
    name: str,
    *,
    kind: str = "Widget",
    version: str = "test.kubernaut.ai/v1",
    controller: bool | None = True,
) -> OwnerReference:
    return OwnerReference(version, kind, name, f"uid-{name}", controller)


def change(old: Widget | None, new: Widget | None) -> Change[Widget]:
    return Change("modified" if old and new else "added", "ns/child", old, new)


def test_a_child_is_mapped_to_the_owner_that_controls_it() -> None:
    child = owned(reference("helper", controller=None), reference("owner"))
    assert list(by_owner(WIDGETS)(change(None, child))) == ["ns/owner"]
    assert list(by_owner(WIDGETS, controller=False)(change(None, child))) == [
        "ns/helper",
        "ns/owner",
    ]


def test_a_child_that_changes_hands_concerns_both() -> None:
    before, after = owned(reference("one")), owned(reference("other"))
    assert list(by_owner(WIDGETS)(change(before, after))) == ["ns/one", "ns/other"]
    assert list(by_owner(WIDGETS)(change(after, after))) == ["ns/other"]


def test_versions_of_a_group_are_one_kind_and_other_groups_are_not() -> None:
    child = owned(
        reference("old", version="test.kubernaut.ai/v1alpha1", controller=True),
        reference("stranger", version="other.example/v1"),
        reference("core", version="v1"),
        reference("kind", kind="Gadget"),
    )
    assert list(by_owner(WIDGETS)(change(None, child))) == ["ns/old"]


def test_an_owner_without_a_namespace_has_a_key_without_one() -> None:
    child = owned(reference("node-1", kind="Node"))
    assert list(by_owner(NODES)(change(None, child))) == ["node-1"]


def test_a_label_names_an_owner_in_the_same_or_another_namespace() -> None:
    child = owned(labels={"for": "owner", "in": "elsewhere"})
    assert list(by_label("for")(change(None, child))) == ["ns/owner"]
    assert list(by_label("for", namespace_label="in")(change(None, child))) == ["elsewhere/owner"]
    assert list(by_label("for", namespaced=False)(change(None, child))) == ["owner"]
    assert list(by_label("for", namespace_label="absent")(change(None, child))) == []
    assert list(by_label("absent")(change(None, child))) == []


def test_the_controller_is_compared_by_uid() -> None:
    owner = Widget(metadata=ObjectMeta(name="owner", namespace="ns", uid="uid-owner"))
    again = Widget(metadata=ObjectMeta(name="owner", namespace="ns", uid="another"))
    child = owned(reference("helper", controller=None), reference("owner"))
    found = controller_of(child)
    assert found is not None
    assert found.name == "owner"
    assert is_controlled_by(child, owner)
    assert not is_controlled_by(child, again)
    assert not is_controlled_by(owned(), owner)


def test_keys_are_taken_apart_as_they_were_put_together() -> None:
    assert split_key(key_of("ns", "name")) == ("ns", "name")
    assert split_key(key_of("", "name")) == ("", "name")


def test_generation_changed_lets_only_spec_and_resync_by() -> None:
    def at(generation: int) -> Widget:
        return Widget(metadata=ObjectMeta(name="a", generation=generation))

    same = at(1)
    assert generation_changed(change(None, same))
    assert generation_changed(change(same, None))
    assert generation_changed(change(same, same))
    assert generation_changed(change(same, at(2)))
    assert not generation_changed(change(same, at(1)))
