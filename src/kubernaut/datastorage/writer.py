"""Group commit: queued requests become transactions; an answer is given only after the commit.

Invariants:
* A request is stored whole or, where the client asked for it, per event; never by halves.
* A writer takes what is queued, without waiting for more: load makes the groups.
* Heads are locked in sorted order at the start of a transaction, so that the `seq` of a chain has
  no gap, whoever else writes to it, and writers never deadlock on them.
* What one request does wrong never fails another: a group that the database refuses is done
  again request by request.
"""

import asyncio
import random
from datetime import date
from typing import Final, Protocol
from uuid import UUID

import asyncpg
import structlog

from kubernaut.datastorage import metrics, sql
from kubernaut.datastorage.chain import EVENT_COLUMNS
from kubernaut.datastorage.database import (
    Connection,
    ConnectionSettings,
    Outage,
    connect_writer,
    outage,
    unavailable,
)
from kubernaut.datastorage.intake import PreparedEvent
from kubernaut.datastorage.problems import Problem
from kubernaut.datastorage.write_plan import OTHER_CORRELATION, WritePlan
from kubernaut.datastorage.write_queue import Stored, WriteQueue, WriteRequest, shutting_down

log = structlog.get_logger(__name__)

CONTENTION_RETRIES: Final = 8
_EVENT_COPY_COLUMNS: Final = (*EVENT_COLUMNS, "event_date")
_CHAIN_COLUMNS: Final = (
    "seq",
    "event_timestamp",
    "event_id",
    "correlation_id",
    "hash",
    "event_digest",
    "request_digest",
)


class OutageSink(Protocol):
    """Where a writer tells how the database is."""

    def __call__(self, found: Outage | None) -> None:
        """Take note of an outage, or of a success (None)."""


