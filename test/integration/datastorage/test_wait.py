"""`--wait`: what is started together may come in any order, and the wait has an end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from kubernaut.local import PostgresServer
from kubernaut.local._port import free_port
from test.polling import wait_for

WAITING = "waiting for the database and its schema"


class Command:
    """One `kubernaut datastorage ...` on a database, with a log."""

    def __init__(self, directory: Path, url: str, *arguments: str) -> None:
        self.port = free_port()
        self._log = directory / f"{arguments[0]}-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kubernaut", "datastorage", *arguments],
                env=os.environ
                | {
                    "KUBERNAUT_DATASTORAGE_DATABASE__URL": url,
                    "KUBERNAUT_DATASTORAGE_SERVER__PORT": str(self.port),
                },
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self._log.read_text()

    def health(self) -> int:
        return httpx2.get(f"http://127.0.0.1:{self.port}/health", trust_env=False).status_code


@contextmanager
def started(directory: Path, url: str, *arguments: str) -> Iterator[Command]:
    command = Command(directory, url, *arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait(30)


def test_service_and_migration_are_started_before_the_database(
    server_home: Path, tmp_path: Path
) -> None:
    server = PostgresServer(server_home)
    server.start()
    url = server.url("kubernaut_datastorage")
    server.stop()
    with (
        started(tmp_path, url, "serve", "--wait", "60") as service,
        started(tmp_path, url, "migrate", "--wait", "60") as migration,
    ):
        wait_for(lambda: WAITING in service.said(), 30, "a service that waits")
        assert migration.process.poll() is None
        server.start()
        try:
            assert migration.process.wait(30) == 0, migration.said()
            assert migration.said().startswith("migrated the schema from nothing")
            wait_for(lambda: service.health() == 200, 30, "a healthy service")
            service.process.terminate()
            assert service.process.wait(30) == 0
        finally:
            server.stop()
    assert service.said().count(WAITING) == 1


def test_a_wait_for_the_schema_has_an_end(database_url: str, tmp_path: Path) -> None:
    with started(tmp_path, database_url, "serve", "--wait", "0.5") as service:
        assert service.process.wait(30) == 1
        assert WAITING in service.said()
        assert "run: kubernaut datastorage migrate" in service.said().splitlines()[-1]


def test_a_wait_for_the_database_has_an_end(tmp_path: Path) -> None:
    nobody = f"postgresql://u:secret@127.0.0.1:{free_port()}/x"
    with started(tmp_path, nobody, "migrate", "--wait", "0.5") as migration:
        assert migration.process.wait(30) == 1
        (line,) = migration.said().splitlines()
    assert "cannot reach the database" in line
    assert "secret" not in line


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_command_that_waits_ends_when_told_to(command: str, tmp_path: Path) -> None:
    nobody = f"postgresql://127.0.0.1:{free_port()}/x"
    with started(tmp_path, nobody, command, "--wait", "600") as waiting:
        if command == "serve":
            wait_for(lambda: WAITING in waiting.said(), 30, "a service that waits")
        waiting.process.terminate()
        assert waiting.process.wait(10) != 0
