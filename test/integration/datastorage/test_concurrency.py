"""Many writers, several processes, one history."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from kubernaut.audit import uuid7
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, StartService
from test.polling import wait_for

SAME_TIME = datetime.now(UTC).isoformat()


def event(name: str, **members: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid7()),
        "event_timestamp": SAME_TIME,
        "event_category": "workflow",
        "event_action": "progressed",
        "correlation_id": name,
    } | members


async def post_all(
    urls: list[str], batches: list[list[dict[str, Any]]], at_once: int
) -> list[httpx2.Response]:
    """Post every batch, `at_once` at a time, spread over the services."""
    waiting = list(enumerate(batches))
    answers: list[httpx2.Response] = []
    limits = httpx2.Limits(max_connections=at_once)
    async with httpx2.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:

        async def work() -> None:
            while waiting:
                number, batch = waiting.pop()
                url = urls[number % len(urls)] + BATCH
                answers.append(await client.post(url, json=batch))

        await asyncio.gather(*(work() for _ in range(at_once)))
    return answers


def seqs(url: str, name: str) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT seq FROM audit_chain WHERE correlation_id = %s ORDER BY seq", [name]
        ).fetchall()
    return [row[0] for row in rows]


async def test_64_writers_with_equal_timestamps_leave_whole_chains(
    service: DataStorageProcess, migrated_url: str
) -> None:
    chance = random.Random(1)  # noqa: S311  (a fixed choice)
    names = [f"rr-{uuid4()}" for _ in range(5)]
    events = [event(chance.choice(names)) for _ in range(2000)]
    late = [event(name, event_timestamp="2025-12-31T23:59:59Z") for name in names]
    batches = [
        chance.sample(events, chance.randint(1, 30)) + chance.sample(late, 1) for _ in range(300)
    ]
    conflicting = [[event(names[0]), events[0] | {"event_action": "other"}] for _ in range(30)]
    batches += [[one] for one in events] + conflicting
    chance.shuffle(batches)
    answers = await post_all([service.url], batches, 64)
    # Whichever of two contents of one id came first, the other was the conflict.
    assert {answer.status_code for answer in answers} <= {201, 409}
    statuses = Counter(
        result["status"]
        for answer in answers
        if answer.status_code == 201
        for result in answer.json()["results"]
    )
    stored = sum(len(seqs(migrated_url, name)) for name in names)
    assert statuses["created"] == stored
    assert stored >= len(events) + len(late)
    for name in names:
        found = seqs(migrated_url, name)
        assert found == list(range(1, len(found) + 1))
        verification = service.verify(name)
        assert verification["tampered_events"] == []
        assert verification["total_events"] == len(found)


async def test_four_processes_write_the_same_chains(
    start_service: StartService, migrated_url: str
) -> None:
    services = [start_service() for _ in range(4)]
    chance = random.Random(2)  # noqa: S311  (a fixed choice)
    names = [f"rr-{uuid4()}" for _ in range(3)]
    events = [event(chance.choice(names)) for _ in range(1500)]
    # Every event is sent twice, to whichever processes: once created, once a duplicate.
    doubled = events + events
    chance.shuffle(doubled)
    batches = [doubled[start : start + 20] for start in range(0, len(doubled), 20)]
    answers = await post_all([one.url for one in services], batches, 16)
    assert {answer.status_code for answer in answers} == {201}
    statuses = Counter(
        result["status"] for answer in answers for result in answer.json()["results"]
    )
    assert statuses == {"created": 1500, "duplicate": 1500}
    for name in names:
        found = seqs(migrated_url, name)
        assert found == list(range(1, len(found) + 1))
        assert services[0].verify(name)["tampered_events"] == []


async def test_a_poisoned_event_fails_alone(start_service: StartService, migrated_url: str) -> None:
    service = start_service(database={"writers": 1})
    taken = event(f"rr-{uuid4()}")
    assert service.post(EVENTS, taken).status_code == 201
    name = f"rr-{uuid4()}"
    first = event(name)
    assert service.post(EVENTS, first).status_code == 201
    poison = taken | {"correlation_id": f"rr-{uuid4()}"}
    with psycopg.connect(migrated_url) as blocker:
        # The one writer waits for this lock, while the others gather behind it in one group.
        blocker.execute("SELECT FROM chain_head WHERE correlation_id = %s FOR UPDATE", [name])
        batches = [[event(name)], [poison], *([event(f"rr-{uuid4()}")] for _ in range(20))]
        posting = asyncio.create_task(post_all([service.url], list(reversed(batches)), 22))
        await asyncio.to_thread(
            wait_for, lambda: "queue_requests 21.0" in service.get("/metrics").text, 20, "a queue"
        )
        blocker.rollback()
        answers = await posting
    assert sorted(answer.status_code for answer in answers) == [201] * 21 + [409]
    assert (
        'datastorage_write_retries_total{reason="isolation"} 0' not in service.get("/metrics").text
    )


def test_a_partition_that_went_is_made_again(
    service: DataStorageProcess, migrated_url: str
) -> None:
    old = event(f"rr-{uuid4()}", event_timestamp="2024-05-05T00:00:00Z")
    assert service.post(EVENTS, old).status_code == 201
    with psycopg.connect(migrated_url) as connection:
        connection.execute("DROP TABLE audit_events_2024_05")
    again = event(f"rr-{uuid4()}", event_timestamp="2024-05-06T00:00:00Z")
    assert service.post(EVENTS, again).status_code == 201
    assert service.verify(again["correlation_id"])["is_valid"]
