"""A model of what a disk holds for sure, and of what it may hold, while a process writes.

The model, which is that of a journalling file system at its least generous:

- What a file held when a sync of it began is there after the sync.
- Of each 512-byte sector written since, any version may be there, each sector for itself; so
  a write may be there, missing or torn. A size changes with the writes, or on its own.
- What a failed sync was for may be there or not, whatever is synced later.
- A file's or directory's creation is there once it or its directory was synced; a removal or
  renaming once the directories were. Until then each may be there or not, for itself.
- SQLite's shared memory is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from test.faults.operations import SHARED_MEMORY, Kind, Operation
from test.faults.storage import Run

SECTOR: Final = 512

Choice = Callable[[], bool]


@dataclass(slots=True)
class _Change:
    """A write, or another size, that a file's disk may not have yet."""

    position: int
    kind: Kind
    offset: int
    data: bytes
    durable: bool = False
    doubtful: bool = False  # A sync for it failed.

    def sectors(self) -> range:
        if self.kind is not Kind.WRITE:
            return range(0)
        return range(self.offset // SECTOR, -(-(self.offset + len(self.data)) // SECTOR))

    def end(self) -> int:
        return self.offset + len(self.data)


class _File:
    """A file's durable content and the changes since."""

    def __init__(self, content: bytes) -> None:
        self._base = bytearray(content)
        self._changes: list[_Change] = []

    def change(self, change: _Change) -> None:
        self._changes.append(change)

    def sync(self, began: int, *, done: bool) -> None:
        for change in self._changes:
            if change.position < began:
                change.doubtful |= not done
                change.durable |= not change.doubtful
        while self._changes and self._changes[0].durable:
            self._apply(self._base, self._changes.pop(0), None)

    def settled(self) -> bool:
        return not self._changes

    def content(self, whole: Choice, sector: Choice) -> bytes:
        """The durable content, with what is chosen of the rest."""
        last: dict[int, int] = {}  # For each sector the last change that reached the disk.
        applied = set()
        for index, change in enumerate(self._changes):
            if change.durable or whole():
                applied.add(index)
                for number in change.sectors():
                    if change.durable or sector():
                        last[number] = index
        buffer = bytearray(self._base)
        for index, change in enumerate(self._changes):
            if change.kind is Kind.WRITE:
                self._apply(
                    buffer, change, {s for s in change.sectors() if last.get(s, -1) >= index}
                )
            elif index in applied or self._outgrown(index, applied):
                self._apply(buffer, change, None)
        return bytes(buffer)

    def _outgrown(self, index: int, applied: set[int]) -> bool:
        """The file has since grown beyond the size that it was cut to, so it was cut."""
        cut = self._changes[index]
        return cut.kind is Kind.TRUNCATE and any(
            later > index and self._changes[later].end() > cut.offset for later in applied
        )

    @staticmethod
    def _apply(buffer: bytearray, change: _Change, sectors: set[int] | None) -> None:
        size = change.offset
        if change.kind is Kind.TRUNCATE:
            del buffer[size:]
        if change.kind is not Kind.WRITE:
            buffer.extend(bytes(max(0, size - len(buffer))))
            return
        for number in change.sectors():
            if sectors is None or number in sectors:
                start = max(change.offset, number * SECTOR)
                end = min(change.end(), (number + 1) * SECTOR)
                buffer.extend(bytes(max(0, end - len(buffer))))
                buffer[start:end] = change.data[start - change.offset : end - change.offset]


@dataclass(slots=True)
class _Naming:
    """A change of names that the disk may not have yet."""

    position: int
    kind: Kind
    path: str
    target: str
    node: _File | None
    waits_for: set[str]  # Directories whose sync makes it durable.


Names = dict[str, _File | None]  # A directory is None.


def _rename_all(names: Names, naming: _Naming) -> None:
    """Do to the names what the naming says, if it can be."""
    path, target = naming.path, naming.target
    if naming.kind in {Kind.OPEN, Kind.MKDIR}:
        names[path] = naming.node
    elif naming.kind is Kind.UNLINK or (
        naming.kind is Kind.RMDIR and not any(name.startswith(f"{path}/") for name in names)
    ):
        names.pop(path, None)
    elif naming.kind is Kind.RENAME and path in names:
        names.pop(target, None)
        for name in [n for n in names if n == path or n.startswith(f"{path}/")]:
            names[target + name.removeprefix(path)] = names.pop(name)


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


class Disk:
    """Follows a run's operations; knows what is durable and what is not."""

    def __init__(self, run: Run) -> None:
        self._durable: Names = {}
        self._inodes: dict[int, _File] = {}
        for path, stored in run.initial.items():
            node = None if stored.content is None else _File(stored.content)
            self._durable[path] = node
            if node is not None:
                self._inodes[stored.inode] = node
        self._current = dict(self._durable)
        self._namings: list[_Naming] = []

    def apply(self, operation: Operation, position: int) -> None:
        if operation.kind is Kind.SYNC:
            self._sync(operation)
        elif not operation.done:
            return
        elif operation.kind in {Kind.WRITE, Kind.TRUNCATE, Kind.ALLOCATE}:
            change = _Change(position, operation.kind, operation.offset, operation.data)
            self._inodes[operation.inode].change(change)
        elif operation.kind is Kind.OPEN and not operation.creates:
            if operation.truncates:
                change = _Change(position, Kind.TRUNCATE, 0, b"")
                self._inodes[operation.inode].change(change)
        else:
            self._name(operation, position)

    def _name(self, operation: Operation, position: int) -> None:
        node = None
        waits_for = {_parent(operation.path)}
        if operation.kind is Kind.OPEN:
            node = self._inodes[operation.inode] = _File(b"")
        if operation.kind is Kind.RENAME:
            waits_for.add(_parent(operation.target))
        naming = _Naming(
            position, operation.kind, operation.path, operation.target, node, waits_for
        )
        _rename_all(self._current, naming)
        self._namings.append(naming)

    def _sync(self, operation: Operation) -> None:
        file = self._inodes.get(operation.inode)
        if operation.path == "." or self._current.get(operation.path, file) is None:
            file = None  # A directory; its inode may have been a file's before.
        if file is not None:
            file.sync(operation.began, done=operation.done)
        if not operation.done:
            return
        above = {str(path) for path in PurePosixPath(operation.path).parents}
        for naming in self._namings:
            if naming.position >= operation.began:
                continue
            if file is None:
                naming.waits_for.discard(operation.path)
            # A synced file or directory can be found by its name.
            created = naming.kind is Kind.OPEN and naming.node is file
            made = naming.kind is Kind.MKDIR and naming.path in above | {operation.path}
            if created or made:
                naming.waits_for.clear()
        while self._namings and not self._namings[0].waits_for:
            _rename_all(self._durable, self._namings.pop(0))

    def settled(self) -> bool:
        return not self._namings and all(file.settled() for file in self._inodes.values())

    def content(
        self, name: Choice, whole: Choice, sector: Choice
    ) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Files and directories, with what is chosen of that which is not durable."""
        names = dict(self._durable)
        for naming in self._namings:
            if not naming.waits_for or name():
                _rename_all(names, naming)
        files = {}
        directories = []
        for path, node in sorted(names.items()):
            if not all(above in names for above in map(str, PurePosixPath(path).parents[:-1])):
                continue  # It cannot be found without its directory.
            if node is None:
                directories.append(path)
            elif not path.endswith(SHARED_MEMORY):
                files[path] = node.content(whole, sector)
        return files, tuple(directories)
