"""The parts of the operator that work together, from the first list to the last write.

Two clients: what changes WorkflowExecutions and what runs them goes through a fence that is open
only while the lease is held; leases, Events and looks at the start do not need one.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from kubernaut.audit import AuditStore
from kubernaut.kubernetes import (
    Change,
    Client,
    ClientConfig,
    Controller,
    EventRecorder,
    LeaderElection,
    LeaseLock,
    Reflector,
)
from kubernaut.workflowexecution._api import WORKFLOW_EXECUTIONS, EngineName
from kubernaut.workflowexecution._latest import execution_store
from kubernaut.workflowexecution._metrics import OperatorMetrics
from kubernaut.workflowexecution._reconciler import Reconciler
from kubernaut.workflowexecution._settings import Settings
from kubernaut.workflowexecution._suspension import Suspension
from kubernaut.workflowexecution._trail import Trail
from kubernaut.workflowexecution.engines import Engine
from kubernaut.workflowexecution.engines._job import JobEngine
from kubernaut.workflowexecution.engines._tekton import TektonEngine

log = structlog.get_logger(__name__)

CONTROLLER: Final = "workflowexecution-controller"
"""Who reports Events, and the manager of the fields that are written."""

_RECONCILE_SECONDS: Final = 60.0
_RESYNC_SECONDS: Final = 600.0
_RECORDERS: Final = 4
"""Events that are written at one time."""
_EVENTS_SECONDS: Final = 3.0


class Assembly:
    """What works once it is known that it can.

    Args:
        settings: the configuration.
        config: of the API server.
        audit: where events are recorded; the caller closes it.
        unavailable: engines that cannot be used, and what to do about it.
        registry: of the metrics.
        hook: see `Reconciler`.

    Attributes:
        reflectors: everything that is watched.
    """

    def __init__(  # noqa: PLR0913  (its parts)
        self,
        settings: Settings,
        config: ClientConfig,
        audit: AuditStore,
        unavailable: Mapping[EngineName, str],
        *,
        registry: CollectorRegistry,
        hook: Callable[[str], None] | None = None,
    ) -> None:
        wanted = settings.controller
        self._grace = wanted.shutdown_timeout
        self._free = Client(config, field_manager=CONTROLLER, qps=0)
        self._leader = self._election(settings, registry) if wanted.leader_election else None
        self._client = Client(
            config,
            field_manager=CONTROLLER,
            qps=wanted.qps,
            burst=wanted.burst,
            before_request=None if self._leader is None else self._leader.fence_writes,
        )
        executions = Reflector(
            self._client,
            WORKFLOW_EXECUTIONS,
            execution_store(),
            namespace=wanted.watch_namespace,
        )
        engines, children = self._engines(settings, unavailable)
        trail = Trail(audit)
        suspension = Suspension(
            self._client,
            wanted.own_namespace(),
            trail,
            is_leading=lambda: self._leader is None or self._leader.leading,
            clock=self._client.clock,
        )
        self._recorder = EventRecorder(
            self._free, CONTROLLER, _instance(self._leader), registry=registry
        )
        metrics = OperatorMetrics(registry)
        metrics.count_in(executions.store)
        metrics.ask(audit)
        metrics.show_suspended(suspension.is_suspended)
        reconciler = Reconciler(
            client=self._client,
            executions=executions,
            engines=engines,
            unavailable=unavailable,
            trail=trail,
            recorder=self._recorder,
            metrics=metrics,
            policy=settings.policy(),
            is_suspended=suspension.is_suspended,
            hook=hook,
        )
        main = Controller(
            "workflowexecution",
            reconciler.reconcile,
            workers=wanted.workers,
            time_limit=_RECONCILE_SECONDS,
            resync=_RESYNC_SECONDS,
            leader=self._leader,
            registry=registry,
        )
        reconciler.attach(main)

        def look_again(_change: Change[Any]) -> Iterable[str]:
            reconciler.look_at_pending()
            return ()

        # Watched here too: nothing may start before it is known whether anything may.
        main.watches(suspension.config_maps, look_again)
        # Without the election, which runs one thing only: it looks by itself whether it may write.
        suspending = Controller("suspension", suspension.reconcile, registry=registry)
        suspending.watches(suspension.config_maps)
        self._controllers = (main, suspending)
        self.reflectors = (executions, *children, suspension.config_maps)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then end in order.

        Raises:
            LeadershipLostError: the lease was lost, and the work cancelled.
            SyncTimeoutError: the API server did not list what is watched.
        """
        async with self._free, self._client:
            background = [asyncio.create_task(each.run()) for each in self.reflectors]
            background += [asyncio.create_task(self._recorder.run()) for _ in range(_RECORDERS)]
            working = [asyncio.create_task(each.run()) for each in self._controllers]
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait(
                    {*background, *working, stopping}, return_when=asyncio.FIRST_COMPLETED
                )
                if stop.is_set():
                    await self._finish(working)
                for task in (*working, *background):
                    if task.done() and not task.cancelled():
                        task.result()  # What has failed says why.
            finally:
                await _cancel(working)
                await self._recorder.close(_EVENTS_SECONDS)
                await _cancel([*background, stopping])

    async def _finish(self, working: "list[asyncio.Task[None]]") -> None:
        """Let what has begun come to its end, and the lease be given back."""
        for controller in self._controllers:
            controller.stop()
        _, late = await asyncio.wait(working, timeout=self._grace)
        if late:
            log.warning("not everything has ended in time", seconds=self._grace)

    def _election(self, settings: Settings, registry: CollectorRegistry) -> LeaderElection:
        wanted = settings.controller
        return LeaderElection(
            LeaseLock(self._free, wanted.own_namespace(), wanted.leader_election_id),
            lease_duration=int(wanted.lease_duration),
            renew_deadline=wanted.renew_deadline,
            retry_period=wanted.retry_period,
            registry=registry,
        )

    def _engines(
        self, settings: Settings, unavailable: Mapping[EngineName, str]
    ) -> tuple[dict[EngineName, Engine], list[Reflector[Any]]]:
        """The engines that can be used, and what has to run for them."""
        namespace = settings.execution.namespace
        engines: dict[EngineName, Engine] = {}
        children: list[Reflector[Any]] = []
        if "tekton" not in unavailable:
            runs = TektonEngine.reflector(self._client, namespace)
            engines["tekton"] = TektonEngine(self._client, runs, namespace)
            children.append(runs)
        if "job" not in unavailable:
            jobs = JobEngine.reflector(self._client, namespace)
            engines["job"] = JobEngine(self._client, jobs, namespace)
            children.append(jobs)
        return engines, children


def _instance(leader: LeaderElection | None) -> str:
    """Which process reports an Event."""
    return socket.gethostname() if leader is None else leader.identity


async def _cancel(tasks: "list[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
