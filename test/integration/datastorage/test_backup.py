"""What is saved with pg_dump and restored elsewhere is the same trail, and the chain says so."""

import subprocess
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from kubernaut.audit import uuid7
from kubernaut.local import PostgresServer
from test.conftest import new_database
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, starting


def program(server: PostgresServer, name: str) -> Path:
    """One of PostgreSQL's programs of the server's own version."""
    found = Path(server.binaries_from.partition(": ")[2], name)
    assert found.exists(), (
        f"REQUIRED: {found}; on Debian: apt-get install postgresql-client, or use"
        " KUBERNAUT_POSTGRES=wheel, which has it"
    )
    return found


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return done.stderr.decode()


def store(service: DataStorageProcess, name: str, count: int) -> None:
    events = [
        {
            "event_id": str(uuid7()),
            "event_timestamp": "2026-11-01T00:00:00Z",
            "event_category": "workflow",
            "event_action": "progressed",
            "correlation_id": name,
            "event_data": {"number": number, "text": "é\n"},
        }
        for number in range(count)
    ]
    assert service.post(BATCH, events).status_code == 201


def trail(service: DataStorageProcess, name: str) -> list[str]:
    """The events with all that is stored of them, as text."""
    return sorted(
        str(event) for event in service.get(EVENTS, correlation_id=name, limit=1000).json()["data"]
    )


@pytest.fixture
def names() -> list[str]:
    return [f"rr-{uuid4()}" for _ in range(3)]


def test_a_restored_dump_is_the_same_trail_and_goes_on(
    postgres_server: PostgresServer, migrated_url: str, tmp_path: Path, names: list[str]
) -> None:
    dump = tmp_path / "audit.dump"
    with starting(migrated_url, tmp_path) as start:
        service = start()
        for name in names:
            store(service, name, 20)
        before = [trail(service, name) for name in names]
        run(program(postgres_server, "pg_dump"), "--format=custom", "--file", dump, migrated_url)
        store(service, names[0], 5)  # Later than the dump: not in it.
    with new_database(postgres_server) as restored:
        options = ["--exit-on-error", "--single-transaction", "--dbname", restored]
        run(program(postgres_server, "pg_restore"), *options, dump)
        with starting(restored, tmp_path) as start:
            service = start()
            assert [trail(service, name) for name in names] == before
            for name in names:
                verdict = service.verify(name)
                assert (verdict["is_valid"], verdict["total_events"]) == (True, 20)
            store(service, names[0], 5)
            assert service.verify(names[0])["total_events"] == 25
        with (
            psycopg.connect(restored) as connection,
            pytest.raises(psycopg.errors.RestrictViolation, match="append-only"),
        ):
            connection.execute("DELETE FROM audit_events")


def test_a_restored_dump_that_was_changed_does_not_verify(
    postgres_server: PostgresServer, migrated_url: str, tmp_path: Path, names: list[str]
) -> None:
    dump = tmp_path / "audit.sql"
    with starting(migrated_url, tmp_path) as start:
        store(start(), names[0], 3)
    run(program(postgres_server, "pg_dump"), "--file", dump, migrated_url)
    text = dump.read_text()
    assert text.count("progressed") >= 3
    dump.write_text(text.replace("progressed", "completed!", 1))
    with new_database(postgres_server) as restored:
        options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", dump, restored]
        run(program(postgres_server, "psql"), *options)
        with starting(restored, tmp_path) as start:
            verdict = start().verify(names[0])
    assert verdict["is_valid"] is False
    assert verdict["tampered_events"]
