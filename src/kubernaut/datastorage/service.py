"""The service's parts, started and stopped in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from kubernaut.datastorage import metrics, sql
from kubernaut.datastorage.body import Admission
from kubernaut.datastorage.database import (
    RETRY_AFTER_SECONDS,
    ConnectionSettings,
    Readers,
    outage,
)
from kubernaut.datastorage.health import HealthMonitor
from kubernaut.datastorage.ingest import Ingest
from kubernaut.datastorage.intake import Intake, IntakeLimits
from kubernaut.datastorage.problems import Problem
from kubernaut.datastorage.settings import Settings
from kubernaut.datastorage.write_queue import WriteQueue
from kubernaut.datastorage.writer import Writer

log = structlog.get_logger(__name__)

_LAST_COMMIT_SECONDS: Final = 1.0
_PARTITIONS_EVERY_SECONDS: Final = 3600
_PARTITIONS_RETRY_SECONDS: Final = 10


class Service:
    """Everything that one process of DataStorage runs beside its HTTP server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        limits = settings.limits
        self._connections = ConnectionSettings(
            url=settings.database.url.get_secret_value(),
            role=settings.database.role,
            connect_timeout=settings.database.connect_timeout,
            statement_timeout=settings.database.statement_timeout,
            lock_timeout=settings.database.lock_timeout,
        )
        self.readers = Readers(self._connections, settings.database.readers)
        # A connection of its own: slow queries must not make the service look unhealthy.
        self._probe = Readers(self._connections, 1)
        self.health = HealthMonitor(self._probe)
        self.admission = Admission(limits)
        self._queue = WriteQueue(limits.max_queued_requests)
        metrics.QUEUE_REQUESTS.set_function(lambda: len(self._queue))
        intake = Intake(
            IntakeLimits(
                limits.max_batch_events,
                limits.max_payload_bytes,
                limits.max_payload_depth,
                timedelta(days=limits.max_event_age_days),
            ),
            strict=settings.strict_contract,
        )
        self.ingest = Ingest(intake, self._queue, self.readers, settings.server.request_timeout)
        # A long chain holds a connection for long; half of them stay free for queries.
        self._verifications = asyncio.Semaphore(max(1, settings.database.readers // 2))
        self._writers: list[asyncio.Task[None]] = []
        self._partitions: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writers; at the end, finish what is queued."""
        for _ in range(self.settings.database.writers):
            writer = Writer(self._queue, self._connections, self.health.report)
            self._writers.append(asyncio.create_task(writer.run()))
        self._partitions = asyncio.create_task(self._keep_partitions())
        try:
            yield
        finally:
            self._partitions.cancel()
            self._queue.close()
            # The server has waited for every request, or for as long as it may: what a writer
            # still does then, nobody waits for.
            _, late = await asyncio.wait(self._writers, timeout=_LAST_COMMIT_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._writers, self._partitions, return_exceptions=True)
            await self.readers.close()
            await self._probe.close()

    @contextlib.asynccontextmanager
    async def verifying(self) -> AsyncIterator[None]:
        """Take a turn at verifying.

        Raises:
            Problem: no turn came within the time of a request.
        """
        try:
            async with asyncio.timeout(self.settings.server.request_timeout):
                await self._verifications.acquire()
        except TimeoutError:
            metrics.REFUSALS.labels("verifications").inc()
            raise Problem(
                "overloaded",
                "too many chains are being verified; try again later",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None
        try:
            yield
        finally:
            self._verifications.release()

    async def _keep_partitions(self) -> None:
        """Make this month's and the next month's partition ahead of time."""
        while True:
            try:
                await self._ensure_partitions()
                pause = _PARTITIONS_EVERY_SECONDS
            except Exception as error:  # noqa: BLE001  (writers make what is missing, too)
                found = outage(error)
                log.warning("partitions not checked", reason=found.reason if found else str(error))
                pause = _PARTITIONS_RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _ensure_partitions(self) -> None:
        pool = await self.readers.pool()
        today = datetime.now(UTC).date()
        next_month = today.replace(day=1) + timedelta(days=31)
        for day in (today, next_month):
            await pool.execute(sql.ENSURE_PARTITION, day)
