"""The operator as a process: its parts, started in order and ended without losing anything.

Told to stop, it begins nothing new, finishes what it has begun (`controller.shutdownTimeout`),
gives the lease back, writes the Events that wait, and gives the audit trail a few seconds; what is
not delivered by then is in the journal, and is said. A lease that is lost ends the process: only a
new one is sure to know what is so.
"""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, get_args

import structlog
from prometheus_client import CollectorRegistry

from kubernaut.audit import AuditStore, DeliveryLimits, JournalError
from kubernaut.audit.metrics import register
from kubernaut.kubernetes import (
    Client,
    ClientConfig,
    KubernetesError,
    LeadershipLostError,
    Reflector,
    SyncTimeoutError,
)
from kubernaut.workflowexecution._api import EngineName
from kubernaut.workflowexecution._assembly import CONTROLLER, Assembly
from kubernaut.workflowexecution._logs import configure_logging
from kubernaut.workflowexecution._metrics import new_registry
from kubernaut.workflowexecution._preflight import Findings, preflight
from kubernaut.workflowexecution._probes import ListenError, ProbeServer
from kubernaut.workflowexecution._sections import listen_address
from kubernaut.workflowexecution._settings import Settings

log = structlog.get_logger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_FLUSH_SECONDS: Final = 5.0
_JOURNAL_FULL_SECONDS: Final = 0.2
"""A full journal must not hold up runs; the trail is made up for later."""
_LINGER_SECONDS: Final = 0.02
"""Shorter than the usual: `AuditRecorded` waits for it. Under load batches fill up meanwhile."""
_CHECK_RETRY_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 10.0
_FAILED: Final = 1


