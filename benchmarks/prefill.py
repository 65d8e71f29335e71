"""Fills a database with millions of chained events, as fast as COPY takes them.

Each row is one of some thousand prepared events with its own id, time, correlation id, payload
token, digests and place in a chain, so that rows differ and every chain verifies. Times rise over
two weeks within one month (one partition: its indexes are as large as they get); chains grow side
by side, a hundred open at a time, each to `CHAIN_EVENTS` events. The indexes are there from the
start, so that their pages are as full as an index that has grown, not as one that was built.

What is simpler than in the service: `request_digest` is the start of the event's digest, and a
head is written once, when its chain is complete.
"""

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
import uvloop

from benchmarks.chained import Chains, Row, connect, copy, prepare
from benchmarks.data import correlation_id, event
from benchmarks.worker import Stopwatch, run, say, wait_for_go
from kubernaut.datastorage.chain import EVENT_COLUMNS, event_digest

CHAIN_EVENTS: Final = 100
LONG_EVENTS: Final = 60
_OPEN_CHAINS: Final = 100
_TOLD_CHAINS: Final = 2_000
_POOL_EVENTS: Final = 5_000
_GROUP_EVENTS: Final = 3_000
_PROGRESS_EVENTS: Final = 250_000
_SPAN: Final = timedelta(days=14)
_MARGIN: Final = timedelta(minutes=10)
_SLOT: Final = "benchmarktkn"  # As long as the tokens of `data.events`; no word of theirs.
_CORRELATION: Final = EVENT_COLUMNS.index("correlation_id")
_VERSION_7: Final = (7 << 76) | (0b10 << 62)
_RANDOM: Final = ((1 << 76) - 1) ^ (0b11 << 62)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Job(msgspec.Struct):
    """How many events one of several workers adds, and between which times."""

    url: str
    name: str
    count: int
    first: datetime
    last: datetime


class Answer(msgspec.Struct):
    """Seconds, in all and of this process's CPU; some ids of long chains; mean bytes of JSON."""

    seconds: float
    cpu_seconds: float
    long_chains: list[str]
    mean_bytes: float


class _Template(NamedTuple):
    """An event's row in pieces, between which go the values that differ."""

    before: Row  # From after the id to before the correlation id.
    after: Row  # From after the correlation id to before the payload.
    payload: tuple[str, str]


def span(now: datetime) -> tuple[datetime, datetime]:
    """The first and last time: up to two weeks, within the present month."""
    last = now - _MARGIN
    month = last.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return max(month, last - _SPAN), last


def _templates(rng: random.Random) -> tuple[list[_Template], float]:
    """The pool, and the mean size of its events' JSON."""
    now = datetime.now(UTC)
    made = [event(rng, correlation_id(rng), now, _SLOT) for _ in range(_POOL_EVENTS)]
    texts = [msgspec.json.encode(one) for one in made]
    templates = []
    for one in prepare(texts):
        row = one.row[: len(EVENT_COLUMNS)]
        head, _, tail = row[-1].partition(_SLOT)
        before, after = row[2:_CORRELATION], row[_CORRELATION + 1 : -1]
        templates.append(_Template(before, after, (head, tail)))
    return templates, sum(map(len, texts)) / len(texts)


def _uuid7(moment: datetime, rng: random.Random) -> uuid.UUID:
    """A UUID of version 7 for a given time (RFC 9562, section 5.7)."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return uuid.UUID(int=(milliseconds << 80) | _VERSION_7 | (rng.getrandbits(76) & _RANDOM))


class _Generator:
    """Rows one after the other, and the heads of the chains that they complete.

    `long_chains` are the ids of those that fill a page of a query.
    """

    def __init__(self, job: Job) -> None:
        self._rng = random.Random()
        self._job = job
        self._chains = Chains()
        self._open: list[tuple[str, int]] = []
        self.templates, self.mean_bytes = _templates(self._rng)
        self.long_chains: list[str] = []

    def groups(self) -> Iterator[tuple[list[Row], list[Row], list[Row]]]:
        """Rows of events, of the chain, and of heads, a transaction at a time."""
        step = (self._job.last - self._job.first) / self._job.count
        for start in range(0, self._job.count, _GROUP_EVENTS):
            count = min(_GROUP_EVENTS, self._job.count - start)
            rows: list[Row] = []
            links: list[Row] = []
            heads: list[Row] = []
            for number in range(start, start + count):
                self._add(self._job.first + number * step, rows, links, heads)
            if start + count == self._job.count:
                heads += [self._chains.take_head(name) for name, _ in self._open]
            yield rows, links, heads

    def _add(self, moment: datetime, rows: list[Row], links: list[Row], heads: list[Row]) -> None:
        correlation = self._next_correlation(heads)
        template = self._rng.choice(self.templates)
        head, tail = template.payload
        event_id = _uuid7(moment, self._rng)
        payload = f"{head}{self._rng.getrandbits(48):012x}{tail}"
        row = (moment, event_id, *template.before, correlation, *template.after, payload)
        digest = event_digest(row)
        rows.append((*row, moment.date()))
        links.append(self._chains.link(correlation, event_id, row, digest, digest[:16]))

    def _next_correlation(self, heads: list[Row]) -> str:
        """The id of the next event; a chain that is complete makes room for a new one."""
        if len(self._open) < min(_OPEN_CHAINS, -(-self._job.count // CHAIN_EVENTS)):
            place = len(self._open)
            self._open.append(("", 0))
        else:
            place = self._rng.randrange(len(self._open))
        name, left = self._open[place]
        if not left:
            if name:
                heads.append(self._chains.take_head(name))
            name, left = correlation_id(self._rng), CHAIN_EVENTS
        elif left == CHAIN_EVENTS - LONG_EVENTS:
            self.long_chains.append(name)
        self._open[place] = (name, left - 1)
        return name


async def _work(job: Job) -> Answer:
    generator = _Generator(job)
    connection = await connect(job.url)
    wait_for_go()
    watch = Stopwatch()
    done = 0
    for rows, links, heads in generator.groups():
        await copy(connection, rows, links, heads)
        before, done = done, done + len(rows)
        if done // _PROGRESS_EVENTS > before // _PROGRESS_EVENTS:
            say(f"    {job.name}: {done:,} of {job.count:,} events, {watch.read()[0]:.0f} s")
    await connection.close()
    some = generator.long_chains[:: -(-len(generator.long_chains) // _TOLD_CHAINS) or 1]
    return Answer(*watch.read(), some, generator.mean_bytes)


if __name__ == "__main__":
    run(Job, lambda job: uvloop.run(_work(job)))
