"""More than it can do: refused at once, with bounded memory, and nothing that was taken is lost."""

import asyncio
import json
import threading
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from kubernaut.audit import uuid7
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, StartService
from test.polling import wait_for

GROWTH = 64 * 2**20
CONNECTIONS = 160  # Twenty times the eight of a normal load.


def event(name: str) -> dict[str, Any]:
    return {
        "event_id": str(uuid7()),
        "event_timestamp": "2026-11-01T00:00:00Z",
        "event_category": "workflow",
        "event_action": "progressed",
        "correlation_id": name,
        "event_data": {"text": "x" * 500},
    }


class Blocked:
    """Holds the head of a chain, so that the one writer that meets it waits."""

    def __init__(self, url: str, name: str) -> None:
        self._connection = psycopg.connect(url)
        self._connection.execute(
            "SELECT FROM chain_head WHERE correlation_id = %s FOR UPDATE", [name]
        )

    def release(self) -> None:
        self._connection.close()


def posting(service: DataStorageProcess, body: Any, answers: list[int]) -> threading.Thread:
    def post() -> None:
        answers.append(
            httpx2.post(service.url + EVENTS, json=body, timeout=60, trust_env=False).status_code
        )

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def test_a_full_queue_refuses_at_once(start_service: StartService, migrated_url: str) -> None:
    service = start_service(limits={"max_queued_requests": 3}, database={"writers": 1})
    name = f"rr-{uuid4()}"
    assert service.post(EVENTS, event(name)).status_code == 201
    blocked = Blocked(migrated_url, name)
    answers: list[int] = []
    threads = [posting(service, event(name), answers)]
    wait_for(lambda: waits_for_a_lock(migrated_url), 20, "the writer to wait")
    threads += [posting(service, event(name), answers) for _ in range(3)]
    wait_for(lambda: "queue_requests 3.0" in service.get("/metrics").text, 20, "a full queue")
    refused = service.post(EVENTS, event(name))
    assert refused.status_code == 503
    assert refused.json()["type"] == "https://kubernaut.ai/problems/overloaded"
    assert int(refused.headers["retry-after"]) > 0
    assert answers == []
    blocked.release()
    for thread in threads:
        thread.join()
    assert answers == [201] * 4
    assert service.verify(name)["total_events"] == 5


def waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name ="
            " 'kubernaut-datastorage' AND wait_event_type = 'Lock'"
        ).fetchone()
    return row is not None and row[0] > 0


def test_too_many_requests_are_refused(start_service: StartService, migrated_url: str) -> None:
    service = start_service(limits={"max_concurrent_requests": 2}, database={"writers": 1})
    name = f"rr-{uuid4()}"
    assert service.post(EVENTS, event(name)).status_code == 201
    blocked = Blocked(migrated_url, name)
    answers: list[int] = []
    threads = [posting(service, event(name), answers) for _ in range(2)]
    wait_for(lambda: "inflight_requests 2.0" in service.get("/metrics").text, 20, "two at work")
    assert service.get(EVENTS).status_code == 503
    assert service.get("/health").status_code == 200
    blocked.release()
    for thread in threads:
        thread.join()
    assert answers == [201, 201]


def test_a_large_body_is_taken_when_nothing_else_is_held(start_service: StartService) -> None:
    service = start_service(limits={"max_inflight_bytes": 1024})
    assert service.post(BATCH, [event(f"rr-{uuid4()}")] * 100).status_code == 201


async def storm(url: str, bodies: list[bytes], rounds: int) -> tuple[Counter[int], Counter[int]]:
    """Every connection posts bodies, one after the other; answers by status, and 201s by body."""
    statuses: Counter[int] = Counter()
    stored: Counter[int] = Counter()
    limits = httpx2.Limits(max_connections=CONNECTIONS)
    async with httpx2.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:

        async def work(number: int) -> None:
            for turn in range(rounds):
                which = (number + turn) % len(bodies)
                answer = await client.post(
                    url, content=bodies[which], headers={"Content-Type": "application/json"}
                )
                statuses[answer.status_code] += 1
                if answer.status_code == 201:
                    stored[which] += 1

        await asyncio.gather(*(work(number) for number in range(CONNECTIONS)))
    return statuses, stored


async def test_memory_is_bounded_under_twenty_times_the_load(
    service: DataStorageProcess,
) -> None:
    names = [f"rr-{uuid4()}" for _ in range(40)]
    bodies = [json.dumps([event(name) for _ in range(500)]).encode() for name in names]
    for name in ("warm-1", "warm-2"):
        assert service.post(BATCH, [event(name) for _ in range(500)]).status_code == 201
    normal = service.memory()
    peak = normal
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, service.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    statuses, stored = await storm(service.url + BATCH, bodies, rounds=12)
    ended.set()
    watching.join()
    assert set(statuses) == {201, 503}
    assert peak - normal <= GROWTH
    for which in stored:
        verification = service.verify(names[which])
        assert (verification["tampered_events"], verification["total_events"]) == ([], 500)
    wait_for(lambda: service.post(EVENTS, event("after")).status_code == 201, 5, "normal service")
    assert service.get("/health").status_code == 200
