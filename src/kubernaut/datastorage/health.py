"""How the service is: alive, ready, and what is wrong with its database."""

import asyncio
import time
from typing import Final

from kubernaut.audit.wire import Health
from kubernaut.datastorage import metrics, sql
from kubernaut.datastorage.database import Outage, Readers, outage

PROBE_SECONDS: Final = 2.0
_WRITE_FAILURE_COUNTS_SECONDS: Final = 30.0


class HealthMonitor:
    """Puts together what a probe sees and what the writers met.

    A probe alone cannot see a full disk, so the last failed write counts for half a minute, or
    until a write succeeds.
    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._write_outage: Outage | None = None
        self._write_outage_at = 0.0
        self.stopping = False

    def report(self, found: Outage | None) -> None:
        """Take note of how a write went: an outage, or None for success."""
        self._write_outage = found
        if found is not None:
            self._write_outage_at = time.monotonic()
        metrics.DATABASE_UP.set(found is None)

    async def check(self) -> Health:
        """Ask the database; within two seconds."""
        found = await self._probe() or self._recent_write_outage()
        if found is None:
            metrics.DATABASE_UP.set(1)
            return Health("healthy", "connected")
        return Health("unhealthy", found.state, found.reason)

    async def _probe(self) -> Outage | None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                pool = await self._readers.pool()
                read_only = await pool.fetchval(sql.HEALTH)
        except Exception as error:  # noqa: BLE001  (whatever it is, the answer is "unhealthy")
            metrics.DATABASE_UP.set(0)
            return outage(error) or Outage("unreachable", "the database does not answer a query")
        if read_only:
            return Outage("read_only", "the database is read-only")
        return None

    def _recent_write_outage(self) -> Outage | None:
        found = self._write_outage
        if found is None or found.state in ("timeout", "contention", "disconnected", "unreachable"):
            return None  # The probe just got through; these pass by themselves.
        if time.monotonic() - self._write_outage_at > _WRITE_FAILURE_COUNTS_SECONDS:
            return None
        return found
