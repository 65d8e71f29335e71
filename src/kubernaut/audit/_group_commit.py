"""A SQLite file whose changes are on disk when they are said to be, at one fsync for many.

WAL mode with `synchronous=FULL`: a commit returns after the disk has it. Group commit without a
thread of its own: of those who wait for a commit, whoever gets the lock commits for all of them.
While it waits for the disk, the others queue up behind it.

A failed write counts as not written. The connection is closed, and before anything else is
committed the whole log is copied into the file anew: the kernel may have dropped pages that it
could not write, and what is appended behind such a hole would be lost with it.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from kubernaut.audit._entries import IdReusedError, JournalError, JournalFullError

T = TypeVar("T")

Refusal = (IdReusedError, JournalFullError)
"""What a change may raise before it has written anything, to fail alone."""


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


class GroupCommit:
    """One file. Who derives from it says what is in it.

    Args:
        path: the SQLite file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fsync_seconds = 0.0
        self._queue: deque[Command[Any]] = deque()
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._suspect = False
        self._closed = False

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Called with every new connection that writes."""

    def _committing(self, connection: sqlite3.Connection) -> None:
        """Called at the end of every transaction."""

    def _undone(self, error: BaseException) -> None:
        """Called when a transaction was rolled back."""

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
        group: list[Command[Any]] = []
        try:
            while self._queue:
                group.append(self._queue[0])  # In two steps: a Ctrl-C in between loses nothing.
                self._queue.popleft()
            with translated(self.path):
                results = self._transaction(group)
            for command, (result, refusal) in zip(group, results, strict=True):
                command.finish(result, refusal)
        except BaseException as error:
            # Whatever it was, also a Ctrl-C in the thread that happens to commit for all: nobody
            # may go on waiting, and nothing of it counts.
            failure = error if isinstance(error, JournalError) else _interrupted(self.path, error)
            for command in group:
                if not command.done:
                    command.finish(None, failure)
            self._abandon(error)
            if not isinstance(error, Exception):
                raise

    def _transaction(self, group: list[Command[Any]]) -> list[tuple[Any, BaseException | None]]:
        connection = self._connected()
        results: list[tuple[Any, BaseException | None]] = []
        connection.execute("BEGIN IMMEDIATE")
        for command in group:
            try:
                results.append((command.work(connection), None))
            except Refusal as refusal:
                results.append((None, refusal))
        self._committing(connection)
        started = time.perf_counter()
        connection.execute("COMMIT")
        self.fsync_seconds = time.perf_counter() - started
        return results

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """The connection that writes, with nobody's transaction on it."""
        with self._lock:
            try:
                with translated(self.path):
                    yield self._connected()
            except BaseException as error:
                self._abandon(error)
                raise

    def _connected(self) -> sqlite3.Connection:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed")
        if self._writer is None:
            connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=5
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if self._suspect:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise JournalError(f"the journal {self.path} failed, and is still being read")
            self._suspect = False
        self._opened(connection)

    def _abandon(self, error: BaseException) -> None:
        """Start over from what the disk has: after a failed write no page in memory counts."""
        if self._writer is not None:
            self._suspect = True
            writer, self._writer = self._writer, None
            writer.close()
        self._undone(error)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one look at the file, at one moment of it.

        Raises:
            JournalError: the file cannot be read.
        """
        with self._read_lock, translated(self.path):
            connection = sqlite3.connect(
                # Not made anew where it is missing: another process may have adopted it.
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=5,
            )
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()

    def close(self) -> None:
        """Close the file for good; what waits for a commit, or comes later, fails."""
        with self._lock:
            self._closed = True
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def quiet(self, seconds: float) -> Callable[[], None]:
        """Wait until nobody is inside of SQLite, and keep everybody out: before a fork.

        A lock of SQLite that another thread holds at that moment would stay locked in the child.

        Args:
            seconds: how long to wait for each lock at most.

        Returns:
            Lets everybody in again.
        """
        held = [lock for lock in (self._lock, self._read_lock) if lock.acquire(timeout=seconds)]

        def release() -> None:
            for lock in held:
                lock.release()

        return release


def _interrupted(path: Path, error: BaseException) -> JournalError:
    return JournalError(f"a commit to the journal {path} was interrupted: {error!r}")


class translated:  # noqa: N801  (reads as a clause)
    """Turns SQLite's and the system's errors into ours, with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise JournalError(f"the journal {self._path} failed: {error}") from error
