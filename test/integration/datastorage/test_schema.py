"""The database guards the trail by itself: append-only, least privilege, partitions, versions."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest

from kubernaut.datastorage import (
    SchemaError,
    check_schema,
    create_service_login,
    migrate,
    migration_sql,
)
from kubernaut.local import PostgresServer
from test.conftest import new_database
from test.datastorage_service import EVENTS, DataStorageProcess, StartService, starting
from test.polling import wait_for

LOGIN, PASSWORD = "kubernaut_test_login", "pass'word"


def store(service: DataStorageProcess, **members: Any) -> str:
    name = f"rr-{uuid4()}"
    event = {"event_category": "workflow", "event_action": "a", "correlation_id": name} | members
    answer = service.post(EVENTS, event)
    assert answer.status_code == 201, answer.text
    return name


CHANGES: list[LiteralString] = [
    "UPDATE audit_events SET event_outcome = 'success'",
    "DELETE FROM audit_events",
    "TRUNCATE audit_events",
    "TRUNCATE {partition}",
    "UPDATE {partition} SET severity = 'x'",
    "DELETE FROM {partition}",
    "UPDATE audit_chain SET hash = sha256('x')",
    "DELETE FROM audit_chain",
    "TRUNCATE audit_chain",
    "DELETE FROM chain_head",
    "TRUNCATE chain_head",
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_superuser_is_refused(
    shared: DataStorageProcess, shared_url: str, change: LiteralString
) -> None:
    store(shared)
    partition = f"audit_events_{datetime.now(UTC):%Y_%m}"
    with (
        psycopg.connect(shared_url) as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="append-only"),
    ):
        connection.execute(change.replace("{partition}", partition))


def test_the_service_works_with_least_privilege(
    postgres_server: PostgresServer, migrated_url: str, tmp_path: Any
) -> None:
    create_service_login(migrated_url, LOGIN, PASSWORD)
    create_service_login(migrated_url, LOGIN, PASSWORD)  # Again, as every start does.
    database = migrated_url.rsplit("/", 1)[1]
    url = postgres_server.url(database, LOGIN, PASSWORD)
    old = datetime.now(UTC) - timedelta(days=900)
    with starting(url, tmp_path) as start:
        service = start()
        name = store(service, event_timestamp=old.isoformat())
        assert service.verify(name)["is_valid"]
    forbidden: list[LiteralString] = [
        "UPDATE audit_events SET event_outcome = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_chain",
        "DELETE FROM chain_head",
        "DROP TABLE audit_chain",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "CREATE TABLE mine (a int)",
        "SET session_replication_role = replica",
        "UPDATE alembic_version SET version_num = '9'",
        "CREATE ROLE other",
    ]
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in forbidden:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        owned = connection.execute(
            "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) IN"
            " ('kubernaut_datastorage', %s)",
            [LOGIN],
        ).fetchone()
    assert owned == (0,)


def test_a_partition_is_made_on_demand_and_only_of_reasonable_days(migrated_url: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:

        def ensure(day: date) -> str:
            row = connection.execute("SELECT audit_ensure_partition(%s)", [day]).fetchone()
            assert row is not None
            return str(row[0])

        assert ensure(date(2024, 2, 29)) == "audit_events_2024_02"
        assert ensure(date(2025, 1, 31)) == "audit_events_2025_01"
        assert ensure(date(2025, 1, 1)) == "audit_events_2025_01"
        for day in (date(1969, 12, 31), datetime.now(UTC).date() + timedelta(days=80)):
            with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
                ensure(day)
        default = connection.execute(
            "SELECT count(*) FROM pg_partitioned_table WHERE partdefid <> 0"
        ).fetchone()
    assert default == (0,)


def test_sessions_that_miss_the_same_partition_make_it_once(migrated_url: str) -> None:
    errors: list[Exception] = []
    months = [date(2020 + number // 12, number % 12 + 1, 15) for number in range(24)]
    barrier = threading.Barrier(6)

    def ensure_all() -> None:
        with psycopg.connect(migrated_url, autocommit=True) as connection:
            for month in months:
                barrier.wait(30)
                try:
                    connection.execute("SELECT audit_ensure_partition(%s)", [month])
                except psycopg.Error as error:
                    errors.append(error)

    threads = [threading.Thread(target=ensure_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_this_and_the_next_month_are_made_ahead(
    service: DataStorageProcess, migrated_url: str
) -> None:
    assert service.get("/health").status_code == 200
    today = datetime.now(UTC).date()
    following = today.replace(day=1) + timedelta(days=31)
    wanted = {f"audit_events_{day:%Y_%m}" for day in (today, following)}
    wait_for(lambda: wanted <= partitions(migrated_url), 10, "the partitions")


def partitions(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'audit_events'::regclass"
        ).fetchall()
    return {row[0] for row in rows}


def test_migrating_twice_and_at_once_is_migrating_once(database_url: str) -> None:
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(migrate(database_url))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line.split(" ")[0] for line in said) == ["migrated", "the", "the"]
    check_schema(database_url)


def test_a_missing_database_is_made(postgres_server: PostgresServer) -> None:
    name = f"kubernaut_test_{uuid4().hex[:12]}"
    url = postgres_server.url(name)
    try:
        assert migrate(url).startswith("migrated")
    finally:
        with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}"')


def test_a_newer_schema_is_refused_in_one_line(
    migrated_url: str, start_service: StartService
) -> None:
    with psycopg.connect(migrated_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999, newer than this version knows"):
        migrate(migrated_url)
    service = start_service(wait=False)
    assert service.wait() == 1
    (line,) = service.log().splitlines()
    assert "use a newer kubernaut" in line


def test_a_missing_schema_is_refused_in_one_line(database_url: str, tmp_path: Any) -> None:
    with starting(database_url, tmp_path) as start:
        service = start(wait=False)
        assert service.wait() == 1
        (line,) = service.log().splitlines()
    assert "run: kubernaut datastorage migrate" in line


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@127.0.0.1:9/x", "Connection refused"),
        ("nonsense", "the database address is wrong"),
    ],
)
def test_an_address_that_does_not_work_is_one_line(url: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said) as error:
        migrate(url)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


CATALOGUE: dict[str, LiteralString] = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default,"
    " collation_name FROM information_schema.columns WHERE table_schema = 'public'",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc"
    " WHERE pronamespace = 'public'::regnamespace",
    "grants": "SELECT table_name, grantee, privilege_type FROM information_schema.table_privileges"
    " WHERE table_schema = 'public'",
}


def test_the_printed_sql_makes_the_same_schema(
    postgres_server: PostgresServer, migrated_url: str
) -> None:
    with new_database(postgres_server) as by_hand:
        with psycopg.connect(by_hand, autocommit=True) as connection:
            connection.execute(migration_sql())
        check_schema(by_hand)
        for what, statement in CATALOGUE.items():
            assert rows(by_hand, statement) == rows(migrated_url, statement), what


def rows(url: str, statement: LiteralString) -> list[str]:
    with psycopg.connect(url) as connection:
        found = sorted(str(row) for row in connection.execute(statement).fetchall())
    assert found
    return found
