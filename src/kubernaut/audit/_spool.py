"""A directory of journals: one for each process that records, and those of processes gone.

`<id>.journal` is a journal, `<id>.lock` is locked by the process that owns it. A journal whose
lock can be had belongs to nobody. A process that starts takes the oldest such journal as its own
and adopts the others: their events are moved into its own, in the order of recording.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from kubernaut.audit._errors import JournalError
from kubernaut.audit._identity import uuid7
from kubernaut.audit._journal import Journal
from kubernaut.audit._lock import FileLock

log = logging.getLogger("kubernaut.audit")

_JOURNAL: Final = ".journal"
_LOCK: Final = ".lock"
_ATTEMPTS: Final = 10
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


class Spool:
    """One process's place in a directory of journals.

    Args:
        directory: made, for this user only, where it is missing.
        max_bytes: the cap of a journal.
        clock: Unix time in seconds.

    Attributes:
        journal: the one that this process owns.
        damaged: what is wrong with journals that could not be taken over, by file name; they stay
            where they are, and are tried again now and then.

    Raises:
        JournalError: the directory cannot be used.
    """

    def __init__(self, directory: Path, max_bytes: int, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._clock = clock
        self._locks: dict[Path, FileLock] = {}
        self._own: Path | None = None
        self.damaged: dict[str, str] = {}
        try:
            _make(directory)
            self._take_orphans()
            self._forget_adopted()
            self.journal = self._oldest() or self._new()
            self._own = self.journal.path
            self._adopt()
        except OSError as error:
            self._release_all()
            raise JournalError(f"the journal directory {directory} failed: {error}") from error
        except BaseException:
            self._release_all()
            raise

    def adopt_orphans(self) -> int:
        """Take over the journals of processes that have ended since.

        Returns:
            How many pending events were taken over.

        Raises:
            JournalError: the directory cannot be read.
        """
        try:
            self._take_orphans()
            self._forget_adopted()
            return self._adopt()
        except OSError as error:
            raise JournalError(
                f"the journal directory {self._directory} failed: {error}"
            ) from error

    def _take_orphans(self) -> None:
        """Lock every journal that nobody has.

        A crash of the machine may have left a journal without its lock, or a lock alone.
        """
        found = (
            path.with_suffix(_JOURNAL)
            for suffix in (_JOURNAL, _LOCK)
            for path in self._directory.glob(f"*{suffix}")
        )
        for path in sorted(set(found) - self._locks.keys()):
            lock = FileLock.take(path.with_suffix(_LOCK))
            if lock is None:
                continue
            if path.exists():
                self._locks[path] = lock
            else:
                lock.remove()  # Its journal was adopted, or never made.

    def _orphans(self) -> Iterator[Journal]:
        """The journals that were locked and are not ours, the oldest first; damaged ones apart."""
        for path in sorted(self._locks):
            if path != self._own:
                try:
                    journal = self._open(path)
                except JournalError as error:
                    self._is_damaged(path, error)
                    continue
                try:
                    yield journal
                finally:
                    journal.close()

    def _open(self, path: Path) -> Journal:
        journal = Journal(path, self._max_bytes, self._clock)
        journal.open()
        return journal

    def _is_damaged(self, path: Path, error: JournalError) -> None:
        """Leave it to the next look, or to another process."""
        self._locks.pop(path).release()
        if self.damaged.get(path.name) != str(error):
            log.error("a journal could not be taken over: %s", error)
        self.damaged[path.name] = str(error)

    def _forget_adopted(self) -> None:
        """Remove journals that were adopted by a process that ended before it removed them.

        Who adopts keeps the lock until the file is gone, so the note of it is among those here.
        """
        adopted = self.journal.adopted() if self._own else set()
        for journal in self._orphans():
            adopted |= journal.adopted()
        for path in [path for path in self._locks if path.name in adopted]:
            self._remove(path)

    def _oldest(self) -> Journal | None:
        for path in sorted(self._locks):
            try:
                return self._open(path)
            except JournalError as error:
                self._is_damaged(path, error)
        return None

    def _new(self) -> Journal:
        for _ in range(_ATTEMPTS):  # Another process may tidy up the lock before it is locked.
            path = self._directory / f"{uuid7().hex}{_JOURNAL}"
            lock = FileLock.take(path.with_suffix(_LOCK))
            if lock is not None:
                self._locks[path] = lock
                return self._open(path)
        raise JournalError(f"the journal directory {self._directory} does not keep locks")

    def _adopt(self) -> int:
        adopted = 0
        for orphan in self._orphans():
            try:
                adopted += self.journal.adopt(orphan)
            except JournalError as error:
                orphan.close()
                self._is_damaged(orphan.path, error)
                continue
            orphan.close()
            self._remove(orphan.path)
            self.damaged.pop(orphan.path.name, None)
            log.info("adopted the audit journal %s of a process that ended", orphan.path.name)
        return adopted

    def _remove(self, path: Path) -> None:
        """Remove a journal; if that fails, its lock is kept, so that nobody else adopts it."""
        for companion in _COMPANIONS:
            path.with_name(path.name + companion).unlink(missing_ok=True)
        path.with_suffix(".reserve").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        self._locks[path].remove()
        del self._locks[path]

    def close(self) -> None:
        """Give the journal up; what is in it, counts too, goes to whoever comes next."""
        self.journal.close()
        self._release_all()

    def _release_all(self) -> None:
        while self._locks:
            self._locks.popitem()[1].release()

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the parent's locks, and touch nothing of its journal."""
        self._release_all()


def _make(directory: Path) -> None:
    """Make a directory, and its parents, so that a crash of the machine does not unmake them."""
    if directory.is_dir():
        return
    _make(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
