"""The script that makes WorkflowExecutions, and ends their PipelineRuns after two seconds.

It stands for Tekton and for the users, and notes when what happens. "Exists" and "terminal" are the
moments at which a watch of its own tells of them, and "create" and "written" those just before the
request is sent, so the script's own share of the way is in the figures.

The load is closed: as many as are wanted are in flight, and the next one is created once one is
over. What is measured of many in flight is what lies between the first full round and the last.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.operator_objects import (
    EXECUTIONS,
    LABEL,
    PIPELINE_RUNS,
    SeenExecution,
    SeenRun,
    correlation_id_of,
    execution,
    finish,
    target_of,
)
from benchmarks.operator_place import Place
from benchmarks.operator_requests import Sent
from kubernaut.kubernetes import Change, Client, ClientConfig, Reflector, Store, is_true
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, lock_name

RUN_SECONDS: Final = 2.0
_PATIENCE: Final = 300.0
"""Seconds in which nothing more happens before it is given up."""


class Life(msgspec.Struct):
    """When what happened to one WorkflowExecution; monotonic seconds, 0 for not yet.

    Attributes:
        created: it was about to be created.
        exists: its PipelineRun was seen.
        written: the status of that was about to be written.
        terminal: its last phase was seen.
        terminal_unix: the same, as Unix time.
        audited: `AuditRecorded` was seen to be True after that.
    """

    name: str
    correlation_id: str
    created: float = 0.0
    exists: float = 0.0
    written: float = 0.0
    terminal: float = 0.0
    terminal_unix: float = 0.0
    audited: float = 0.0


class Load:
    """One load in one place.

    Args:
        client: of the script.
        place: where.
        name: of the load; a place may have several, one after another.
    """

    def __init__(self, client: Client, place: Place, name: str) -> None:
        self.lives: list[Life] = []
        self.terminal = 0
        self.on_terminal: Callable[[int], object] = lambda _: None
        self._client = client
        self._place = place
        self._name = name
        self._by_name: dict[str, Life] = {}
        self._by_child: dict[str, Life] = {}
        self._slots = asyncio.Semaphore(0)
        self._until_audited = False
        self._changed = asyncio.Event()
        self._failed = ""
        self._tasks: asyncio.TaskGroup

    async def run(self, total: int, in_flight: int, *, until_audited: bool = False) -> None:
        """Run so many, and return when all are terminal and their trails acknowledged.

        Args:
            total: how many.
            in_flight: how many at one time.
            until_audited: one is over only when its trail is acknowledged; else once it is
                terminal.

        Raises:
            RuntimeError: nothing more happens, or one has failed.
        """
        self._slots = asyncio.Semaphore(in_flight)
        self._until_audited = until_audited
        async with self._watching(), asyncio.TaskGroup() as self._tasks:
            for number in range(total):
                while self._slots.locked():
                    await self._something()
                await self._slots.acquire()
                life = self._new(f"{self._name}-{number:05}")
                self._tasks.create_task(self._create(life))
            while not all(life.audited for life in self.lives):
                await self._something()

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        runs = Reflector(self._client, PIPELINE_RUNS, Store[SeenRun](), namespace=self._place.runs)
        executions = Reflector(
            self._client,
            EXECUTIONS,
            Store[SeenExecution](),
            namespace=self._place.executions,
            label_selector=f"{LABEL}={self._name}",
        )
        runs.add_handler(self._run_changed)
        executions.add_handler(self._execution_changed)
        watching = [asyncio.create_task(runs.run()), asyncio.create_task(executions.run())]
        try:
            await runs.synced.wait()
            await executions.synced.wait()
            yield
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)

    async def _something(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._changed.wait()
        except TimeoutError:
            left = [life.name for life in self.lives if not life.audited]
            raise RuntimeError(f"nothing more happens; not over: {left[:5]}") from None
        if self._failed:
            raise RuntimeError(f"{self._failed} failed")

    def _new(self, name: str) -> Life:
        namespace = self._place.executions
        life = Life(name, correlation_id_of(namespace, name))
        self.lives.append(life)
        self._by_name[name] = life
        self._by_child[lock_name(target_of(namespace, name))] = life
        return life

    async def _create(self, life: Life) -> None:
        made = execution(self._place.executions, life.name, self._name)
        life.created = time.monotonic()
        await self._client.create(WORKFLOW_EXECUTIONS, made)

    def _run_changed(self, change: Change[SeenRun]) -> None:
        if change.new is None:
            return
        name = change.new.metadata.name
        life = self._by_child.get(name)
        if life is None or life.exists:
            return
        life.exists = time.monotonic()
        self._tasks.create_task(self._finish(life, name))

    async def _finish(self, life: Life, name: str) -> None:
        await asyncio.sleep(RUN_SECONDS)
        life.written = time.monotonic()
        await finish(self._client, self._place.runs, name)

    def _execution_changed(self, change: Change[SeenExecution]) -> None:
        life = self._by_name.get(change.key.partition("/")[2])
        if change.new is None or life is None:
            return
        status = change.new.status
        if not life.terminal and status.phase in ("Completed", "Failed"):
            if status.phase == "Failed":
                self._failed = change.key
            life.terminal, life.terminal_unix = time.monotonic(), time.time()
            self.terminal += 1
            self.on_terminal(self.terminal)
            if not self._until_audited:
                self._slots.release()
        if life.terminal and not life.audited and is_true(status.conditions, "AuditRecorded"):
            life.audited = time.monotonic()
            if self._until_audited:
                self._slots.release()
        self._changed.set()


@asynccontextmanager
async def script(kubeconfig: Path) -> AsyncIterator[tuple[Client, Sent]]:
    """The script's client, without a rate limit, and what it has sent."""
    sent = Sent()
    config = ClientConfig.load(kubeconfig)
    async with Client(config, field_manager="bench", qps=0, after_attempt=sent.note) as client:
        yield client, sent


async def in_parallel(
    one: Callable[[int], Coroutine[None, None, None]], indexes: Iterable[int], workers: int = 32
) -> None:
    """Do `one` for each index, so many at one time."""
    left = iter(indexes)

    async def some() -> None:
        for index in left:
            await one(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(some())