class StartupError(Exception):
    """The operator cannot start.

    Attributes:
        lines: one for each thing that is wrong, with what to do about it.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


class Operator:
    """One process of the operator.

    Args:
        settings: from `load_settings`.
        hook: called with the name of each step of a reconcile, for tests that crash there.
        registry: of the metrics; one of its own where none is given.
        report: told what goes on, in lines for a person.

    Attributes:
        addresses: where `health` and `metrics` are served, as `host:port`.
        registry: of the metrics.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hook: Callable[[str], None] | None = None,
        registry: CollectorRegistry | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.addresses: Mapping[str, str] = {}
        self.registry = new_registry() if registry is None else registry
        self._settings = settings
        self._hook = hook
        self._report = report or (lambda _: None)
        self._stop = asyncio.Event()
        self._reflectors: Sequence[Reflector[Any]] = ()

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`.

        Raises:
            StartupError: it cannot start.
            LeadershipLostError: the lease was lost; end the process.
            SyncTimeoutError: the API server did not list what is watched.
        """
        controller = self._settings.controller
        async with AsyncExitStack() as stack:
            probes = ProbeServer(self.registry, self.unready)
            stack.push_async_callback(probes.close)
            try:
                self.addresses = await probes.start(
                    listen_address(controller.health_probe_addr),
                    listen_address(controller.metrics_addr),
                )
            except ListenError as error:
                raise StartupError([str(error)]) from None
            await self._unless_stopped(self._run())

    def unready(self) -> list[str]:
        """What is not ready yet, in words; nothing where all is."""
        if self._stop.is_set():
            return ["stopping"]
        if not self._reflectors:
            return ["starting"]
        return [
            f"{each.resource.plural} not listed yet ({each.last_error or 'no error'})"
            for each in self._reflectors
            if not each.has_synced
        ]

    async def _unless_stopped(self, running: Coroutine[Any, Any, None]) -> None:
        """Run to the end; but told to stop before there is anything to end, give up."""
        task = asyncio.create_task(running)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if self._reflectors:
                await asyncio.wait({task})
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.wait({task, stopped})
        if not task.cancelled():
            task.result()

    async def _run(self) -> None:
        config, found = await self._look()
        if found.problems:
            raise StartupError(found.problems)
        for warning in found.warnings:
            self._warn(warning)
        audit = self._audit_store()
        unregister = register(audit, "workflowexecution", self.registry)
        try:
            parts = Assembly(
                self._settings,
                config,
                audit,
                found.unavailable,
                registry=self.registry,
                hook=self._hook,
            )
            self._reflectors = parts.reflectors
            telling = asyncio.create_task(self._tell_when_ready(found))
            try:
                await parts.run(self._stop)
            finally:
                telling.cancel()
        finally:
            await self._close(audit)
            unregister()

    async def _tell_when_ready(self, found: Findings) -> None:
        for reflector in self._reflectors:
            await reflector.synced.wait()
        _settle_garbage_collector()
        engines = sorted(set(get_args(EngineName)) - set(found.unavailable))
        log.info(
            "ready",
            engines=engines,
            namespace=self._settings.controller.own_namespace(),
            watch_namespace=self._settings.controller.watch_namespace or "",
            execution_namespace=self._settings.execution.namespace,
            health=self.addresses.get("health", ""),
            metrics=self.addresses.get("metrics", ""),
        )
        self._report(f"operator ready; engines: {', '.join(engines)}")

    async def _look(self) -> tuple[ClientConfig, Findings]:
        """Look whether everything is there.

        Raises:
            StartupError: it is not.
        """
        wanted = self._settings.kubernetes
        try:
            config = ClientConfig.load(wanted.kubeconfig, wanted.context)
            # Long retries are the preflight's own: it says what it waits for.
            client = Client(
                config,
                field_manager=CONTROLLER,
                qps=0,
                timeout=_CHECK_SECONDS,
                retry_for=_CHECK_RETRY_SECONDS,
            )
        except KubernetesError as error:
            raise StartupError([str(error)]) from None
        async with client:
            return config, await preflight(client, self._settings, say=self._warn)

    async def check(self) -> Findings:
        """Look at what is needed, as `run` does first, and start nothing.

        Raises:
            StartupError: there is no connection to ask with.
        """
        _, found = await self._look()
        return found

    def _warn(self, line: str) -> None:
        log.warning("at the start", warning=line)
        self._report(line)

    def _audit_store(self) -> AuditStore:
        datastorage = self._settings.datastorage
        try:
            return AuditStore(
                datastorage.endpoint(),
                datastorage.journal(),
                max_bytes=datastorage.journal_max_bytes,
                full_timeout=_JOURNAL_FULL_SECONDS,
                limits=DeliveryLimits(linger=_LINGER_SECONDS),
            )
        except JournalError as error:
            raise StartupError(
                [f"the journal in {datastorage.journal()} cannot be used: {error}"]
            ) from None

    async def _close(self, audit: AuditStore) -> None:
        pending = (await audit.aclose(_FLUSH_SECONDS)).pending
        if pending:
            journal = str(self._settings.datastorage.journal())
            log.warning(
                "audit events pending; they are in the journal and will be sent at the next start",
                pending=pending,
                journal=journal,
            )
            self._report(
                f"audit events pending: {pending}; they are in the journal at {journal} and will"
                " be sent at the next start"
            )


def _settle_garbage_collector() -> None:
    """Spare the collector what lives as long as the process: modules, and the caches as listed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(settings: Settings, hook: Callable[[str], None] | None) -> int:
    operator = Operator(settings, hook=hook)
    loop = asyncio.get_running_loop()
    stopping = False

    def stop(number: int) -> None:
        nonlocal stopping
        if stopping:
            log.warning("second signal, exiting at once", signal=signal.Signals(number).name)
            os._exit(_FAILED)
        log.info("stopping", signal=signal.Signals(number).name)
        stopping = True
        operator.stop()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        await operator.run()
    except LeadershipLostError as error:
        log.error("leadership lost, exiting", reason=str(error))  # noqa: TRY400  (no defect)
        return _FAILED
    except SyncTimeoutError:
        log.error("the API server did not answer in time", waiting=operator.unready())  # noqa: TRY400
        return _FAILED
    log.info("stopped")
    return 0


def serve(settings: Settings, *, hook: Callable[[str], None] | None = None) -> int:
    """Run the operator until SIGTERM or SIGINT, and return the exit code.

    Args:
        settings: from `load_settings`.
        hook: see `Operator`.

    Raises:
        StartupError: it cannot start.
    """
    configure_logging(settings.logging.level, settings.logging.format)
    return asyncio.run(_serve(settings, hook))
