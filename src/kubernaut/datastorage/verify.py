"""Walks a chain from its first event to its head and names every break.

`ChainWalker` is the pure part: rows in, findings out, memory for the previous two hashes and a
bounded list of findings. `verify_chain` feeds it from one snapshot of the database.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from asyncpg import Record

from kubernaut.audit.wire import Finding, Verdict, Verification
from kubernaut.datastorage import metrics, sql
from kubernaut.datastorage.chain import (
    ACTOR_IP,
    EVENT_COLUMNS,
    GENESIS,
    event_digest,
    link_hash,
    link_prefix,
)
from kubernaut.datastorage.database import Pool

MAX_FINDINGS: Final = 1000
_PREFETCH_ROWS: Final = 500
_EVENT_DATA: Final = EVENT_COLUMNS.index("event_data")
_EVENT_METADATA: Final = EVENT_COLUMNS.index("event_metadata")


class Link(msgspec.Struct, frozen=True):
    """One row of the chain; `content_digest` is recomputed, None where the event is gone."""

    seq: int
    hash: bytes
    event_digest: bytes
    event_id: str
    event_timestamp: datetime
    content_digest: bytes | None


class ChainWalker:
    """Checks links in the order of `seq`, then `hash`."""

    def __init__(self, correlation_id: str) -> None:
        self._prefix = link_prefix(correlation_id)
        self._seq = 0
        self._previous = GENESIS
        self._before_previous: bytes | None = None
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.total = 0
        self.verified = 0

    def feed(self, link: Link) -> None:
        """Check the next link."""
        self.total += 1
        before = sum(self.counts.values())
        if link.seq == self._seq:
            self._same_seq(link)
        else:
            gap = link.seq > self._seq + 1
            if gap:
                self._gap(self._seq + 1, link.seq - 1)
                before += 1  # The missing rows are not this one's fault.
            else:
                self._check_link(link)
        self._check_content(link)
        if link.seq != self._seq:
            self._before_previous = self._previous if link.seq == self._seq + 1 else None
            self._seq = link.seq
            self._previous = link.hash
        if sum(self.counts.values()) == before:
            self.verified += 1

    def finish(self, head: tuple[int, bytes] | None) -> None:
        """Compare the last link with the stored head."""
        seq, actual = head or (0, GENESIS)
        if head is None and self._seq == 0:
            return
        if head is None:
            message = "the chain has no head"
        elif seq > self._seq:
            message = f"the head is at {seq}, the newest stored event at {self._seq}: cut off"
        elif seq < self._seq:
            message = f"the head is at {seq}, the newest stored event at {self._seq}"
        elif actual != self._previous and seq:
            message = "the head's hash is not that of the newest event"
        else:
            return
        self._found(
            Finding(
                "head_mismatch",
                max(seq, self._seq),
                message,
                expected_hash=self._previous.hex(),
                actual_hash=actual.hex() if head else None,
            )
        )

    def _found(self, finding: Finding) -> None:
        self.counts[finding.verdict] += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)

    def _about(
        self, link: Link, verdict: Verdict, message: str, expected: bytes | None, actual: bytes
    ) -> None:
        self._found(
            Finding(
                verdict,
                link.seq,
                message,
                event_id=link.event_id,
                event_timestamp=link.event_timestamp,
                expected_hash=expected.hex() if expected else None,
                actual_hash=actual.hex(),
                previous_hash=self._previous.hex(),
            )
        )

    def _gap(self, first: int, last: int) -> None:
        message = f"{last - first + 1} event(s) are missing from the chain"
        self._found(
            Finding("gap", first, message, last_chain_seq=last, previous_hash=self._previous.hex())
        )

    def _same_seq(self, link: Link) -> None:
        if link.hash == self._previous:
            self._about(link, "duplicate_seq", "this seq stands twice", self._previous, link.hash)
        else:
            self._about(
                link, "fork", "two different events claim this seq", self._previous, link.hash
            )

    def _check_link(self, link: Link) -> None:
        expected = link_hash(self._prefix, link.seq, self._previous, link.event_digest)
        if expected == link.hash:
            return
        before = self._before_previous
        if before and link_hash(self._prefix, link.seq, before, link.event_digest) == link.hash:
            message = "this event and the one before it claim the same predecessor"
            self._about(link, "fork", message, expected, link.hash)
        else:
            message = "the hash does not follow from the previous hash and this event's digest"
            self._about(link, "link_mismatch", message, expected, link.hash)

    def _check_content(self, link: Link) -> None:
        if link.content_digest == link.event_digest:
            return
        if link.content_digest is None:
            message = "the event is gone"
        else:
            message = "the stored event is not what was chained"
        actual = link.content_digest or b""
        self._about(link, "content_mismatch", message, link.event_digest, actual)


def digest_of_record(values: Sequence[Any]) -> bytes:
    """The event digest of a stored row.

    Args:
        values: the columns `EVENT_COLUMNS`, as the driver returns them.
    """
    row = list(values)
    row[_EVENT_DATA] = row[_EVENT_DATA].decode()
    if row[_EVENT_METADATA] is not None:
        row[_EVENT_METADATA] = row[_EVENT_METADATA].decode()
    if row[ACTOR_IP] is not None:
        row[ACTOR_IP] = str(row[ACTOR_IP])
    return event_digest(row)


def _link(record: Record) -> Link:
    seq, hash_, digest, event_id, event_timestamp, present, *values = record
    content = digest_of_record(values) if present else None
    if present and values[0] != event_timestamp:
        content = b""  # The chain's copy of the time, by which events are found, was changed.
    return Link(seq, hash_, digest, str(event_id), event_timestamp, content)


async def verify_chain(pool: Pool, correlation_id: str) -> Verification:
    """Check one chain, in one snapshot, with memory that does not grow with its length.

    Raises:
        OSError, asyncpg.PostgresError: the database failed; see `database.outage`.
    """
    walker = ChainWalker(correlation_id)
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # Nested loops along the chain's index stream; a hash join would collect the table first.
        await connection.execute(
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
            " SET LOCAL enable_seqscan = off"
        )
        head = await connection.fetchrow(sql.VERIFY_HEAD, correlation_id)
        cursor = connection.cursor(sql.VERIFY_CHAIN, correlation_id, prefetch=_PREFETCH_ROWS)
        async for record in cursor:
            walker.feed(_link(record))
    walker.finish((head["seq"], head["hash"]) if head else None)
    return _verification(correlation_id, walker)


def _verification(correlation_id: str, walker: ChainWalker) -> Verification:
    for verdict, count in walker.counts.items():
        metrics.CHAIN_FINDINGS.labels(verdict).inc(count)
    if walker.counts:
        message = "Hash chain verification FAILED: tampering detected"
    elif walker.total:
        message = "Hash chain verified successfully: no tampering detected"
    else:
        message = "No events found for correlation_id"
    return Verification(
        correlation_id=correlation_id,
        is_valid=not walker.counts,
        total_events=walker.total,
        verified_events=walker.verified,
        findings=dict(walker.counts),
        tampered_events=walker.findings,
        verification_time=datetime.now(UTC),
        message=message,
    )


def verify_links(
    correlation_id: str, links: Iterable[Link], head: tuple[int, bytes] | None
) -> Verification:
    """Check a chain that is at hand, for example from an export."""
    walker = ChainWalker(correlation_id)
    for link in links:
        walker.feed(link)
    walker.finish(head)
    return _verification(correlation_id, walker)
