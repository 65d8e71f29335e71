"""The objects of one kind as last seen, with named indexes.

Invariants:

- An index holds exactly the keys whose object it names under a value.
- Nothing is awaited, so whoever looks sees objects and indexes of one moment.
- Objects are shared and immutable; index functions depend on the object alone.
"""

import builtins
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, Literal

import msgspec

from kubernaut.kubernetes._objects import T

Indexer = Callable[[T], Iterable[str]]
"""Names the values under which an object is found. A pure function of the object."""

ChangeKind = Literal["added", "modified", "deleted"]


class Change(msgspec.Struct, Generic[T], frozen=True):
    """What happened to a key.

    Attributes:
        kind: `added`, `modified` or `deleted`.
        key: `namespace/name` or `name`.
        old: the object before; None where it was added.
        new: the object now; None where it was deleted.
    """

    kind: ChangeKind
    key: str
    old: T | None
    new: T | None


def namespace_of(obj: Any) -> Iterable[str]:
    """Index by namespace; objects without one are in none."""
    return (obj.metadata.namespace,) if obj.metadata.namespace else ()


def owner_uids_of(obj: Any) -> Iterable[str]:
    """Index by the uids of all owners."""
    return (owner.uid for owner in obj.metadata.owner_references)


def label_of(name: str) -> Indexer[Any]:
    """Index by the value of one label; objects without it are in none."""

    def values(obj: Any) -> Iterable[str]:
        value = obj.metadata.labels.get(name)
        return () if value is None else (value,)

    return values


NAMESPACE: Final = "namespace"
OWNER_UID: Final = "owner-uid"


class _Index(Generic[T]):
    """One index. A value with one key, the common case, costs no set."""

    def __init__(self, values: Indexer[T]) -> None:
        self._values = values
        self._keys: dict[str, str | set[str]] = {}

    def values(self, obj: T | None) -> set[str]:
        return set() if obj is None else set(self._values(obj))

    def keys(self, value: str) -> list[str]:
        found = self._keys.get(value)
        if found is None:
            return []
        return [found] if isinstance(found, str) else sorted(found)

    def move(self, key: str, old: set[str], new: set[str]) -> None:
        for value in old - new:
            found = self._keys[value]
            if isinstance(found, str):
                del self._keys[value]
                continue
            found.remove(key)
            if len(found) == 1:
                self._keys[value] = found.pop()
        for value in new - old:
            match self._keys.get(value):
                case None:
                    self._keys[value] = key
                case str(other):
                    self._keys[value] = {other, key}
                case keys:
                    keys.add(key)


class Store(Generic[T]):
    """Objects by key. A reflector writes it; everybody reads.

    Args:
        indexes: functions by the name of the index; `namespace_of`, `owner_uids_of` and `label_of`
            are there to be used.
    """

    def __init__(self, indexes: Mapping[str, Indexer[T]] | None = None) -> None:
        self._objects: dict[str, T] = {}
        self._indexes: dict[str, _Index[T]] = {}
        for name, values in (indexes or {}).items():
            self.add_index(name, values)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def get(self, key: str) -> T | None:
        """The object of a key, or None."""
        return self._objects.get(key)

    def keys(self) -> list[str]:
        """All keys, in no order."""
        return list(self._objects)

    def list(self) -> builtins.list[T]:
        """All objects, in no order."""
        return [*self._objects.values()]

    def items(self) -> Iterator[tuple[str, T]]:
        """All keys with their objects, as they are now, in no order."""
        return iter([*self._objects.items()])

    def by_index(self, name: str, value: str) -> builtins.list[T]:
        """The objects that an index names under a value, ordered by key.

        Raises:
            KeyError: there is no such index.
        """
        return [self._objects[key] for key in self._indexes[name].keys(value)]

    def keys_by_index(self, name: str, value: str) -> builtins.list[str]:
        """Their keys, ordered.

        Raises:
            KeyError: there is no such index.
        """
        return self._indexes[name].keys(value)

    def add_index(self, name: str, values: Indexer[T]) -> None:
        """Add an index, over what is there already too.

        Raises:
            ValueError: there is one of that name.
        """
        if name in self._indexes:
            raise ValueError(f"the store has an index {name!r} already")
        index = _Index(values)
        for key, obj in self._objects.items():
            index.move(key, set(), index.values(obj))
        self._indexes[name] = index

    def put(self, obj: T) -> T | None:
        """Keep an object; gives what was there before.

        An index function that raises leaves everything as it was.
        """
        key = sys.intern(obj.metadata.key)  # The indexes hold the same text.
        old = self._objects.get(key)
        self._move(key, old, obj)
        self._objects[key] = obj
        return old

    def remove(self, key: str) -> T | None:
        """Forget an object; gives it, or None where there was none."""
        old = self._objects.get(key)
        if old is not None:
            self._move(key, old, None)
            del self._objects[key]
        return old

    def _move(self, key: str, old: T | None, new: T | None) -> None:
        moves = [(index, index.values(old), index.values(new)) for index in self._indexes.values()]
        for index, before, after in moves:
            index.move(key, before, after)