class Writer:
    """Takes groups from the queue and commits each in one transaction on its own connection."""

    def __init__(self, queue: WriteQueue, settings: ConnectionSettings, report: OutageSink) -> None:
        self._queue = queue
        self._settings = settings
        self._report = report
        self._connection: Connection | None = None
        self._days: set[date] = set()  # Those whose partition is known to exist.

    async def run(self) -> None:
        """Write until the queue is closed and empty."""
        try:
            while group := await self._queue.take():
                await self._write(group)
        finally:
            await self._disconnect()

    async def _write(self, group: list[WriteRequest]) -> None:
        group = [request for request in group if not request.answer.done()]
        if not group:
            return
        try:
            await self._commit_with_retries(group)
        except asyncio.CancelledError:
            await self._disconnect()
            for request in group:
                request.fail(shutting_down())
            raise
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            await self._isolate(group, error)
        except Exception as error:  # noqa: BLE001  (every request must get its answer)
            await self._fail(group, error)

    async def _fail(self, group: list[WriteRequest], error: Exception) -> None:
        found = outage(error)
        if isinstance(error, Problem):
            answer: Exception = error
        elif found is None:
            log.error("write failed", exc_info=error)
            answer = Problem("internal-error", "the write failed; see the log")
        else:
            self._report(found)
            log.warning("database unavailable", state=found.state, reason=found.reason)
            answer = unavailable(found)
        metrics.WRITE_FAILURES.labels(found.state if found else "defect").inc()
        await self._disconnect()
        for request in group:
            request.fail(answer)

    async def _commit_with_retries(self, group: list[WriteRequest]) -> None:
        attempt = 0
        while True:
            try:
                await self._commit(group)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                attempt += 1
                if attempt == CONTENTION_RETRIES:
                    raise
                metrics.WRITE_RETRIES.labels("contention").inc()
                await asyncio.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311
            except asyncpg.CheckViolationError as error:
                # "no partition of relation found for row": it went since we made sure of it.
                if error.constraint_name is not None or attempt:
                    raise
                attempt += 1
                self._days.clear()
            else:
                return

    async def _commit(self, group: list[WriteRequest]) -> None:
        connection = await self._connected()
        await self._ensure_partitions(connection, group)
        plan = WritePlan()
        with metrics.WRITE_DURATION.time():
            await connection.execute("BEGIN")
            try:
                await self._lock(connection, group, plan)
                answers = [plan.admit(request) for request in group]
                if plan.events:
                    await self._store(connection, plan)
                await connection.execute("COMMIT" if plan.events else "ROLLBACK")
            except asyncpg.PostgresError:
                await self._rollback(connection)
                raise
        self._report(None)
        metrics.GROUP_EVENTS.observe(len(plan.events))
        for request, answer in zip(group, answers, strict=True):
            request.resolve(answer)

    async def _rollback(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._disconnect()  # The error that led here is the one to tell of.

    async def _lock(
        self, connection: Connection, group: list[WriteRequest], plan: WritePlan
    ) -> None:
        correlations: set[str] = set()
        asked: list[PreparedEvent] = []
        for request in group:
            for event in request.events:
                correlations.add(event.correlation_id)
                if event.repeatable:
                    asked.append(event)
        records = await connection.fetch(
            sql.LOCK_HEADS,
            list(correlations),
            [event.event_id for event in asked],
        )
        for correlation_id, seq, hash_, event_id, request_digest in records:
            if event_id is None:
                plan.add_head(correlation_id, seq, hash_)
            else:
                plan.add_stored(correlation_id, event_id, request_digest)

    async def _store(self, connection: Connection, plan: WritePlan) -> None:
        await connection.copy_records_to_table(
            "audit_events", records=plan.events, columns=_EVENT_COPY_COLUMNS
        )
        await connection.copy_records_to_table(
            "audit_chain", records=plan.links, columns=_CHAIN_COLUMNS
        )
        await connection.execute(sql.MOVE_HEADS, *plan.moved_heads())

    async def _isolate(self, group: list[WriteRequest], error: asyncpg.PostgresError) -> None:
        """Find out which request of a refused group is at fault, then which of its events."""
        if len(group) > 1:
            metrics.WRITE_RETRIES.labels("isolation").inc()
            for request in group:
                await self._write([request])
            return
        request = group[0]
        try:
            found = await self._find_refused(request, error)
        except Exception as inner:  # noqa: BLE001  (every request must get its answer)
            await self._fail(group, inner)
            return
        request.refused.update(found)
        await self._write(group)

    async def _find_refused(
        self, request: WriteRequest, error: asyncpg.PostgresError
    ) -> dict[int, Stored]:
        """The events that the database refuses; at least one, so that isolation comes to an end."""
        open_events = {
            position: event
            for position, event in enumerate(request.events)
            if position not in request.refused
        }
        if isinstance(error, asyncpg.UniqueViolationError):
            if (error.constraint_name or "").startswith("audit_chain"):
                raise _damaged_chain(request)
            taken = await self._placed_elsewhere(list(open_events.values()))
            if found := {
                position: Stored("conflict", event, OTHER_CORRELATION)
                for position, event in open_events.items()
                if (event.event_id, event.correlation_id) in taken
            }:
                return found
        # Nothing that passed the checks should come here; whatever does is refused, not lost.
        log.error("the database refuses an event", error=type(error).__name__)
        return {
            position: Stored("rejected", event, "the database refuses this event")
            for position, event in open_events.items()
            if len(open_events) == 1 or await self._refuses(event)
        } or {
            position: Stored("rejected", event, "the database refuses these events together")
            for position, event in open_events.items()
        }

    async def _refuses(self, event: PreparedEvent) -> bool:
        connection = await self._connected()
        await connection.execute("BEGIN")
        try:
            await connection.copy_records_to_table(
                "audit_events", records=[event.row], columns=_EVENT_COPY_COLUMNS
            )
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError):
            return True
        finally:
            await connection.execute("ROLLBACK")
        return False

    async def _placed_elsewhere(self, events: list[PreparedEvent]) -> set[tuple[UUID, str]]:
        connection = await self._connected()
        records = await connection.fetch(
            sql.PLACED_ELSEWHERE,
            [event.event_id for event in events],
            [event.event_date for event in events],
            [event.correlation_id for event in events],
        )
        return {(record[0], record[1]) for record in records}

    async def _ensure_partitions(self, connection: Connection, group: list[WriteRequest]) -> None:
        days = {event.event_date for request in group for event in request.events}
        for day in days - self._days:
            await connection.execute(sql.ENSURE_PARTITION, day)
            self._days.add(day)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_writer(self._settings)
            self._days.clear()
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _damaged_chain(request: WriteRequest) -> Problem:
    """The next seq of a chain is taken: its head was deleted or moved back, not by this service.

    The events are right, so the client is to keep them until somebody has mended the chain.
    """
    names = sorted({event.correlation_id for event in request.events})
    log.error("a chain is damaged: its head is behind its events", correlation_ids=names[:10])
    return Problem(
        "chain-damaged",
        "the chain of a correlation_id in this request is damaged: its head is behind its events;"
        " verify-chain tells more. Nothing of this request was stored",
        retry_after=60,
    )
