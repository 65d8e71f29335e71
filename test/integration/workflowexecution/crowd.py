"""Many WorkflowExecutions of one namespace, each with a target of its own.

A thread creates them, ends their PipelineRuns as Tekton does, and sees by watches what becomes of
them: which phases, which children. What the API server does not take is tried again.
"""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Self

import msgspec
import psycopg

from kubernaut.kubernetes import (
    AlreadyExistsError,
    Change,
    Client,
    ClientConfig,
    Condition,
    KubernetesObject,
    Reflector,
    Resource,
    Store,
    is_true,
)
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution, lock_name
from test.polling import async_wait_for, wait_for
from test.workflow_executions import Executions, now_text

_TERMINAL: Final = ("Completed", "Failed")
_PATIENCE: Final = 60.0
_WRITERS: Final = 32
"""Each may need a connection of its own."""
_TRAILS: Final = """
SELECT c.correlation_id, array_agg(e.event_type ORDER BY c.seq)
FROM audit_chain AS c JOIN audit_events AS e USING (event_id, event_timestamp)
WHERE starts_with(c.correlation_id, %s) GROUP BY c.correlation_id
"""


class _SeenStatus(msgspec.Struct, frozen=True):
    phase: str = "Pending"
    conditions: list[Condition] = []


class _SeenExecution(KubernetesObject, frozen=True):
    status: _SeenStatus = _SeenStatus()


class _SeenChild(KubernetesObject, frozen=True):
    """That it is there is enough."""


_EXECUTIONS: Final = Resource(
    WORKFLOW_EXECUTIONS.group,
    WORKFLOW_EXECUTIONS.version,
    WORKFLOW_EXECUTIONS.plural,
    WORKFLOW_EXECUTIONS.kind,
    namespaced=True,
    type=_SeenExecution,
)
_CHILDREN: Final = Resource(
    "tekton.dev", "v1", "pipelineruns", "PipelineRun", namespaced=True, type=_SeenChild
)


