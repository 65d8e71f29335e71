"""A thread that waits for the disk, for those who do not: asyncio, and best-effort recording."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from kubernaut.audit._group_commit import Command
from kubernaut.audit._journal import Journal

if TYPE_CHECKING:  # Loaded at first use: importing must be quick.
    from concurrent.futures import Future, ThreadPoolExecutor

_MOST_QUEUED: Final = 1000
"""Best-effort events in memory; who records one more waits for the disk, as others do."""


class Committer:
    """Commits for those who do not wait; starts its thread when it is first needed.

    Args:
        journal: what to commit to.
        committed: called after a commit that nobody waited for.
    """

    def __init__(self, journal: Journal, committed: Callable[[], None]) -> None:
        self._journal = journal
        self._committed = committed
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._ended = False
        self._scheduled = False

    def commit_later(self, command: Command[Any]) -> None:
        """See to it that a change is committed soon.

        Raises:
            JournalError: so much waits already that it was committed here, and failed.
        """
        if self._journal.queued <= _MOST_QUEUED and self._schedule():
            return
        self._journal.commit(command)

    def _schedule(self) -> bool:
        scheduled = False
        try:
            with self._lock:
                scheduled, self._scheduled = self._scheduled, True
            scheduled = scheduled or self.submit(self._drain) is not None
        finally:
            if not scheduled:
                self._scheduled = False
        return scheduled

    def _drain(self) -> None:
        with self._lock:
            self._scheduled = False  # Before: what is queued from now on schedules anew.
        try:
            self._journal.run(lambda _: None)  # And with it whatever is queued.
        except Exception:  # noqa: BLE001  (each failed change has told of it itself)
            return
        self._committed()

    def submit(self, work: Callable[[], Any]) -> "Future[Any] | None":
        """Run something on the thread; None: there are no threads any more, run it yourself."""
        with self._lock:
            if self._ended:
                return None
            try:
                if self._executor is None:
                    self._executor = _one_thread()
                return self._executor.submit(work)
            except RuntimeError:  # The interpreter is ending, or the machine has no more threads.
                return None

    def close(self) -> None:
        """Do what was submitted, then end the thread."""
        with self._lock:
            self._ended = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()


def _one_thread() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    return ThreadPoolExecutor(1, thread_name_prefix="audit-commit")
