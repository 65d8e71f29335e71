"""Objects as they are known to be: what the watch told, or what a write of ours was answered.

A watch tells of a write a moment after its answer. Without this, the next look would see the object
as it was before, and a write based on it would be refused with a conflict.
"""

from collections.abc import Iterable

from kubernaut.kubernetes import Change, Source, Store
from kubernaut.workflowexecution._api import WorkflowExecution
from kubernaut.workflowexecution._decide import holds_lock
from kubernaut.workflowexecution._names import lock_key, lock_name

_LOCK = "lock"
_CHILD = "child"


def execution_store() -> Store[WorkflowExecution]:
    """A store with the indexes that the controller needs."""
    return Store({_LOCK: _lock_of, _CHILD: _child_of})


def _lock_of(wfe: WorkflowExecution) -> Iterable[str]:
    """Only those that others must look at: a target's thousands of finished runs are in none."""
    return (lock_key(wfe),) if holds_lock(wfe) else ()


def _child_of(wfe: WorkflowExecution) -> Iterable[str]:
    return (lock_name(wfe.spec.target_resource),) if holds_lock(wfe) else ()


class Latest:
    """The newest known form of each object.

    Args:
        source: the reflector, its store made by `execution_store`.
    """

    def __init__(self, source: Source[WorkflowExecution]) -> None:
        self._store = source.store
        self._written: dict[str, WorkflowExecution] = {}
        self._last: dict[str, str] = {}
        source.add_handler(self._changed)

    def get(self, key: str) -> WorkflowExecution | None:
        """The object of a key; None where there is none."""
        cached = self._store.get(key)
        return None if cached is None else self._newer(cached)

    def wrote(self, obj: WorkflowExecution) -> None:
        """The API server answered a write with this object."""
        self._written[obj.metadata.key] = obj
        self._last[obj.metadata.key] = obj.metadata.resource_version

    def is_echo(self, change: Change[WorkflowExecution]) -> bool:
        """Whether a change only tells of our own last write, which whoever made it has seen."""
        if change.new is None or change.old is change.new:
            return False
        version = change.new.metadata.resource_version
        if self._last.get(change.key) != version:
            return False
        del self._last[change.key]
        return True

    def forget(self, key: str) -> None:
        """What was written is of no use: somebody else wrote too, or the object is gone."""
        self._written.pop(key, None)
        self._last.pop(key, None)

    def siblings(self, wfe: WorkflowExecution) -> list[WorkflowExecution]:
        """The other objects on the same target that others have to look at."""
        found = (self._newer(other) for other in self._store.by_index(_LOCK, lock_key(wfe)))
        return [
            other for other in found if other.metadata.uid != wfe.metadata.uid and holds_lock(other)
        ]

    def waiting(self, child_name: str) -> list[str]:
        """The keys of the objects that wait for a lock."""
        return [
            other.metadata.key
            for other in self._store.by_index(_CHILD, child_name)
            if other.phase == "Pending"
        ]

    def pending(self) -> list[str]:
        """The keys of all objects that have not started."""
        return [key for key, obj in self._store.items() if obj.phase == "Pending"]

    def exists(self, key: str, uid: str) -> bool:
        """Whether an object with this uid is known."""
        found = self._store.get(key)
        return found is not None and found.metadata.uid == uid

    def _newer(self, cached: WorkflowExecution) -> WorkflowExecution:
        written = self._written.get(cached.metadata.key)
        if written is None or written.metadata.uid != cached.metadata.uid:
            return cached
        return written if _version(written) > _version(cached) else cached

    def _changed(self, change: Change[WorkflowExecution]) -> None:
        written = self._written.get(change.key)
        if written is None:
            return
        if change.new is None or self._newer(change.new) is change.new:
            del self._written[change.key]


def _version(obj: WorkflowExecution) -> int:
    """Versions of one kind are whole numbers that grow (KEP-5504)."""
    version = obj.metadata.resource_version
    return int(version) if version.isdigit() else 0
