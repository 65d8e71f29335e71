"""The journals in a store's directory, for an operator: seen from outside, in use or not.

Nothing here deletes an event. Looking changes nothing, and holds nobody up: every look is short, so
what is listed while a process records and delivers is that of several moments. An event that moves
between pending and quarantine meanwhile may be listed twice, and is not missed.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from kubernaut.audit._entries import Entry, Quarantined, Tally
from kubernaut.audit._errors import JournalError
from kubernaut.audit._journal import Journal
from kubernaut.audit._lock import FileLock
from kubernaut.audit._rows import (
    SCHEMA_VERSION,
    read_tally_row,
    select_pending,
    select_pending_with_id,
    select_quarantine_page,
    select_quarantined,
)
from kubernaut.audit._spooled import (
    JournalStatus,
    SpooledEvent,
    State,
    of_pending,
    of_quarantined,
)

__all__ = [
    "JournalFile",
    "JournalGoneError",
    "JournalStatus",
    "SpooledEvent",
    "State",
    "journals",
]

_PAGE: Final = 500
_PAGE_BYTES: Final = 8 * 2**20
_BEFORE_ALL: Final = -(2**62)


class JournalGoneError(JournalError):
    """The journal is not there any more: a process has taken its events over into its own."""


class JournalFile:
    """A journal that may be another process's; see `journals`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal = Journal(path, max_bytes=0)

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.name

    def in_use(self) -> bool:
        """Whether a process has it open, or is taking it over.

        Raises:
            JournalError: its lock cannot be looked at.
        """
        try:
            fd = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise JournalError(f"the lock {self._lock_path} failed: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            raise JournalError(f"the lock {self._lock_path} failed: {error.strerror}") from error
        else:
            return False
        finally:
            os.close(fd)

    @property
    def _lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors in the words of somebody who looks from outside."""
        try:
            yield
        except JournalError as error:
            if not self.path.exists():
                raise JournalGoneError(
                    f"the journal {self.path} was taken over by another process meanwhile"
                ) from error
            if not os.access(self.path, os.R_OK) or not os.access(self.path.parent, os.W_OK):
                raise JournalError(
                    f"the journal {self.path} cannot be used without the right to write in its"
                    f" directory; run this as the user who owns it, uid {self.path.stat().st_uid}"
                ) from error
            raise

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """A connection for one look; None: the journal was never used."""
        with self._explained(), self._journal.reading() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise JournalError(
                    f"the journal {self.path} has version {version}, this reads {SCHEMA_VERSION}"
                )
            yield connection if version else None

    def status(self) -> JournalStatus:
        """Counts and ages.

        Raises:
            JournalError: it cannot be read.
        """
        with self._reading() as connection:
            tally = Tally() if connection is None else read_tally_row(connection)
            oldest = [] if connection is None else select_pending(connection, _BEFORE_ALL, 1, 0)
        return JournalStatus(
            self.in_use(), tally, oldest[0].recorded_at if oldest else None, self._file_bytes()
        )

    def _file_bytes(self) -> int:
        files = [self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm")]
        files.append(self.path.with_suffix(".reserve"))
        return sum(_size(file) for file in files)

    def check(self) -> list[str]:
        """Count everything anew and check the file; what is wrong, in words.

        Raises:
            JournalError: it cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return []
        with self._explained():
            return self._journal.check()

    def events(self, *states: State) -> Iterator[SpooledEvent]:
        """The events in these places; none means both.

        Pending ones in the order of recording, then those in quarantine in the order in which
        they came there.

        Raises:
            JournalError: it cannot be read, or not to the end.
        """
        last = _BEFORE_ALL
        if not states or "pending" in states:
            for entry in self._pending(last):
                last = entry.position
                yield of_pending(entry)
        if not states or "quarantined" in states:
            for _, event in self._quarantine():
                yield of_quarantined(event)
        if not states:  # Those that were put back meanwhile.
            yield from map(of_pending, self._pending(last))

    def _pending(self, after: int) -> Iterator[Entry]:
        """Pending events up to the newest at the beginning: others may come without end."""
        with self._reading() as connection:
            newest = _BEFORE_ALL if connection is None else read_tally_row(connection).last_position
        while after < newest:
            with self._reading() as connection:
                entries = select_pending(connection, after, _PAGE, _PAGE_BYTES)
            if not entries:
                return
            for entry in entries:
                if entry.position > newest:
                    return
                yield entry
            after = entries[-1].position

    def _quarantine(self) -> Iterator[tuple[int, Quarantined]]:
        """Events in quarantine with their places, up to the last at the beginning."""
        after, last = 0, 0
        with self._reading() as connection:
            if connection is not None:
                (last,) = connection.execute(
                    "SELECT coalesce(max(rowid), 0) FROM quarantine"
                ).fetchone()
        while after < last:
            with self._reading() as connection:
                rows = select_quarantine_page(connection, after, _PAGE, _PAGE_BYTES)
            if not rows:
                return
            yield from rows
            after = rows[-1][0]

    def find(self, event_id: UUID) -> list[SpooledEvent]:
        """All that is there under an id: in quarantine there may be several contents of it.

        Raises:
            JournalError: it cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return []
            return [
                *map(of_pending, select_pending_with_id(connection, event_id)),
                *map(of_quarantined, select_quarantined(connection, [event_id])),
            ]

    def retry(self, event_ids: Iterable[UUID] | None = None) -> int:
        """Put events from quarantine back to the pending ones: these, or all.

        If a process has the journal open it will send them; if none has, nobody gets it meanwhile,
        and the next store on the directory sends them.

        Returns:
            How many were put back. One whose id is pending with other content stays.

        Raises:
            JournalError: the rest is where it was.
        """
        with self._explained(), self._reserved():
            journal = Journal(self.path, max_bytes=0)
            try:
                journal.open()
                if event_ids is not None:
                    return journal.retry(event_ids)
                return sum(journal.retry(some) for some in self._pages_of_ids())
            finally:
                journal.close()

    @contextmanager
    def _reserved(self) -> Iterator[None]:
        """Keep the journal from being taken over meanwhile, unless a process has it already."""
        try:
            lock = FileLock.take(self._lock_path)
            if not self.path.exists():
                if lock is not None:
                    lock.remove()
                raise JournalError(f"the journal {self.path} is gone")
        except OSError as error:
            raise JournalError(f"the lock {self._lock_path} failed: {error.strerror}") from error
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _pages_of_ids(self) -> Iterator[list[UUID]]:
        ids: dict[UUID, None] = {}
        for _, event in self._quarantine():
            ids[event.event_id] = None
            if len(ids) == _PAGE:
                yield list(ids)
                ids.clear()
        if ids:
            yield list(ids)


def journals(directory: Path | str) -> list[JournalFile]:
    """The journals of a store's directory, the oldest first.

    Raises:
        JournalError: it cannot be read.
    """
    directory = Path(directory)
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".journal")
    except OSError as error:
        raise JournalError(f"the directory {directory} failed: {error.strerror}") from error
    if not os.access(directory, os.X_OK):
        raise JournalError(f"the directory {directory} may not be entered by this user")
    return [JournalFile(path) for path in paths]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
