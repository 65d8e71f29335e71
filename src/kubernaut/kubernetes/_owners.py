"""From a changed object to the keys that it concerns: by owner reference, by label.

Mappings look at the object before and after the change: one that moved from an owner (or label) to
another concerns both.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from kubernaut.kubernetes._objects import KubernetesObject, ObjectMeta, OwnerReference, Resource
from kubernaut.kubernetes._store import Change

Mapping = Callable[[Change[Any]], Iterable[str]]

_SEPARATOR: Final = "/"


def controller_of(obj: KubernetesObject) -> OwnerReference | None:
    """The owner that controls an object; there is at most one."""
    owners = obj.metadata.owner_references
    return next((owner for owner in owners if owner.controller), None)


def is_controlled_by(obj: KubernetesObject, owner: KubernetesObject) -> bool:
    """Whether `owner` itself, not a namesake before it, controls `obj`: compared by uid."""
    reference = controller_of(obj)
    return reference is not None and reference.uid == owner.metadata.uid != ""


def key_of(namespace: str, name: str) -> str:
    """`namespace/name`, or `name` without a namespace."""
    return f"{namespace}{_SEPARATOR}{name}" if namespace else name


def split_key(key: str) -> tuple[str, str]:
    """Namespace ("" where there is none) and name of a key."""
    namespace, _, name = key.rpartition(_SEPARATOR)
    return namespace, name


def by_owner(owner: Resource[Any], *, controller: bool = True) -> Mapping:
    """Map an object to its owners of one kind.

    Args:
        owner: the owners' kind. Versions of an API group are one kind.
        controller: only the owner that controls it; else all of the kind.
    """

    def keys(metadata: ObjectMeta) -> Iterator[str]:
        for reference in metadata.owner_references:
            group = reference.api_version.rpartition(_SEPARATOR)[0]
            if (group, reference.kind) != (owner.group, owner.kind):
                continue
            if reference.controller or not controller:
                yield key_of(metadata.namespace if owner.namespaced else "", reference.name)

    return _both(keys)


def by_label(name: str, *, namespace_label: str | None = None, namespaced: bool = True) -> Mapping:
    """Map an object to the key that a label of it names.

    For what an owner reference can't say: across namespaces, or for objects that must outlive
    whom they belong to.

    Args:
        name: the label whose value is the name.
        namespace_label: the label whose value is the namespace; None for the object's own. An
            object that lacks the label concerns nobody.
        namespaced: whether the keys have a namespace.
    """

    def keys(metadata: ObjectMeta) -> Iterator[str]:
        target = metadata.labels.get(name)
        namespace: str | None = metadata.namespace if namespaced else ""
        if namespace_label is not None:
            namespace = metadata.labels.get(namespace_label)
        if target and namespace is not None:
            yield key_of(namespace, target)

    return _both(keys)


def generation_changed(change: Change[Any]) -> bool:
    """A predicate: not for changes of status and metadata alone; resyncs pass.

    Deletion is one that passes: setting `deletionTimestamp` raises the generation. Not for kinds
    whose generation stays 0 (most core kinds without a status).
    """
    if change.old is None or change.new is None or change.old is change.new:
        return True
    return bool(change.old.metadata.generation != change.new.metadata.generation)


def _both(keys: Callable[[ObjectMeta], Iterator[str]]) -> Mapping:
    def mapping(change: Change[Any]) -> Iterable[str]:
        found: dict[str, None] = {}
        for obj in (change.old, change.new):
            if obj is not None:
                found.update(dict.fromkeys(keys(obj.metadata)))
        return found

    return mapping