class Crowd:
    """Use it in `with`; not for several threads at once.

    Args:
        executions: where.

    Attributes:
        phases: of those that were seen, by name.
        children: the uids of all children that were ever seen, by the name of the child.
    """

    def __init__(self, executions: Executions) -> None:
        self.phases: dict[str, str] = {}
        self.children: dict[str, set[str]] = defaultdict(set)
        self._true: dict[str, frozenset[str]] = {}
        self._executions = executions
        self._names: list[str] = []
        self._held: list[str] | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="crowd")
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()

    @property
    def names(self) -> list[str]:
        """All that were asked for."""
        return list(self._names)

    def correlation_id(self, name: str) -> str:
        """The chain of one."""
        return f"rr-{self._executions.namespace}-{name}"

    def create(self, number: int) -> None:
        """Create so many more, and return at once."""
        first = len(self._names)
        names = [f"run-{each:04}" for each in range(first, first + number)]
        self._names += names
        for name in names:
            self._start(self._make(name))

    def hold(self) -> None:
        """Let PipelineRuns go on running."""
        self._loop.call_soon_threadsafe(self._hold)

    def end(self) -> None:
        """End those that run, and from now on each as soon as it is there."""
        self._loop.call_soon_threadsafe(self._end)

    def count(self, *phases: str) -> int:
        """How many are in one of these phases."""
        return sum(phase in phases for phase in list(self.phases.values()))

    def wait(self, check: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until something holds of them."""
        try:
            wait_for(check, timeout, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self}") from error

    def wait_ended(self, timeout: float) -> None:
        """Wait until all are in a terminal phase."""
        wanted = len(self._names)
        self.wait(lambda: self.count(*_TERMINAL) == wanted, timeout, "all have ended")

    def wait_audited(self, timeout: float) -> None:
        """Wait until all say that their trails are stored."""
        self.wait(
            lambda: all("AuditRecorded" in self._true[name] for name in self._names),
            timeout,
            "all trails are acknowledged",
        )

    def __str__(self) -> str:
        left = [name for name in self._names if self.phases.get(name) != "Completed"]
        unaudited = [
            name for name in self._names if "AuditRecorded" not in self._true.get(name, ())
        ]
        return (
            f"{len(self._names)} wanted, {dict(Counter(self.phases.values()))}, not completed:"
            f" {left[:5]}, not audited: {unaudited[:5]}"
        )

    def assert_completed_once(self) -> None:
        """All are Completed, and each has had exactly one child."""
        assert {self.phases.get(name) for name in self._names} == {"Completed"}, str(self)
        children = {lock_name(self._executions.target(name)) for name in self._names}
        assert set(self.children) == children
        twice = {name: uids for name, uids in self.children.items() if len(uids) > 1}
        assert not twice, twice

    def trails(self, database: str) -> Mapping[str, list[str]]:
        """The types of the events of each that has any, in the order of its chain."""
        prefix = self.correlation_id("")
        with psycopg.connect(database) as connection:
            rows = connection.execute(_TRAILS, (prefix,)).fetchall()
        return {
            chain.removeprefix(prefix): [
                type_.removeprefix("workflowexecution.") for type_ in types
            ]
            for chain, types in rows
        }

    def _hold(self) -> None:
        self._held = []

    def _end(self) -> None:
        held, self._held = self._held or [], None
        for name in held:
            self._start(self._finish(name))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        def begin() -> None:
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._writing = asyncio.Semaphore(_WRITERS)
        config = ClientConfig.load(self._executions.cluster.kubeconfig_path)
        client = Client(config, field_manager="crowd", qps=0)
        async with client as self._client:
            executions = Reflector(
                client, _EXECUTIONS, Store(), namespace=self._executions.namespace
            )
            children = Reflector(
                client,
                _CHILDREN,
                Store(),
                namespace=self._executions.execution_namespace,
            )
            executions.add_handler(self._saw_execution)
            children.add_handler(self._saw_child)
            watching = [asyncio.create_task(each.run()) for each in (executions, children)]
            await executions.synced.wait()
            await children.synced.wait()
            self._ready.set()
            await self._stop.wait()
            ending = [*watching, *self._tasks]
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)

    async def _make(self, name: str) -> None:
        manifest = self._executions.manifest(name)
        wanted = msgspec.convert(manifest, WorkflowExecution)

        async def made() -> bool:
            with suppress(AlreadyExistsError):  # The answer to the first attempt was lost.
                await self._client.create(WORKFLOW_EXECUTIONS, wanted)
            return True

        async with self._writing:
            await async_wait_for(made, _PATIENCE, f"{name} is created")

    async def _finish(self, child: str) -> None:
        moment = now_text()
        status = {
            "startTime": moment,
            "completionTime": moment,
            "conditions": [
                {
                    "type": "Succeeded",
                    "status": "True",
                    "reason": "Completed",
                    "message": "Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 0",
                    "lastTransitionTime": moment,
                }
            ],
        }

        async def done() -> bool:
            await self._client.patch(
                _CHILDREN,
                child,
                {"status": status},
                namespace=self._executions.execution_namespace,
                subresource="status",
            )
            return True

        async with self._writing:
            await async_wait_for(done, _PATIENCE, f"{child} has ended")

    def _saw_execution(self, change: Change[_SeenExecution]) -> None:
        if (seen := change.new) is None:
            return
        name = seen.metadata.name
        conditions = seen.status.conditions
        self._true[name] = frozenset(
            each.type for each in conditions if is_true(conditions, each.type)
        )
        self.phases[name] = seen.status.phase

    def _saw_child(self, change: Change[_SeenChild]) -> None:
        if (seen := change.new) is None:
            return
        name = seen.metadata.name
        if seen.metadata.uid in self.children[name]:
            return
        self.children[name].add(seen.metadata.uid)
        if self._held is None:
            self._start(self._finish(name))
        else:
            self._held.append(name)
