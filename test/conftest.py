"""A real PostgreSQL server for all tests, and an empty database for each that asks for one."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer
from test.datastorage_service import DataStorageProcess, StartService, starting
from test.kubernetes_cluster import local_cluster, start_cluster, tekton_cluster

__all__ = ["local_cluster", "start_cluster", "tekton_cluster"]  # Fixtures, found by name.
from test.reporting import Report


def _new_home() -> Path:
    """A directory that PostgreSQL's user can reach (pytest's own are closed to others)."""
    home = Path(tempfile.mkdtemp(prefix="kubernaut-test-"))
    home.chmod(0o755)
    return home


@pytest.fixture
def report(pytestconfig: pytest.Config) -> Report:
    """Prints a line that whoever reads the log wants to see, although the test passes."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}")  # noqa: T201

    return say


@pytest.fixture
def server_home() -> Iterator[Path]:
    """A home directory for a server of the test's own."""
    home = _new_home()
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server for the whole session. Tests may restart it, and leave it running."""
    home = _new_home()
    server = PostgresServer(home)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        if server.relocated:
            shutil.rmtree(server.data_directory.parent)
        shutil.rmtree(home)


@contextmanager
def new_database(server: PostgresServer) -> Iterator[str]:
    """The superuser's address of a new, empty database, which is dropped afterwards."""
    name = f"kubernaut_test_{os.getpid()}_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = server.url(name)
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT current_database(), count(*) FROM pg_class c JOIN"
            " pg_namespace n ON n.oid = relnamespace AND nspname = 'public'"
        ).fetchone()
        assert row == (name, 0), "the fixture must be the only one to use its database"
    yield url
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The superuser's address of a new, empty database, which is dropped afterwards."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def migrated_url(database_url: str) -> str:
    """The same, with the schema in it."""
    migrate(database_url)
    return database_url


@pytest.fixture
def start_service(migrated_url: str, tmp_path: Path) -> Iterator[StartService]:
    """Starts services on one database: `start_service(limits={"max_batch_events": 5})`."""
    with starting(migrated_url, tmp_path) as start:
        yield start


@pytest.fixture
def service(start_service: StartService) -> DataStorageProcess:
    """A service of the test's own."""
    return start_service()


@pytest.fixture(scope="module")
def shared_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The superuser's address of the database of `shared`."""
    with new_database(postgres_server) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="module")
def shared(
    shared_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DataStorageProcess]:
    """One service for the tests of a module, which use correlation ids of their own."""
    with starting(shared_url, tmp_path_factory.mktemp("shared")) as start:
        yield start()
