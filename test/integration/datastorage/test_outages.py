"""The database fails in every way it can: 503, nothing by halves, and back by itself."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import psycopg
import pytest

from kubernaut.audit import uuid7
from kubernaut.datastorage import create_service_login, migrate
from kubernaut.datastorage.database import outage
from kubernaut.local import PostgresServer
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, starting
from test.polling import wait_for

LOGIN = "kubernaut_service"
PASSWORD = "s3cret-of-the-service"
RECOVERY_SECONDS = 5


class Rig:
    """A PostgreSQL of the test's own, and the service with a limited login on it."""

    def __init__(self, home: Path, directory: Path, **settings: str) -> None:
        self.server = PostgresServer(home, settings=settings)
        self.server.start()
        self.owner_url = self.server.url("kubernaut_datastorage")
        migrate(self.owner_url)
        create_service_login(self.owner_url, LOGIN, PASSWORD)
        self.url = self.server.url("kubernaut_datastorage", LOGIN, PASSWORD)
        self.directory = directory
        self.name = f"rr-{uuid4()}"

    @contextmanager
    def service(self, *, wait: bool = True, **settings: Any) -> Iterator[DataStorageProcess]:
        with starting(self.url, self.directory) as start:
            yield start(wait=wait, **settings)

    def event(self) -> dict[str, Any]:
        return {
            "event_id": str(uuid7()),
            "event_timestamp": "2026-11-01T00:00:00Z",
            "event_category": "workflow",
            "event_action": "progressed",
            "correlation_id": self.name,
        }

    def assert_whole(self, service: DataStorageProcess, stored: int) -> None:
        """Events, chain and head agree."""
        verification = service.verify(self.name)
        assert verification["tampered_events"] == []
        assert verification["total_events"] == stored
        with psycopg.connect(self.owner_url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM audit_events WHERE correlation_id = %s", [self.name]
            ).fetchone()
        assert row == (stored,)


