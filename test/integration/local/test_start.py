import os
import pwd
import shlex
import socket
import subprocess
import threading
from pathlib import Path
from typing import Literal

import pytest

from kubernaut.local import LocalServerError, PostgresServer
from kubernaut.local._processes import working_in
from test.integration.local.queries import ask


@pytest.mark.parametrize("binaries", ["system", "wheel"])
async def test_data_outlive_the_server(
    binaries: Literal["system", "wheel"], server_home: Path
) -> None:
    server = PostgresServer(server_home, binaries=binaries)
    with server:
        assert await ask(server, "SELECT 1") == 1
        assert server.binaries_from.startswith(f"{binaries}: /")
        assert (await ask(server, "SHOW server_version")).split()[0] == server.version
        await ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        data = server.data_directory
        assert working_in(data)
    assert working_in(data) == []
    with PostgresServer(server_home) as again:  # The data's own version is chosen.
        assert again.version.split(".")[0] == server.version.split(".")[0]
        assert again.data_directory == data
        assert await ask(again, "SELECT answer FROM kept") == 42


async def test_the_cluster_is_safe_and_local(postgres_server: PostgresServer) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "max_connections": "100",
        "checkpoint_completion_target": "0.9",
    }
    for name, value in expected.items():
        assert await ask(postgres_server, f"SHOW {name}") == value, name
    assert await ask(postgres_server, "SHOW wal_compression") in {"lz4", "pglz"}
    assert await ask(postgres_server, "SELECT 'a' > 'B' AND 'é' > 'z'")  # Bytewise order.
    methods = "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules"
    assert await ask(postgres_server, methods) == ["scram-sha-256"]


def test_it_never_runs_as_root(postgres_server: PostgresServer) -> None:
    uids = {
        Path(f"/proc/{pid}").stat().st_uid for pid in working_in(postgres_server.data_directory)
    }
    assert uids == {pwd.getpwnam(postgres_server.owner).pw_uid}
    assert 0 not in uids
    if os.geteuid() != 0:
        assert uids == {os.geteuid()}


async def test_settings_override_and_nothing_edits_the_configuration(server_home: Path) -> None:
    server = PostgresServer(server_home, settings={"max_connections": "17", "work_mem": "5MB"})
    with server:
        assert await ask(server, "SHOW max_connections") == "17"
        assert await ask(server, "SHOW work_mem") == "5MB"
        assert "17" not in (server.data_directory / "postgresql.auto.conf").read_text()


async def test_the_environment_does_not_steer_the_server(
    server_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PostgresServer(server_home)
    with monkeypatch.context() as environment:
        for name in ("PGDATA", "PGHOST", "PGPORT", "PGOPTIONS", "PGUSER", "LC_ALL"):
            environment.setenv(name, "/nonexistent")
        server.start()
    try:
        assert await ask(server, "SELECT 1") == 1
    finally:
        server.stop()


def test_the_psql_command_can_be_pasted(postgres_server: PostgresServer) -> None:
    command = shlex.join(postgres_server.psql_command("postgres"))
    pasted = subprocess.run(
        ["/bin/sh", "-c", f"{command} -Atc 'SELECT 6 * 7'"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert pasted.stdout == "42\n"
    password = postgres_server.url().split(":")[2].split("@")[0]
    assert password not in command


def test_passwords_are_for_this_user_only(postgres_server: PostgresServer) -> None:
    home = postgres_server.log_file.parent
    for name in ("postgres-password", "pgpass"):
        status = (home / name).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o600, os.geteuid())


async def test_the_server_outlives_the_thread_that_started_it(server_home: Path) -> None:
    server = PostgresServer(server_home)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        for _ in range(10):
            assert await ask(server, "SELECT 1") == 1
        assert "shutdown" not in server.log_file.read_text().split("ready to accept")[-1]
    finally:
        server.stop()


async def test_restart_keeps_the_port(server_home: Path) -> None:
    with PostgresServer(server_home) as server:
        port = server.port
        server.restart()
        assert server.port == port
        assert await ask(server, "SHOW port") == str(port)


async def test_a_chosen_port_that_was_taken_meanwhile_is_replaced(server_home: Path) -> None:
    server = PostgresServer(server_home)
    server.start()
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)) as taken, server:
        assert server.port != taken.getsockname()[1]
        assert await ask(server, "SELECT 1") == 1


def test_a_fixed_port_in_use_is_an_error(server_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = PostgresServer(server_home, port=port)
        with pytest.raises(LocalServerError, match=f"port {port} on 127.0.0.1 is in use"):
            server.start()
    with server:
        assert server.port == port


def test_stopping_what_does_not_run_does_nothing(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "home")
    server.stop()
    server.kill()
    assert not (tmp_path / "home").exists()


def test_a_long_log_is_put_aside(server_home: Path) -> None:
    log = server_home / "postgres.log"
    with log.open("wb") as file:
        file.truncate(17 * 2**20)
    with PostgresServer(server_home):
        assert log.stat().st_size < 2**20
    assert (server_home / "postgres.log.1").stat().st_size == 17 * 2**20
