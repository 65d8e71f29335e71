"""A directory of journals: one for each process that records, and those of processes gone.

`<id>.journal` is a journal, `<id>.lock` is locked by the process that owns it. A journal whose
lock can be had belongs to nobody, and is adopted: its events are moved into the adopter's own.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kubernaut.audit._identity import uuid7
from kubernaut.audit._journal import Journal, JournalError

_JOURNAL: Final = ".journal"
_LOCK: Final = ".lock"
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


class Spool:
    """One process's place in a directory of journals.

    Args:
        directory: made, for this user only, where it is missing.
        max_bytes: the cap of a journal.
        clock: Unix time in seconds.

    Raises:
        JournalError: the directory cannot be used.
    """

    def __init__(self, directory: Path, max_bytes: int, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._pid = os.getpid()
        name = uuid7().hex
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _try_lock(directory / f"{name}{_LOCK}")
        except OSError as error:
            raise JournalError(f"the journal directory {directory} failed: {error}") from error
        if lock is None:
            raise JournalError(f"the journal directory {directory} does not support locks")
        self._lock_fd: int | None = lock
        self.journal = Journal(directory / f"{name}{_JOURNAL}", max_bytes, clock)

    def adopt_orphans(self) -> int:
        """Take over the journals of processes that are gone.

        Returns:
            How many events were taken over.

        Raises:
            JournalError: a journal cannot be read; it stays where it is.
        """
        adopted = 0
        for path in sorted(self._directory.glob(f"*{_JOURNAL}")):
            if path == self.journal.path:
                continue
            lock_path = path.with_suffix(_LOCK)
            lock = _try_lock(lock_path)
            if lock is None:
                continue
            try:
                if path.exists():  # Not, if another process adopted it just now.
                    adopted += self.journal.adopt(path)
                    _remove(path, lock_path)
            finally:
                os.close(lock)
        return adopted

    def close(self) -> None:
        """Give the journal up; what is in it, counters too, goes to whoever comes next."""
        if self._lock_fd is None:
            return
        self.journal.close()
        os.close(self._lock_fd)
        self._lock_fd = None

    def leave_to_parent(self) -> None:
        """In a forked child: hold the parent's lock no longer, and touch nothing of its journal."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _try_lock(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _remove(journal: Path, lock: Path) -> None:
    for companion in _COMPANIONS:
        journal.with_name(journal.name + companion).unlink(missing_ok=True)
    journal.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)
