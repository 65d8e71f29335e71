"""The measurements of the operator's benchmark, each on a stage of its own.

A case gives values by the keys of `operator_report.ROWS`, one for each round, and whatever else
helps to understand them as `details`.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Final

from benchmarks.operator_finished import finished, scaling
from benchmarks.operator_load import Load
from benchmarks.operator_place import OperatorProcess, Place, Stage, stage
from benchmarks.operator_requests import Requests, Sent, served
from benchmarks.operator_steady import (
    FULL,
    QUICK,
    Found,
    Sizes,
    Steady,
    many_in_flight,
    operators_own,
    with_script,
)
from benchmarks.operator_trails import trails
from kubernaut.kubernetes import Client

__all__ = ["CASES", "FULL", "QUICK"]


def single(sizes: Sizes) -> Found:
    """One in flight, one after another."""
    found = Found()
    with stage() as on:
        place = on.place()
        with on.operator(place):
            load = with_script(on, lambda client, _: _one_by_one(client, place, sizes.single))
        lives = load.lives
        found.note("end", statistics.median(each.terminal - each.written for each in lives))
        found.note("start", statistics.median(each.exists - each.created for each in lives))
        stored = trails(on.database, lives)
        found.note("stored", statistics.median(stored.seconds))
        found.remark("events lost, repeated", (stored.lost, stored.repeated))
        spread = [round((each.terminal - each.written) * 1000) for each in lives]
        found.remark("status written to terminal, ms", spread)
        spread = [round((each.exists - each.created) * 1000) for each in lives]
        found.remark("create to PipelineRun, ms", spread)
        found.remark("completed to stored, ms", [round(each * 1000) for each in stored.seconds])
    return found


async def _one_by_one(client: Client, place: Place, number: int) -> Load:
    load = Load(client, place, "single")
    # The first one opens connections and warms up what is made on first use.
    await Load(client, place, "warm").run(1, 1, until_audited=True)
    await load.run(number, 1, until_audited=True)
    return load


def many(sizes: Sizes) -> Found:
    """Many in flight."""
    found = Found()
    with stage() as on:
        for _ in range(sizes.rounds):
            place = on.place()
            with on.operator(place) as operator:
                _many_once(found, sizes, on, place, operator)
    return found


def _many_once(
    found: Found, sizes: Sizes, on: Stage, place: Place, operator: OperatorProcess
) -> None:
    async def work(client: Client, sent: Sent) -> tuple[Load, Steady, Requests]:
        load = Load(client, place, "many")
        before = served(on.cluster)
        steady = await many_in_flight(on, operator, load, sizes.load, sizes.in_flight)
        await asyncio.to_thread(operator.wait_until_quiet)  # Events are written beside the work.
        return load, steady, operators_own(on, before, sent.requests)

    load, steady, requests = with_script(on, work)
    found.note("rate", steady.per_second)
    starts = [each.exists - each.created for each in steady.lives]
    found.note("start-many", statistics.median(starts))
    found.note("requests", requests.total() / sizes.load)
    found.note("cpu", steady.cpu)
    found.note("rss", steady.rss)
    stored = trails(on.database, load.lives)
    ends = [each.terminal - each.written for each in steady.lives]
    found.remark("status written to terminal, p50, s", round(statistics.median(ends), 3))
    told = [each.audited - each.terminal for each in steady.lives]
    found.remark("Completed to AuditRecorded=True, p50, s", round(statistics.median(told), 3))
    found.remark("events lost, repeated", (stored.lost, stored.repeated))
    found.remark("requests each", {k: round(n / sizes.load, 2) for k, n in requests.items()})
    found.remark("CPU each, ms", {k: round(v * 1000, 1) for k, v in steady.others.items()})


def outage(sizes: Sizes) -> Found:
    """DataStorage is killed in the middle of a load, and comes back after some seconds."""
    found = Found()

    async def work(client: Client, _: Sent) -> tuple[Load, float]:
        load = Load(client, place, "outage")
        half = asyncio.Event()

        def look(terminal: int) -> None:
            if terminal == sizes.outage // 2:
                half.set()

        load.on_terminal = look
        running = asyncio.create_task(load.run(sizes.outage, sizes.in_flight))
        await half.wait()
        on.datastorage.kill()
        await asyncio.sleep(sizes.outage_seconds)
        await asyncio.to_thread(on.datastorage.start_again)
        back = time.monotonic()
        await running
        return load, back

    with stage() as on:
        place = on.place()
        with on.operator(place):
            load, back = with_script(on, work)
        stored = trails(on.database, load.lives)
        found.note("lost", stored.lost)
        found.remark("events repeated", stored.repeated)
        late = max(each.audited for each in load.lives) - back
        found.remark("s from the return to the last AuditRecorded=True", round(late, 1))
        waited = max(each.audited - each.terminal for each in load.lives)
        found.remark("s from Completed to AuditRecorded=True, at most", round(waited, 1))
    return found


CASES: Final[dict[str, Callable[[Sizes], Found]]] = {
    "single": single,
    "many": many,
    "outage": outage,
    "finished": finished,
    "scaling": scaling,
}
