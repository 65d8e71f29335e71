"""Many WorkflowExecutions of one namespace, each with a target of its own.

A thread creates them, ends their PipelineRuns as Tekton does, and sees by watches what becomes of
them: which phases, which children. What the API server does not take is tried again.
"""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
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
    Request,
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
_CHILDREN: Final = {
    "tekton": Resource(
        "tekton.dev", "v1", "pipelineruns", "PipelineRun", namespaced=True, type=_SeenChild
    ),
    "job": Resource("batch", "v1", "jobs", "Job", namespaced=True, type=_SeenChild),
}


class Crowd:
    """Use it in `with`; not for several threads at once.

    Args:
        executions: where.
        engine: who runs them; Jobs end by themselves.
        kubeconfig: how to reach the API server; None for the cluster's own.

    Attributes:
        phases: of those that were seen, by name.
        children: the uids of all children that were ever seen, by the name of the child.
        requests: what was sent, by method and resource.
    """

    def __init__(
        self, executions: Executions, *, engine: str = "tekton", kubeconfig: Path | None = None
    ) -> None:
        self.phases: dict[str, str] = {}
        self.children: dict[str, set[str]] = defaultdict(set)
        self.requests: Counter[str] = Counter()
        self._true: dict[str, frozenset[str]] = {}
        self._executions = executions
        self._engine = engine
        self._kubeconfig = kubeconfig or executions.cluster.kubeconfig_path
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

    def create(self, number: int, *, at_once: int | None = None) -> None:
        """Create so many more, and return at once.

        Args:
            number: how many.
            at_once: how many of them may be unfinished at one time; None for all.
        """
        first = len(self._names)
        names = [f"run-{each:04}" for each in range(first, first + number)]
        self._names += names
        self._start(self._create(names, at_once or number))

    def hold(self) -> None:
        """Let PipelineRuns go on running."""
        self._held = []

    def end(self) -> None:
        """End those that run, and from now on each as soon as it is there."""
        held, self._held = self._held or [], None
        for name in held:
            self._start(self._finish(name))

    def count(self, *phases: str) -> int:
        """How many are in one of these phases."""
        return sum(phase in phases for phase in list(self.phases.values()))

    @property
    def ended(self) -> int:
        """How many are in a terminal phase."""
        return self.count(*_TERMINAL)

    def having(self, condition: str) -> int:
        """How many have a condition that is true."""
        return sum(condition in true for true in list(self._true.values()))

    def wait(self, check: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until something holds of them."""
        try:
            wait_for(check, timeout, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self}") from error

    def wait_ended(self, number: int | None = None, timeout: float = 120) -> None:
        """Wait until so many are in a terminal phase; None for all."""
        wanted = len(self._names) if number is None else number
        self.wait(lambda: self.ended >= wanted, timeout, f"{wanted} have ended")

    def wait_audited(self, timeout: float = 60) -> None:
        """Wait until all have ended with their trails acknowledged."""
        self.wait_ended(timeout=timeout)
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
        self._over = defaultdict[str, asyncio.Event](asyncio.Event)
        config = ClientConfig.load(self._kubeconfig)
        client = Client(config, field_manager="crowd", qps=0, after_attempt=self._count)
        async with client as self._client:
            executions = Reflector(
                client, _EXECUTIONS, Store(), namespace=self._executions.namespace
            )
            children = Reflector(
                client,
                _CHILDREN[self._engine],
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

    async def _create(self, names: list[str], at_once: int) -> None:
        slots = asyncio.Semaphore(at_once)

        async def one(name: str) -> None:
            async with slots:
                await self._make(name)
                await self._over[name].wait()

        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(one(name))

    async def _make(self, name: str) -> None:
        manifest = self._executions.manifest(name, engine=self._engine)
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
                _CHILDREN[self._engine],
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
        if seen.status.phase in _TERMINAL:
            self._over[name].set()

    def _saw_child(self, change: Change[_SeenChild]) -> None:
        if (seen := change.new) is None:
            return
        name = seen.metadata.name
        if seen.metadata.uid in self.children[name]:
            return
        self.children[name].add(seen.metadata.uid)
        if self._engine == "job":
            return
        if self._held is None:
            self._start(self._finish(name))
        else:
            self._held.append(name)

    def _count(self, request: Request, status: int | None, _seconds: float) -> None:
        if status is not None and "watch" not in request.params:
            plural = "executions" if "workflowexecutions" in request.path else "children"
            self.requests[f"{request.method} {plural}"] += 1
