"""SIGKILL at any moment: every event that was answered 201 is there, once, in a whole chain."""

import os
import random
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from kubernaut.audit import uuid7
from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer
from test.datastorage_service import BATCH, DataStorageProcess
from test.polling import wait_for
from test.reporting import Report

ROUNDS = 200 if os.environ.get("KUBERNAUT_CHAOS") == "long" else 12
NAMES = [f"rr-{uuid4()}" for _ in range(6)]


def event(name: str, number: int) -> dict[str, Any]:
    return {
        "event_id": str(uuid7()),
        "event_timestamp": "2026-11-01T00:00:00Z",
        "event_category": "workflow",
        "event_action": "progressed",
        "correlation_id": name,
        "event_data": {"number": number},
    }


class Writers:
    """Clients that write without pause, and note what was answered."""

    def __init__(self, url: str, count: int) -> None:
        self._url = url
        self._ended = threading.Event()
        self.acknowledged: list[str] = []
        self.statuses: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(number),))  # noqa: S311
            for number in range(count)
        ]

    def has_acknowledged(self, count: int) -> bool:
        return len(self.acknowledged) >= count

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self, chance: random.Random) -> None:
        with httpx2.Client(timeout=30, trust_env=False) as client:
            number = 0
            while not self._ended.is_set():
                batch = [event(chance.choice(NAMES), number) for _ in range(chance.randint(1, 20))]
                number += 1
                self._send(client, batch, chance)

    def _send(
        self, client: httpx2.Client, batch: list[dict[str, Any]], chance: random.Random
    ) -> None:
        """Send a batch; after a failure sometimes again, as a client with a journal would."""
        for _ in range(chance.randint(1, 40)):
            if self._ended.is_set():
                return
            try:
                answer = client.post(self._url + BATCH, json=batch)
            except httpx2.TransportError:
                self.statuses["no answer"] += 1
                self._ended.wait(0.05)
                continue
            self.statuses[str(answer.status_code)] += 1
            if answer.status_code == 201:
                self.acknowledged += [one["event_id"] for one in batch]
                return
            assert answer.status_code == 503, answer.text
            self._ended.wait(0.05)


def test_what_was_answered_201_survives_sigkill(
    server_home: Path, tmp_path: Path, report: Report
) -> None:
    chance = random.Random(7)  # noqa: S311
    with PostgresServer(server_home) as server:
        url = server.url("kubernaut_datastorage")
        migrate(url)
        service = DataStorageProcess(url, tmp_path)
        service.start()
        writers = Writers(service.url, 4)
        writers.start()
        kills: Counter[str] = Counter()
        for number in range(ROUNDS):
            target = len(writers.acknowledged) + chance.randint(50, 400)
            wait_for(partial(writers.has_acknowledged, target), 60, "progress")
            if number % 4 == 3:
                kills["postgresql"] += 1
                server.kill()
                server.start()
            else:
                kills["datastorage"] += 1
                service.kill()
                service.start()
        writers.stop()
        assert_history(service, url, writers)
        service.end()
    report(
        f"DataStorage: kills {dict(kills)}, answers {dict(writers.statuses)},"
        f" acknowledged {len(writers.acknowledged)}, lost 0, twice 0"
    )


def assert_history(service: DataStorageProcess, url: str, writers: Writers) -> None:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT event_id::text FROM audit_events").fetchall()
        links = connection.execute("SELECT event_id::text FROM audit_chain").fetchall()
    stored = Counter(row[0] for row in rows)
    lost = set(writers.acknowledged) - set(stored)
    assert lost == set(), f"{len(lost)} acknowledged events are lost"
    assert max(stored.values()) == 1
    assert sorted(stored) == sorted(link[0] for link in links)
    for name in NAMES:
        assert service.verify(name)["tampered_events"] == []
