"""Takes requests with events from the body to the answer: decode, check, queue, wait."""

import asyncio
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from kubernaut.audit.wire import BatchAnswer, EventResult, Fault, SingleAnswer
from kubernaut.datastorage import metrics
from kubernaut.datastorage.database import Outage, Readers, unavailable
from kubernaut.datastorage.intake import Decoded, Intake, Prepared, PreparedEvent
from kubernaut.datastorage.problems import Problem
from kubernaut.datastorage.query import parent_dates
from kubernaut.datastorage.write_queue import Stored, WriteQueue, WriteRequest

_SLICE: Final = 500
"""Events prepared before other requests get a turn."""

_CREATED: Final = metrics.EVENTS.labels("created")
_REFUSED: Final = ("conflict", "rejected")


class Ingest:
    """The write path, up to the queue and back."""

    def __init__(
        self, intake: Intake, queue: WriteQueue, readers: Readers, timeout_seconds: float
    ) -> None:
        self._intake = intake
        self._queue = queue
        self._readers = readers
        self._timeout = timeout_seconds

    async def single(self, body: bytes) -> SingleAnswer:
        """Store one event.

        Raises:
            Problem: it is wrong (400), conflicts (409), or cannot be stored now (503).
        """
        decoded = self._intake.decode_single(body)
        prepared = await self._prepare(decoded)
        if faults := [*decoded.faults, *prepared.faults]:
            raise _invalid([Fault(fault.path, fault.rule) for fault in faults], batch=False)
        (stored,) = await self._store(prepared.events, len(body), lenient=False)
        event = stored.event
        if stored.status in _REFUSED:
            raise _refused([(0, stored)], batch=False)
        return SingleAnswer(
            event.event_id, event.row[0], "Audit event created successfully", stored.status
        )

    async def batch(self, body: bytes, *, lenient: bool) -> BatchAnswer:
        """Store a batch: whole, or with `lenient` what is right of it.

        Raises:
            Problem: something is wrong (400, with every fault), conflicts (409), or cannot be
                stored now (503). Nothing was stored then.
        """
        decoded = self._intake.decode_batch(body)
        prepared = await self._prepare(decoded)
        faults = sorted([*decoded.faults, *prepared.faults], key=lambda fault: fault.index or 0)
        if faults and not lenient:
            raise _invalid(faults, batch=True)
        count = len(decoded.events)
        del decoded  # Rows are made; while the commit is awaited, only they need memory.
        stored: list[Stored] = []
        if prepared.events:
            stored = await self._store(prepared.events, len(body), lenient=lenient)
        refused = [
            (index, result)
            for index, result in zip(prepared.indexes, stored, strict=True)
            if result.status in _REFUSED
        ]
        if refused and not lenient:
            raise _refused(refused, batch=True)
        return _batch_answer(count, prepared, stored, faults)

    async def _prepare(self, decoded: Decoded) -> Prepared:
        now = datetime.now(UTC)
        parents = await self._parents(decoded)
        count = len(decoded.events)
        prepared = self._intake.prepare(decoded, now, parents, range(min(count, _SLICE)))
        for start in range(_SLICE, count, _SLICE):
            await asyncio.sleep(0)
            part = self._intake.prepare(
                decoded, now, parents, range(start, min(count, start + _SLICE))
            )
            prepared.indexes.extend(part.indexes)
            prepared.events.extend(part.events)
            prepared.faults.extend(part.faults)
        if prepared.faults:
            metrics.EVENTS.labels("invalid").inc(len(prepared.faults))
        if decoded.faults:
            metrics.EVENTS.labels("invalid").inc(len(decoded.faults))
        return prepared

    async def _parents(self, decoded: Decoded) -> dict[UUID, date]:
        """The dates of the parents that are stored."""
        wanted = decoded.parent_ids()
        if not wanted:
            return {}
        return await parent_dates(await self._readers.pool(), wanted)

    async def _store(
        self, events: list[PreparedEvent], size: int, *, lenient: bool
    ) -> list[Stored]:
        request = WriteRequest(events, size, lenient=lenient)
        self._queue.put(request)
        try:
            async with asyncio.timeout(self._timeout):
                results = await request.answer
        except TimeoutError:
            raise unavailable(
                Outage("timeout", f"the commit did not come within {self._timeout:g} seconds")
            ) from None
        _count(results, lenient=lenient)
        return results


def _count(results: list[Stored], *, lenient: bool) -> None:
    if not lenient and any(result.status in _REFUSED for result in results):
        # Nothing of it was stored; only what was at fault has a result to count.
        results = [result for result in results if result.status in _REFUSED]
    created = 0
    for result in results:
        if result.status == "created":
            created += 1
        else:
            metrics.EVENTS.labels(result.status).inc()
    if created:
        _CREATED.inc(created)
        newest = max(result.event.row[0] for result in results)
        metrics.AUDIT_LAG.observe(max(0.0, (datetime.now(UTC) - newest).total_seconds()))


def _batch_answer(
    count: int, prepared: Prepared, stored: list[Stored], faults: list[Fault]
) -> BatchAnswer:
    ids: list[UUID | None] = [None] * count
    results = [EventResult(None, "rejected")] * count
    number = 0
    for index, result in zip(prepared.indexes, stored, strict=True):
        if result.status in _REFUSED:
            fault = Fault("$.event_id", result.reason or "")
            results[index] = EventResult(result.event.event_id, result.status, [fault])
        else:
            number += 1
            ids[index] = result.event.event_id
            results[index] = EventResult(result.event.event_id, result.status)
    for fault in faults:
        plain = Fault(fault.path, fault.rule)
        results[fault.index or 0] = EventResult(None, "rejected", [plain])
    return BatchAnswer(ids, f"{number} audit events created successfully", results)


def _invalid(faults: list[Fault], *, batch: bool) -> Problem:
    first = faults[0]
    where = f"event at index {first.index}" if batch else "event"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    not_object = first.path == "$.event_data" and first.rule == "a JSON object"
    return Problem(
        "invalid_event_data" if not_object else "validation-error",
        f"{where} failed validation: {first.path}: {first.rule}{more}",
        faults=faults,
    )


def _refused(refused: list[tuple[int, Stored]], *, batch: bool) -> Problem:
    faults = [
        Fault("$.event_id", result.reason or "", index if batch else None)
        for index, result in refused
    ]
    first, result = refused[0]
    where = f"event at index {first}" if batch else "event"
    slug = "conflict" if result.status == "conflict" else "validation-error"
    return Problem(
        slug,
        f"{where}: {result.reason}; nothing of this request was stored",
        faults=faults,
        extensions={"resource": "audit_event", "field": "event_id"},
    )
