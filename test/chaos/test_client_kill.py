"""SIGKILL of those who record, at any moment, with the server and its database killed in between.

Every event that `record` has returned for is stored once, in order, in a chain that verifies.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psycopg

from kubernaut.audit import AuditStore
from kubernaut.audit._entries import Tally
from kubernaut.audit._journal import Journal
from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer
from test.chaos.lives import ALONE, SHARED, Ledger, Lives, Nursery, Written
from test.datastorage_service import DataStorageProcess
from test.reporting import Report

KILLS = 1000 if os.environ.get("KUBERNAUT_CHAOS") == "long" else 50
SEED = int(os.environ.get("KUBERNAUT_CHAOS_SEED", "7"))
FLUSH_SECONDS = 300


class Outages:
    """Kills the server or its database after so many kills of a recorder, and starts it again.

    It takes as long as it takes: recorders live and die meanwhile.
    """

    def __init__(self, service: DataStorageProcess, server: PostgresServer) -> None:
        self._service = service
        self._server = server
        self._thread = ThreadPoolExecutor(1)
        self._under_way: list[Future[None]] = []
        self.kills: Counter[str] = Counter()

    def recorder_killed(self, kills: int) -> None:
        if kills % 60 == 35:
            self._under_way.append(self._thread.submit(self._kill_database))
        elif kills % 30 == 15:
            self._under_way.append(self._thread.submit(self._kill_service))

    def _kill_service(self) -> None:
        self.kills["datastorage"] += 1
        self._service.kill()
        self._service.start()

    def _kill_database(self) -> None:
        self.kills["postgresql"] += 1
        self._server.kill()
        self._server.start()

    def end(self) -> None:
        self._thread.shutdown()
        for done in self._under_way:
            done.result()


@contextmanager
def audit_service(home: Path, logs: Path) -> Iterator[tuple[PostgresServer, DataStorageProcess]]:
    with PostgresServer(home) as server:
        url = server.url("kubernaut_datastorage")
        migrate(url)
        with DataStorageProcess(url, logs) as service:
            yield server, service


def test_what_was_recorded_survives_sigkill(
    server_home: Path, tmp_path: Path, report: Report
) -> None:
    chance = random.Random(SEED)  # noqa: S311
    journals = tmp_path / "journals"
    with audit_service(server_home, tmp_path) as (server, service):
        outages = Outages(service, server)
        with Nursery(service.url, journals, tmp_path / "recorder.log") as nursery:
            lives = Lives(nursery, chance, outages.recorder_killed)
            while lives.kills < KILLS:
                lives.run(ALONE, chance.randint(1, 15))
                lives.run(SHARED, chance.randint(2, 10))
        outages.end()
        left = checked(journals)
        with AuditStore(service.url, journals) as store:
            flushed = store.flush(FLUSH_SECONDS)
        assert (flushed.pending, flushed.quarantined) == (0, 0)
        after = checked(journals)
        stored = read(server.url("kubernaut_datastorage"))
        told = assert_history(lives.ledger, stored)
        assert_counted(after, len(stored))
        for correlation, count in Counter(event.correlation for event in stored).items():
            verified = service.verify(correlation)
            assert verified["is_valid"], verified["findings"]
            assert verified["verified_events"] == count
    kills = {"recorder": lives.kills, **outages.kills}
    report(
        f"audit client: seed {SEED}, kills {kills}, told {told}, stored {len(stored)},"
        f" of these {left.delivered} while recorders were killed,"
        f" {after.duplicate} sent again, lost 0, twice 0, out of order 0"
    )


def checked(directory: Path) -> Tally:
    """The sum of the counts of the journals, none of which is damaged or counted wrong."""
    total = Tally()
    for path in directory.glob("*.journal"):
        journal = Journal(path, 2**30)
        assert journal.check() == []
        tally = journal.read_tally()
        for name in ("recorded", "created", "duplicate", "unconfirmed", "pending", "quarantined"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    assert total.recorded == total.delivered + total.pending + total.quarantined
    return total


def assert_counted(tally: Tally, stored: int) -> None:
    """Everything is delivered, and what was sent again after a kill is counted as `duplicate`."""
    assert tally.recorded == tally.delivered
    assert tally.created <= stored <= tally.delivered, (tally, stored)


def read(url: str) -> list[Written]:
    """What is stored, each chain in its order."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT c.correlation_id, (e.event_data->>'life')::int,"
            " (e.event_data->>'number')::int"
            " FROM audit_chain AS c LEFT JOIN audit_events AS e USING (event_id, correlation_id)"
            " ORDER BY c.correlation_id, c.seq"
        ).fetchall()
        (events,) = connection.execute("SELECT count(*) FROM audit_events").fetchone() or (0,)
    assert len(rows) == events
    return [Written(*row) for row in rows]


def assert_history(ledger: Ledger, stored: list[Written]) -> int:
    """All that was told is stored, once and in order; how many that are."""
    told = {
        Written(correlation, life, number)
        for (correlation, life), numbers in ledger.told.items()
        for number in numbers
    }
    lost = told - set(stored)
    assert not lost, f"{len(lost)} events are lost: {sorted(lost)[:5]}"
    twice = [event for event, count in Counter(stored).items() if count > 1]
    assert not twice, f"{len(twice)} events are stored twice: {sorted(twice)[:5]}"
    unknown = set(stored) - told - ledger.may_be_there
    assert not unknown, f"{len(unknown)} events were never recorded: {sorted(unknown)[:5]}"
    overtaken = list(out_of_order(stored))
    assert not overtaken, f"{len(overtaken)} events are out of order: {overtaken[:5]}"
    return len(told)


def out_of_order(stored: list[Written]) -> Iterator[tuple[Written, Written]]:
    """Neighbours in the wrong order.

    What a process records follows what it has recorded before, and what was recorded by processes
    that had ended before it began, if all of those were that had the directory. Of processes that
    share it, one may take over what another has left and be slower than the next.
    """
    sequences: defaultdict[tuple[str, int], list[Written]] = defaultdict(list)
    for event in stored:
        is_alone = event.correlation in ALONE[0]
        sequences[event.correlation, 0 if is_alone else event.life].append(event)
    for events in sequences.values():
        for before, after in pairwise(events):
            if before.number >= after.number:
                yield before, after
