"""Tampering, one kind at a time, and exactly what verify-chain says of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest

from kubernaut.audit import uuid7
from kubernaut.datastorage.chain import EVENT_COLUMNS, link_hash, link_prefix
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess

LENGTH = 6


@contextmanager
def tampering(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A superuser's session in which no trigger fires."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


def write_chain(service: DataStorageProcess, length: int = LENGTH) -> str:
    name = f"rr-{uuid4()}"
    batch = [
        {
            "event_id": str(uuid7()),
            "event_timestamp": "2026-11-24T00:00:00Z",  # Equal for all: order is the chain's.
            "event_category": "workflow",
            "event_action": "progressed",
            "correlation_id": name,
            "event_data": {"step": step},
        }
        for step in range(length)
    ]
    assert service.post(BATCH, batch).status_code == 201
    return name


def findings(service: DataStorageProcess, name: str) -> list[tuple[str, int]]:
    verification = service.verify(name)
    found = [(one["verdict"], one["chain_seq"]) for one in verification["tampered_events"]]
    assert verification["is_valid"] == (not found)
    assert sum(verification["findings"].values()) == len(found)
    return found


def execute(url: str, statement: LiteralString, *arguments: object) -> None:
    with tampering(url) as connection:
        assert connection.execute(statement, arguments).rowcount != 0


def test_an_untouched_chain_has_no_finding(service: DataStorageProcess) -> None:
    name = write_chain(service)
    verification = service.verify(name)
    assert verification["is_valid"]
    assert (verification["total_events"], verification["verified_events"]) == (LENGTH, LENGTH)
    assert verification["tampered_events"] == []


def test_an_edited_event_is_a_content_mismatch(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    with tampering(migrated_url) as connection:
        edited = connection.execute(
            "UPDATE audit_events SET event_outcome = 'failure' WHERE event_id ="
            " (SELECT event_id FROM audit_chain WHERE correlation_id = %s AND seq = 3)"
            " RETURNING event_id",
            [name],
        ).fetchone()
    assert edited is not None
    assert findings(service, name) == [("content_mismatch", 3)]
    (finding,) = service.verify(name)["tampered_events"]
    assert finding["event_id"] == str(edited[0])
    events = service.get(EVENTS, correlation_id=name, order="asc").json()["data"]
    assert finding["previous_hash"] == events[1]["event_hash"]


EDITS: dict[str, LiteralString] = {
    "event_timestamp": "event_timestamp + interval '1 second'",
    "event_id": "gen_random_uuid()",
    "parent_event_date": "DATE '2026-01-01'",
    "duration_ms": "1",
    "retention_days": "7",
    "is_sensitive": "true",
    "parent_event_id": "gen_random_uuid()",
    "event_version": "'9'",
    "event_type": "'x'",
    "event_category": "'gateway'",
    "event_action": "'x'",
    "event_outcome": "'success'",
    "actor_type": "'user'",
    "actor_id": "'mallory'",
    "actor_ip": "'10.0.0.1'",
    "resource_type": "'x'",
    "resource_id": "'x'",
    "resource_name": "'x'",
    "correlation_id": "'x'",
    "trace_id": "'x'",
    "span_id": "'x'",
    "namespace": "'x'",
    "cluster_id": "'x'",
    "severity": "NULL",
    "error_code": "'x'",
    "error_message": "''",
    "event_metadata": "'{}'",
    "event_data": "'{\"step\": 3}'",  # One blank more than what was sent.
}


def test_the_edits_cover_every_column() -> None:
    assert list(EDITS) == list(EVENT_COLUMNS)


def test_an_edit_of_any_column_is_found(service: DataStorageProcess, migrated_url: str) -> None:
    for column, value in EDITS.items():
        name = write_chain(service, 4)
        execute(
            migrated_url,
            f"UPDATE audit_events SET {column} = {value} WHERE event_id ="
            " (SELECT event_id FROM audit_chain WHERE correlation_id = %s AND seq = 3)",
            name,
        )
        assert findings(service, name) == [("content_mismatch", 3)], column


def test_a_deleted_event_is_a_content_mismatch(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    execute(
        migrated_url,
        "DELETE FROM audit_events WHERE event_id ="
        " (SELECT event_id FROM audit_chain WHERE correlation_id = %s AND seq = 2)",
        name,
    )
    assert findings(service, name) == [("content_mismatch", 2)]


def test_an_edited_hash_is_a_link_mismatch_here_and_after(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    execute(
        migrated_url,
        "UPDATE audit_chain SET hash = sha256('x') WHERE correlation_id = %s AND seq = 3",
        name,
    )
    assert findings(service, name) == [("link_mismatch", 3), ("link_mismatch", 4)]


def test_an_event_edited_with_its_digest_is_a_link_mismatch(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    execute(
        migrated_url,
        "UPDATE audit_chain AS c SET event_digest = o.event_digest, event_id = o.event_id"
        " FROM audit_chain AS o WHERE c.correlation_id = %s AND c.seq = 4"
        " AND o.correlation_id = %s AND o.seq = 4",
        name,
        write_chain(service),
    )
    assert findings(service, name) == [("link_mismatch", 4)]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (3, 3), (2, 4)])
def test_missing_links_are_a_gap(
    service: DataStorageProcess, migrated_url: str, first: int, last: int
) -> None:
    name = write_chain(service)
    execute(
        migrated_url,
        "DELETE FROM audit_chain WHERE correlation_id = %s AND seq BETWEEN %s AND %s",
        name,
        first,
        last,
    )
    assert findings(service, name) == [("gap", first)]
    assert service.verify(name)["tampered_events"][0]["last_chain_seq"] == last


def drop_key(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE audit_chain DROP CONSTRAINT audit_chain_pkey")
        connection.execute(
            "ALTER TABLE audit_chain DROP CONSTRAINT audit_chain_event_id_correlation_id_key"
        )
        connection.execute("CREATE INDEX ON audit_chain (correlation_id, seq)")


def test_a_link_that_stands_twice_is_a_duplicate_seq(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    drop_key(migrated_url)
    execute(
        migrated_url,
        "INSERT INTO audit_chain SELECT * FROM audit_chain WHERE correlation_id = %s AND seq = 3",
        name,
    )
    assert findings(service, name) == [("duplicate_seq", 3)]


def test_two_events_for_one_seq_are_a_fork(service: DataStorageProcess, migrated_url: str) -> None:
    name = write_chain(service)
    drop_key(migrated_url)
    with tampering(migrated_url) as connection:
        row = connection.execute(
            "SELECT hash, event_digest FROM audit_chain WHERE correlation_id = %s AND seq = 6",
            [name],
        ).fetchone()
        assert row is not None
        # A second event on the same predecessor: a greater hash, so that it comes second.
        connection.execute(
            "INSERT INTO audit_chain SELECT seq, event_timestamp, event_id, correlation_id,"
            " decode(repeat('ff', 32), 'hex'), event_digest, request_digest"
            " FROM audit_chain WHERE correlation_id = %s AND seq = 6",
            [name],
        )
    assert findings(service, name) == [("fork", 6)]


def test_two_events_on_one_predecessor_are_a_fork(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    with tampering(migrated_url) as connection:
        rows = connection.execute(
            "SELECT hash, event_digest FROM audit_chain WHERE correlation_id = %s ORDER BY seq",
            [name],
        ).fetchall()
        forked = link_hash(link_prefix(name), 6, rows[3][0], rows[5][1])
        connection.execute(
            "UPDATE audit_chain SET hash = %s WHERE correlation_id = %s AND seq = 6",
            [forked, name],
        )
        connection.execute(
            "UPDATE chain_head SET hash = %s WHERE correlation_id = %s", [forked, name]
        )
    assert findings(service, name) == [("fork", 6)]


HEADS: dict[str, LiteralString] = {
    "the tail is cut": "DELETE FROM audit_chain WHERE correlation_id = %s AND seq > 4",
    "the hash is edited": "UPDATE chain_head SET hash = sha256('x') WHERE correlation_id = %s",
    "the seq is edited": "UPDATE chain_head SET seq = 5 WHERE correlation_id = %s",
    "the head is missing": "DELETE FROM chain_head WHERE correlation_id = %s",
    "all of it is gone": "DELETE FROM audit_chain WHERE correlation_id = %s",
}


@pytest.mark.parametrize("how", HEADS)
def test_a_head_that_does_not_fit_is_a_head_mismatch(
    service: DataStorageProcess, migrated_url: str, how: str
) -> None:
    name = write_chain(service)
    execute(migrated_url, HEADS[how], name)
    assert findings(service, name) == [("head_mismatch", LENGTH)]


def test_a_chain_whose_head_was_put_back_takes_nothing_until_it_is_mended(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name, other = write_chain(service), write_chain(service)
    execute(migrated_url, "UPDATE chain_head SET seq = 2 WHERE correlation_id = %s", name)
    event = {"event_category": "workflow", "event_action": "a"}
    answer = service.post(BATCH, [event | {"correlation_id": name}])
    assert answer.status_code == 503
    assert answer.json()["type"] == "https://kubernaut.ai/problems/chain-damaged"
    assert int(answer.headers["retry-after"]) > 0
    assert service.post(BATCH, [event | {"correlation_id": other}]).status_code == 201
    execute(
        migrated_url,
        "UPDATE chain_head AS h SET seq = c.seq, hash = c.hash FROM audit_chain AS c"
        " WHERE h.correlation_id = %s AND c.correlation_id = h.correlation_id AND c.seq = 6",
        name,
    )
    assert service.post(BATCH, [event | {"correlation_id": name}]).status_code == 201
    assert findings(service, name) == []


def test_a_page_whose_event_is_gone_does_not_end_the_listing(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name = write_chain(service)
    execute(
        migrated_url,
        "DELETE FROM audit_events WHERE event_id IN"
        " (SELECT event_id FROM audit_chain WHERE correlation_id = %s AND seq IN (3, 4))",
        name,
    )
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = service.get(EVENTS, correlation_id=name, order="asc", limit=2, cursor=cursor).json()
        seen += [event["chain_seq"] for event in page["data"]]
        cursor = page["pagination"].get("next_cursor")
    assert seen == [1, 2, 5, 6]


def test_a_long_chain_is_verified_in_bounded_memory(service: DataStorageProcess) -> None:
    name = f"rr-{uuid4()}"
    event = {"event_category": "workflow", "event_action": "a", "correlation_id": name}
    batch = [event | {"event_data": {"text": "x" * 500}}] * 5000
    for _ in range(10):
        assert service.post(BATCH, batch).status_code == 201
    memory = service.memory()
    verification = service.verify(name)
    assert (verification["is_valid"], verification["verified_events"]) == (True, 50_000)
    assert service.memory() - memory < 32 * 2**20
