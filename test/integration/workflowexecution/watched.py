"""What happened to the children of runs, seen while it happened."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Self

from test.workflow_executions import Executions, Object


class Watched:
    """Every state of the objects of one kind in the execution namespace, while it is open.

    Args:
        executions: where.
        plural: of the kind.
    """

    def __init__(self, executions: Executions, plural: str) -> None:
        self._executions = executions
        self._plural = plural
        self._version = executions.child_version(plural)
        self._states: list[Object] = []
        self._over = Event()
        self._pool = ThreadPoolExecutor(1)
        self._reading: Future[None] | None = None

    def __enter__(self) -> Self:
        self._reading = self._pool.submit(self._read_on)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()

    @property
    def version(self) -> str:
        """Up to which they were seen."""
        return self._version

    def states(self) -> list[Object]:
        """All that were seen, oldest first; once it is closed."""
        assert self._reading is not None
        self._reading.result(30)
        return self._states

    def _read_on(self) -> None:
        while not self._over.is_set():
            self._read()
        self._read()

    def _read(self) -> None:
        for event in self._executions.history(self._version, self._plural):
            self._states.append(event["object"])
            self._version = event["object"]["metadata"]["resourceVersion"]
