"""The service's parts, started and stopped in order."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from kubernaut.datastorage import metrics, sql
from kubernaut.datastorage.body import Admission
from kubernaut.datastorage.database import ConnectionSettings, Readers, outage
from kubernaut.datastorage.health import HealthMonitor
from kubernaut.datastorage.ingest import Ingest
from kubernaut.datastorage.intake import Intake, IntakeLimits
from kubernaut.datastorage.settings import Settings
from kubernaut.datastorage.writer import WriteQueue, Writer

log = structlog.get_logger(__name__)

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
        self.health = HealthMonitor(self.readers)
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
        self._writers: list[asyncio.Task[None]] = []
        self._partitions: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
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
            await asyncio.gather(*self._writers, self._partitions, return_exceptions=True)
            await self.readers.close()

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
