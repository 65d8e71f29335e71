"""What the service is compared with: COPY of the same rows into the same tables.

The rows are ready before the clock starts: decoded, checked, digested and chained. Timed are the
driver's binary encoding, COPY of events and of chain rows, and COMMIT, in transactions of as many
events as the service's groups have, on two connections. Heads are not written, nothing is locked
and nothing is looked up.
"""

import asyncio
import gc
from collections import deque
from pathlib import Path

import msgspec
import uvloop

from benchmarks.chained import GROUP_EVENTS, Row, chained, connect, copy, prepare
from benchmarks.data import read_events
from benchmarks.worker import Stopwatch, run, wait_for_go
from kubernaut.datastorage.database import Connection


class Job(msgspec.Struct):
    """What to copy where; the last `warm_up` events of the file are written before the clock."""

    url: str
    events: str
    warm_up: int
    connections: int = 2


class Answer(msgspec.Struct):
    """Seconds, in all and of this process's CPU."""

    seconds: float
    cpu_seconds: float


Group = tuple[list[Row], list[Row]]


def _groups(rows: list[Row], links: list[Row]) -> deque[Group]:
    return deque(
        (rows[start : start + GROUP_EVENTS], links[start : start + GROUP_EVENTS])
        for start in range(0, len(rows), GROUP_EVENTS)
    )


async def _copy_all(connection: Connection, groups: deque[Group]) -> None:
    while groups:
        await copy(connection, *groups.popleft())


async def _work(job: Job) -> Answer:
    rows, links = chained(prepare(read_events(Path(job.events))))
    counted = len(rows) - job.warm_up
    connections = [await connect(job.url) for _ in range(job.connections)]
    for number, connection in enumerate(connections):
        part = slice(counted + number, None, len(connections))
        await copy(connection, rows[part], links[part])
    groups = _groups(rows[:counted], links[:counted])
    gc.collect()
    gc.disable()
    wait_for_go()
    watch = Stopwatch()
    await asyncio.gather(*(_copy_all(connection, groups) for connection in connections))
    answer = Answer(*watch.read())
    for connection in connections:
        await connection.close()
    return answer


if __name__ == "__main__":
    run(Job, lambda job: uvloop.run(_work(job)))
