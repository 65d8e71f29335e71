"""The journal: events on disk, from `record()` until the server has said what became of them.

A SQLite file in WAL mode with `synchronous=FULL`: a commit returns after the disk has it. One
process owns a journal, by a lock on a file beside it (`_spool.py`), and is the only one to add and
to settle events; the command line may put quarantined ones back.

Invariants, each kept by the transaction that changes anything:
* An event is in one place: pending, in quarantine, or counted as delivered.
* `recorded = delivered + pending + quarantined`, over restarts too: the counters are in the file.
* Events of one correlation leave in the order of their `position`.

Group commit without a thread of its own: of those who wait for a commit, whoever gets the lock
commits for all of them. While it waits for the disk, the others queue up behind it.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

T = TypeVar("T")

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE pending (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BLOB NOT NULL UNIQUE,
    correlation_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    own_id INTEGER NOT NULL,
    recorded_at REAL NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE quarantine (
    event_id BLOB PRIMARY KEY,
    correlation_id TEXT NOT NULL,
    own_id INTEGER NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    times INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL
) STRICT;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""
_ROW_OVERHEAD: Final = 200
"""Bytes that an event takes in the file beside its body (measured, rounded up)."""


class JournalError(Exception):
    """The journal could not be read or written.

    Raised by `record()`: the event may or may not be delivered; recording it again with the same
    id is safe.
    """


class JournalFullError(JournalError):
    """The journal is at its cap; nothing is evicted to make room."""


class IdReusedError(Exception):
    """An event id that is pending with other content."""


class Entry(NamedTuple):
    """A pending event; `body` is its JSON as it will be sent, `recorded_at` is Unix time."""

    position: int
    event_id: UUID
    correlation_id: str
    digest: bytes
    own_id: bool
    recorded_at: float
    body: bytes


class Quarantined(NamedTuple):
    """An event that the server or `record()` refused; times in Unix seconds."""

    event_id: UUID
    correlation_id: str
    own_id: bool
    body: bytes
    reason: str
    times: int
    first_at: float
    last_at: float


class Outcome(NamedTuple):
    """What became of a sent event.

    `counter` is where it is counted: delivered, duplicate, conflict_own, unconfirmed, quarantined.
    """

    entry: Entry
    counter: str
    reason: str | None = None


class Command(Generic[T]):
    """A change that waits for the next commit."""

    __slots__ = ("_error", "_result", "done", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = False
        self._result: T | None = None
        self._error: BaseException | None = None

    def finish(self, result: T | None, error: BaseException | None) -> None:
        """Keep what the commit brought."""
        self._result, self._error, self.done = result, error, True

    def result(self) -> T:
        """The work's result, or its error."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class Journal:
    """One journal file.

    Args:
        path: the SQLite file; made where it is missing.
        max_bytes: what pending events may take; beyond, `append` raises `JournalFullError`.
        clock: Unix time in seconds.

    Raises:
        JournalError: the file cannot be opened, or is of a newer version.
    """

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._queue: deque[Command[Any]] = deque()
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self.pending_events = 0
        self.pending_bytes = 0
        self.fsync_seconds = 0.0
        with _translated(path):
            self._open()

    def _open(self) -> None:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=5
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            connection.close()
            raise JournalError(f"{self.path} was written by a newer version of the audit client")
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = 1; COMMIT")
        self._writer = connection
        self._measure(connection)

    def _measure(self, connection: sqlite3.Connection) -> None:
        count, size = connection.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM pending"
        ).fetchone()
        self.pending_events = count
        self.pending_bytes = size + count * _ROW_OVERHEAD

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> Command[T]:
        """Queue a change; it is done once `commit` has returned for it."""
        command = Command(work)
        self._queue.append(command)
        return command

    def commit(self, command: Command[T]) -> T:
        """Wait until a change is on disk, and return its result.

        Raises:
            JournalError: it is not.
        """
        while not command.done:
            with self._lock:
                if not command.done:
                    self._commit_queued()
        return command.result()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`submit` and `commit`."""
        return self.commit(self.submit(work))

    def _commit_queued(self) -> None:
        group = []
        while self._queue:
            group.append(self._queue.popleft())
        before = self.pending_events, self.pending_bytes
        try:
            with _translated(self.path):
                results = self._transaction(group)
        except BaseException as error:
            # Whatever it was, also a Ctrl-C in the thread that happens to commit for all: nobody
            # may go on waiting, and nothing of it counts.
            self.pending_events, self.pending_bytes = before
            failure = error if isinstance(error, JournalError) else _interrupted(self.path, error)
            for command in group:
                command.finish(None, failure)
            self._reopen()
            if failure is not error:
                raise
            return
        for command, (result, refusal) in zip(group, results, strict=True):
            command.finish(result, refusal)

    def _transaction(self, group: list[Command[Any]]) -> list[tuple[Any, BaseException | None]]:
        connection = self._writer
        if connection is None:
            self._open()
            connection = self._writer
            assert connection is not None  # noqa: S101  (for the type checker)
        results: list[tuple[Any, BaseException | None]] = []
        connection.execute("BEGIN IMMEDIATE")
        for command in group:
            try:
                results.append((command.work(connection), None))
            except (IdReusedError, JournalFullError) as refusal:
                results.append((None, refusal))  # Found before anything was written.
        started = time.perf_counter()
        connection.execute("COMMIT")
        self.fsync_seconds = time.perf_counter() - started
        return results

    def _reopen(self) -> None:
        """Start over from what the disk has: after a failed write no page in memory counts."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def append(
        self, event_id: UUID, correlation_id: str, digest: bytes, body: bytes, *, own_id: bool
    ) -> Command[bool]:
        """Queue an event; the result says whether it is new (False: pending already).

        Raises (from `commit`):
            IdReusedError: the id is pending with other content.
            JournalFullError: no room.
        """
        size = len(body) + _ROW_OVERHEAD

        def work(connection: sqlite3.Connection) -> bool:
            known = connection.execute(
                "SELECT digest FROM pending WHERE event_id = ?", (event_id.bytes,)
            ).fetchone()
            if known:
                if known[0] != digest:
                    raise IdReusedError(str(event_id))
                return False
            if self.pending_bytes + size > self._max_bytes:
                raise JournalFullError(
                    f"the journal holds {self.pending_events} events in"
                    f" {self.pending_bytes} bytes, its cap is {self._max_bytes}"
                )
            connection.execute(
                "INSERT INTO pending (event_id, correlation_id, digest, own_id, recorded_at, body)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (event_id.bytes, correlation_id, digest, own_id, self._clock(), body),
            )
            _count(connection, {"recorded": 1})
            self.pending_events += 1
            self.pending_bytes += size
            return True

        return self.submit(work)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Take sent events out: counted as delivered, or into quarantine, in one transaction.

        Raises:
            JournalError: nothing was taken out; sending again is safe.
        """
        outcomes = list(outcomes)
        self.run(lambda connection: self._settle(connection, outcomes))

    def _settle(self, connection: sqlite3.Connection, outcomes: list[Outcome]) -> None:
        counts: dict[str, int] = {}
        for entry, counter, reason in outcomes:
            connection.execute("DELETE FROM pending WHERE event_id = ?", (entry.event_id.bytes,))
            counts[counter] = counts.get(counter, 0) + 1
            if reason is not None:
                self._put_aside(connection, entry, reason)
            self.pending_events -= 1
            self.pending_bytes -= len(entry.body) + _ROW_OVERHEAD
        _count(connection, counts)

    def _put_aside(self, connection: sqlite3.Connection, entry: Entry, reason: str) -> None:
        now = self._clock()
        connection.execute(
            "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, 1, ?, ?)"
            " ON CONFLICT (event_id) DO UPDATE SET"
            " times = times + 1, last_at = excluded.last_at, reason = excluded.reason,"
            " body = excluded.body",
            (
                entry.event_id.bytes,
                entry.correlation_id,
                entry.own_id,
                entry.body,
                reason,
                now,
                now,
            ),
        )

    def quarantine_new(self, event_id: UUID, correlation_id: str, body: bytes, reason: str) -> None:
        """Keep an event that `record()` refuses; it counts as recorded and quarantined.

        Raises:
            JournalError: it could not be kept.
        """
        entry = Entry(0, event_id, correlation_id, b"", False, self._clock(), body)

        def work(connection: sqlite3.Connection) -> None:
            known = connection.execute(
                "SELECT 1 FROM quarantine WHERE event_id = ?", (event_id.bytes,)
            ).fetchone()
            self._put_aside(connection, entry, reason)
            if not known:
                _count(connection, {"recorded": 1, "quarantined": 1})

        self.run(work)

    def retry(self, event_ids: Iterable[UUID] | None = None) -> int:
        """Move events from quarantine back to the end of what is pending; None means all.

        Returns:
            How many were moved.

        Raises:
            JournalError: none were.
        """

        def work(connection: sqlite3.Connection) -> int:
            moved = 0
            for row in _quarantined_rows(connection, event_ids):
                event = _quarantined(row)
                moved += connection.execute(
                    "INSERT OR IGNORE INTO pending"
                    " (event_id, correlation_id, digest, own_id, recorded_at, body)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (row[0], event.correlation_id, b"", event.own_id, event.first_at, event.body),
                ).rowcount
                connection.execute("DELETE FROM quarantine WHERE event_id = ?", (row[0],))
                _count(connection, {"quarantined": -1})
            self._measure(connection)
            return moved

        return self.run(work)

    def adopt(self, path: Path) -> int:
        """Take over the journal of a process that is gone, ahead of what is pending here.

        The events are committed here first and the other file is removed by the caller after:
        a crash in between adopts them again, and sending an event twice is harmless.

        Returns:
            How many pending events were taken over.

        Raises:
            JournalError: none were.
        """
        other = Journal(path, self._max_bytes, self._clock)
        try:
            entries = list(other.read(limit=2**62))
            quarantined = list(other.quarantined())
            counters = other.counters()
        finally:
            other.close()

        def work(connection: sqlite3.Connection) -> int:
            done = connection.execute(
                "SELECT 1 FROM counter WHERE name = ?", (f"adopted {path.name}",)
            ).fetchone()
            if done:
                return 0  # Everything was committed; only the other file was not removed yet.
            first = connection.execute("SELECT min(position) FROM pending").fetchone()[0]
            position = (1 if first is None else first) - len(entries)
            moved = 0
            for number, entry in enumerate(entries):
                moved += connection.execute(
                    "INSERT OR IGNORE INTO pending VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        position + number,
                        entry.event_id.bytes,
                        entry.correlation_id,
                        entry.digest,
                        entry.own_id,
                        entry.recorded_at,
                        entry.body,
                    ),
                ).rowcount
            for event in quarantined:
                connection.execute(
                    "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (event.event_id.bytes, *event[1:]),
                )
            _count(connection, counters | {f"adopted {path.name}": 1})
            self._measure(connection)
            return moved

        return self.run(work)

    def read(self, *, after: int | None = None, limit: int) -> Iterator[Entry]:
        """Pending events by position, from a connection of its own.

        Args:
            after: the position after which to begin; None: from the first.
            limit: at most so many.

        Raises:
            JournalError: the file cannot be read.
        """
        with _translated(self.path), _reader(self.path) as connection:
            for row in connection.execute(
                "SELECT position, event_id, correlation_id, digest, own_id, recorded_at, body"
                " FROM pending WHERE position > ? ORDER BY position LIMIT ?",
                (-(2**62) if after is None else after, limit),
            ):
                yield Entry(
                    row[0], UUID(bytes=row[1]), row[2], row[3], bool(row[4]), row[5], row[6]
                )

    def last_position(self) -> int:
        """The position of the newest pending event; 0 if there is none.

        Raises:
            JournalError: the file cannot be read.
        """
        with _translated(self.path), _reader(self.path) as connection:
            row = connection.execute("SELECT max(position) FROM pending").fetchone()
        return row[0] or 0

    def has_pending_up_to(self, position: int) -> bool:
        """Whether an event at or before `position` is pending.

        Raises:
            JournalError: the file cannot be read.
        """
        with _translated(self.path), _reader(self.path) as connection:
            row = connection.execute("SELECT min(position) FROM pending").fetchone()
        return row[0] is not None and row[0] <= position

    def refresh(self) -> None:
        """Count anew what is pending: a person may have put events back from quarantine.

        Raises:
            JournalError: the file cannot be read.
        """
        self.run(self._measure)

    def oldest_recorded_at(self) -> float | None:
        """When the oldest pending event was recorded, in Unix seconds.

        Raises:
            JournalError: the file cannot be read.
        """
        with _translated(self.path), _reader(self.path) as connection:
            row = connection.execute(
                "SELECT recorded_at FROM pending ORDER BY position LIMIT 1"
            ).fetchone()
        return float(row[0]) if row else None

    def quarantined(self, event_ids: Iterable[UUID] | None = None) -> list[Quarantined]:
        """Events in quarantine; None means all.

        Raises:
            JournalError: the file cannot be read.
        """
        with _translated(self.path), _reader(self.path) as connection:
            return [_quarantined(row) for row in _quarantined_rows(connection, event_ids)]

    def counters(self) -> dict[str, int]:
        """The counters, which survive restarts.

        Raises:
            JournalError: the file cannot be read.
        """
        with _translated(self.path), _reader(self.path) as connection:
            return {
                name: value
                for name, value in connection.execute("SELECT name, value FROM counter")
                if not name.startswith("adopted ")
            }

    def close(self) -> None:
        """Close the file; what is pending stays in it."""
        with self._lock:
            self._reopen()


def _interrupted(path: Path, error: BaseException) -> JournalError:
    return JournalError(f"a commit to the journal {path} was interrupted: {error!r}")


class _translated:  # noqa: N801  (reads as a clause)
    """Turns SQLite's and the system's errors into ours, with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise JournalError(f"the journal {self._path} failed: {error}") from error


class _reader:  # noqa: N801  (reads as a clause)
    """A connection for one look at the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=5)
        self._connection.execute("PRAGMA query_only = ON")
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _count(connection: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    for name, value in counts.items():
        connection.execute(
            "INSERT INTO counter VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, value),
        )


def _quarantined_rows(
    connection: sqlite3.Connection, event_ids: Iterable[UUID] | None
) -> list[tuple[Any, ...]]:
    if event_ids is None:
        return connection.execute("SELECT * FROM quarantine ORDER BY first_at").fetchall()
    rows = []
    for event_id in event_ids:
        rows += connection.execute(
            "SELECT * FROM quarantine WHERE event_id = ?", (event_id.bytes,)
        ).fetchall()
    return rows


def _quarantined(row: tuple[Any, ...]) -> Quarantined:
    return Quarantined(UUID(bytes=row[0]), row[1], bool(row[2]), *row[3:])