@pytest.fixture
def rig(server_home: Path, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(server_home, tmp_path)
    yield rig
    rig.server.stop()


def assert_unavailable(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert PASSWORD not in answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["type"].startswith("https://kubernaut.ai/problems/database-")
    return problem


def assert_unhealthy(service: DataStorageProcess, state: str) -> None:
    wait_for(lambda: service.get("/health").status_code == 503, 10, "bad health")
    answer = service.get("/health")
    assert answer.json()["database"] == state
    assert answer.json()["reason"]
    assert service.get("/readyz").status_code == 503
    assert service.get("/health/live").status_code == 200
    assert PASSWORD not in answer.text


def assert_works_again(service: DataStorageProcess, event: dict[str, Any]) -> None:
    wait_for(
        lambda: service.post(EVENTS, event).status_code == 201,
        RECOVERY_SECONDS,
        "a stored event after the outage",
    )
    assert service.get("/health").json() == {"status": "healthy", "database": "connected"}
    assert PASSWORD not in service.log()
    assert not [line for line in service.log_lines() if line["level"] == "error"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgresql_goes_and_comes_back(rig: Rig, how: str) -> None:
    with rig.service() as service:
        assert service.post(EVENTS, rig.event()).status_code == 201
        getattr(rig.server, how)()
        event = rig.event()
        assert_unavailable(service.post(EVENTS, event))
        assert_unavailable(service.get(EVENTS))
        assert_unavailable(service.get(f"{EVENTS}/{event['event_id']}"))
        assert_unhealthy(service, "unreachable")
        rig.server.start()
        assert_works_again(service, event)
        rig.assert_whole(service, 2)


def test_the_service_starts_without_its_database(rig: Rig) -> None:
    rig.server.stop()
    with rig.service(wait=False) as service:
        wait_for(lambda: service.get("/health/live").status_code == 200, 30, "the service")
        event = rig.event()
        assert_unavailable(service.post(EVENTS, event))
        rig.server.start()
        assert_works_again(service, event)


def test_a_read_only_database(rig: Rig) -> None:
    with rig.service() as service:
        assert service.post(EVENTS, rig.event()).status_code == 201
        set_read_only(rig, on=True)
        event = rig.event()
        wait_for(
            lambda: service.post(EVENTS, event | {"event_id": str(uuid7())}).status_code == 503,
            10,
            "a refusal",
        )
        problem = assert_unavailable(service.post(EVENTS, event))
        assert problem["database"] == "read_only"
        assert_unhealthy(service, "read_only")
        assert service.get(EVENTS).status_code == 200
        set_read_only(rig, on=False)
        assert_works_again(service, event)


def set_read_only(rig: Rig, *, on: bool) -> None:
    with psycopg.connect(rig.server.url(), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(
            f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}"
        )
        connection.execute("SELECT pg_reload_conf()")


def test_no_connection_left(server_home: Path, tmp_path: Path) -> None:
    rig = Rig(server_home, tmp_path, max_connections="12", superuser_reserved_connections="3")
    taken: list[psycopg.Connection[Any]] = []
    try:
        with rig.service() as service:
            # All that ordinary logins may have, before the service has connected its writers.
            taken.extend(every_connection(rig.url))
            event = rig.event()
            problem = assert_unavailable(service.post(EVENTS, event))
            assert problem["database"] == "too_many_connections"
            while taken:
                taken.pop().close()
            assert_works_again(service, event)
            rig.assert_whole(service, 1)
    finally:
        for connection in taken:
            connection.close()
        rig.server.stop()


def every_connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect until the server has no more to give."""
    while True:
        try:
            yield psycopg.connect(url)
        except psycopg.OperationalError:
            return


def test_a_database_that_hangs(rig: Rig) -> None:
    with rig.service(
        server={"request_timeout": 2}, database={"statement_timeout": 1, "writers": 1}
    ) as service:
        assert service.post(EVENTS, rig.event()).status_code == 201
        backends = stopped_backends(rig)
        try:
            event = rig.event()
            problem = assert_unavailable(service.post(EVENTS, event))
            assert problem["database"] == "timeout"
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        assert_works_again(service, event)


def stopped_backends(rig: Rig) -> list[int]:
    """The service's backends, with SIGSTOP: connected, and silent."""
    with psycopg.connect(rig.server.url()) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'kubernaut-datastorage'"
        ).fetchall()
    for (pid,) in rows:
        os.kill(pid, signal.SIGSTOP)
    return [pid for (pid,) in rows]


def test_a_full_disk(tmp_path: Path) -> None:
    """In a mount namespace of its own, where the data directory is a small disk."""
    script = Path(__file__).parent / "full_disk.py"
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace += ["--user", "--map-current-user", "--keep-caps"]
    mount = tmp_path / "disk"
    mount.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run(
        [*namespace, sys.executable, str(script), str(mount)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "full, refused, freed, stored" in result.stdout


def test_a_batch_during_an_outage_is_stored_whole_or_not(rig: Rig) -> None:
    with rig.service() as service:
        batch = [rig.event() for _ in range(500)]
        rig.server.kill()
        assert_unavailable(service.post(BATCH, batch))
        rig.server.start()
        wait_for(
            lambda: service.post(BATCH, batch).status_code == 201, RECOVERY_SECONDS, "the batch"
        )
        rig.assert_whole(service, 500)


async def test_a_connection_that_is_just_being_ended(migrated_url: str) -> None:
    """The server's farewell is read, and the end of the connection is not."""
    connection: Any = await asyncpg.connect(migrated_url)
    with psycopg.connect(migrated_url) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.get_server_pid()])
    arrived = select.poll()
    arrived.register(connection._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    assert arrived.poll(60_000)
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn  # Of the event loop; in one it reads once.
    with pytest.raises(asyncpg.InternalClientError, match="another operation") as error:
        await connection.execute("BEGIN")
    connection.terminate()
    found = outage(error.value)
    assert found is not None
    assert found.state == "unreachable"
