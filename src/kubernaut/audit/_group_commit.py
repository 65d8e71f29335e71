"""A SQLite file whose changes are on disk when they are said to be, at one fsync for many.

WAL mode with `synchronous=FULL`: a commit returns after the disk has it. Group commit without a
thread of its own: of those who wait for a commit, whoever gets the lock commits for all of them.
While it waits for the disk, the others queue up behind it.

A failed write counts as not written: the connection is closed, and opened again for what comes
next. Whenever a file is opened its whole log is copied into it anew: after a failed write, here or
in a process that has ended, the log may hold pages that the kernel shows and the disk does not
have, and what is appended behind such a hole would be lost with it.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from kubernaut.audit._errors import JournalError, JournalFullError
from kubernaut.audit._measures import Buckets

T = TypeVar("T")

_BUSY_SECONDS: Final = 5.0
_WAL_BYTES_KEPT: Final = 16 * 2**20


class Command(Generic[T]):
    """A change that waits for the next commit.

    Args:
        work: makes the change. It may raise `JournalFullError`, before it has changed anything,
            to fail alone; any other exception fails all that would be committed with it.
        failed: told of the error if the change is not made, by the thread that commits.
    """

    __slots__ = ("_error", "_failed", "_result", "done", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], T],
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.work = work
        self.done = False
        self._failed = failed
        self._result: T | None = None
        self._error: BaseException | None = None

    def finish(self, result: T | None, error: BaseException | None) -> None:
        """Keep what the commit brought."""
        self._result, self._error = result, error
        if error is not None and self._failed is not None:
            self._failed(error)
        self.done = True

    def result(self) -> T:
        """The work's result, or its error."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class GroupCommit:
    """One file. Who derives from it says what is in it, by the methods that it overrides.

    Args:
        path: the SQLite file; made where it is missing.

    Attributes:
        commit_seconds: how long commits took.
        last_error: why the last commit failed; None once one succeeds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commit_seconds = Buckets()
        self._queue: deque[Command[Any]] = deque()
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._inode: int | None = None  # Once it was opened it is never made anew.
        self._closed = False
        self.last_error: str | None = None

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Called with every new connection that writes."""

    def _beginning(self, connection: sqlite3.Connection) -> None:
        """Called at the beginning of every transaction."""

    def _committing(self, connection: sqlite3.Connection) -> None:
        """Called at the end of every transaction."""

    def _committed(self) -> None:
        """Called once a transaction is on disk, before anybody is told."""

    def _filled(self) -> None:
        """Called when the disk turned out to be full: make room, if some was set aside."""

    @property
    def queued(self) -> int:
        """How many changes wait for a commit."""
        return len(self._queue)

    def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        failed: Callable[[BaseException], None] | None = None,
    ) -> Command[T]:
        """Queue a change; it is done once `commit` has returned for it."""
        command = Command(work, failed)
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
        # They stay in the queue until they are done: whatever interrupts, nothing is forgotten.
        group = [command for command in list(self._queue) if not command.done]
        try:
            with translated(self.path):
                results = self._transaction(group)
            for command, (result, refusal) in zip(group, results, strict=True):
                command.finish(result, refusal)
        except BaseException as error:
            # Whatever it was, also a Ctrl-C in the thread that happens to commit for all: nobody
            # may go on waiting, and nothing of it counts.
            failure = error if isinstance(error, JournalError) else _interrupted(self.path, error)
            try:
                self._abandon(failure)
            finally:
                self.last_error = str(failure)
                for command in group:
                    if not command.done:
                        command.finish(None, failure)
            if not isinstance(error, Exception):
                raise
        finally:
            while self._queue and self._queue[0].done:
                self._queue.popleft()

    def _transaction(self, group: list[Command[Any]]) -> list[tuple[Any, BaseException | None]]:
        connection = self._connected()
        results: list[tuple[Any, BaseException | None]] = []
        connection.execute("BEGIN IMMEDIATE")
        self._beginning(connection)
        for command in group:
            try:
                results.append((command.work(connection), None))
            except JournalFullError as refusal:
                results.append((None, refusal))
        self._committing(connection)
        started = time.perf_counter()
        connection.execute("COMMIT")
        self.commit_seconds.observe(time.perf_counter() - started)
        self._committed()
        self.last_error = None
        return results

    def _connected(self) -> sqlite3.Connection:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed")
        if self._writer is None:
            connection = self._connect("rw" if self._inode else "rwc", check_same_thread=False)
            try:
                self._prepare(connection)
                self._inode = self._inode or self.path.stat().st_ino
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        # A file that was removed takes what is written to it as if nothing were the matter.
        if self.path.stat().st_ino != self._inode:
            raise JournalError(f"the journal {self.path} was replaced while it was in use")
        return self._writer

    def _connect(self, mode: str, *, check_same_thread: bool = True) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=check_same_thread,
            timeout=_BUSY_SECONDS,
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # Of use to a new file only.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
        _checkpoint(connection)
        self._opened(connection)

    def _abandon(self, error: BaseException) -> None:
        """Start over from what the disk has: after a failed write no page in memory counts."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
        if isinstance(error, JournalFullError):
            self._filled()  # Opening the file again takes some.

    def open(self) -> None:
        """Open the file for changes now, rather than at the first one.

        Raises:
            JournalError: it cannot be opened, or is of another version.
        """
        with self._lock:
            try:
                self._open()
            except JournalFullError:
                self._filled()
                self._open()

    def _open(self) -> None:
        with translated(self.path):
            self._connected()

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The connection that writes, with nobody's transaction on it.

        Raises:
            JournalError: the file cannot be read or written.
        """
        with self._lock:
            try:
                with translated(self.path):
                    yield self._connected()
            except BaseException as error:
                self._abandon(error)
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one look at the file, at one moment of it.

        Raises:
            JournalError: the file cannot be read.
        """
        with self._read_lock, translated(self.path):
            connection = self._connect("rw")  # Not made anew: it may have been adopted.
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


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Copy the log into the file, and empty it; later if it is being read or the disk is full."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise


class translated:  # noqa: N801  (reads as a clause)
    """Turns SQLite's and the system's errors into ours, with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            code = getattr(error, "sqlite_errorcode", 0)
            if code == sqlite3.SQLITE_FULL:
                raise JournalFullError(f"the disk of the journal {self._path} is full") from error
            raise JournalError(f"the journal {self._path} failed: {error}") from error
