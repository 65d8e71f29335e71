import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from kubernaut.local import LocalServerError, PostgresServer
from kubernaut.local._processes import alive, working_in
from test.integration.local.queries import ask, wait_until_nothing_runs_on
from test.polling import wait_for

START = """
import sys
from pathlib import Path
from kubernaut.local import PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.data_directory, flush=True)
sys.stdin.read()
"""


def started_by_another_process(home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", START, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_no_postgres_outlives_its_parent(ending: signal.Signals, server_home: Path) -> None:
    with started_by_another_process(server_home) as parent:
        assert parent.stdout is not None
        data = Path(parent.stdout.readline().strip())
        assert working_in(data)
        parent.send_signal(ending)
    wait_until_nothing_runs_on(data)
    assert "received fast shutdown" in (server_home / "postgres.log").read_text()


async def test_a_server_that_is_still_stopping_is_waited_for(server_home: Path) -> None:
    with started_by_another_process(server_home) as parent:
        assert parent.stdout is not None
        data = Path(parent.stdout.readline().strip())
        parent.kill()
    with PostgresServer(server_home) as server:
        assert server.data_directory == data
        assert await ask(server, "SELECT 1") == 1


async def test_a_parent_killed_during_initdb_leaves_nothing_that_is_used(
    server_home: Path,
) -> None:
    with started_by_another_process(server_home) as parent:
        found = wait_for(
            lambda: list(server_home.glob("postgres-data.initialising-*/postgres-data/PG_VERSION")),
            30,
            "initdb at work",
        )
        parent.kill()
    half_made = found[0].parent
    wait_until_nothing_runs_on(half_made)
    assert not (server_home / "postgres-data").exists()
    with PostgresServer(server_home) as server:
        assert await ask(server, "SELECT count(*) > 0 FROM pg_class")
        assert not half_made.parent.exists()


async def test_killed_it_recovers_what_was_committed(server_home: Path) -> None:
    with PostgresServer(server_home) as server:
        open_connection = await asyncpg.connect(server.url())
        await open_connection.execute("CREATE TABLE kept (n int)")
        await open_connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        family = working_in(server.data_directory)
        assert len(family) > 2
        server.kill()
        assert not any(alive(pid) for pid in family)
        open_connection.terminate()
        with pytest.raises(ConnectionRefusedError):
            await ask(server, "SELECT 1")
        server.start()
        assert await ask(server, "SELECT count(*) FROM kept") == 1000
        assert "was not properly shut down" in server.log_file.read_text()


async def test_a_crashed_server_can_be_started_again(server_home: Path) -> None:
    with PostgresServer(server_home) as server:
        data = server.data_directory
        postmaster = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        wait_until_nothing_runs_on(data)
        server.start()
        assert await ask(server, "SELECT 1") == 1


def test_one_home_one_server(server_home: Path) -> None:
    with PostgresServer(server_home) as first:
        postmaster = (first.data_directory / "postmaster.pid").read_text().split()[0]
        expected = f"process id {postmaster} on port {first.port}, which process {os.getpid()}"
        with pytest.raises(LocalServerError, match=expected):
            PostgresServer(server_home).start()
        with pytest.raises(LocalServerError, match=f"is in use: .* on port {first.port}"):
            first.start()
        assert working_in(first.data_directory)
    with PostgresServer(server_home):
        pass


def test_a_live_server_of_somebody_else_is_left_alone(server_home: Path) -> None:
    with PostgresServer(server_home) as theirs:
        postmaster = (theirs.data_directory / "postmaster.pid").read_text().split()[0]
        assert theirs._lock is not None
        theirs._lock.release()  # As a server that was started by hand, with pg_ctl.
        with pytest.raises(
            LocalServerError, match=f"in use by .* id {postmaster} on port {theirs.port}; stop it"
        ):
            PostgresServer(server_home).start()
        assert working_in(theirs.data_directory)


async def test_a_stale_lock_file_with_the_id_of_another_program(server_home: Path) -> None:
    with PostgresServer(server_home) as server:
        server.kill()
        lock = server.data_directory / "postmaster.pid"
        lines = lock.read_text().splitlines(keepends=True)
        assert server._place is not None
        with server.log_file.open("ab") as log:
            other = server._place.owner.spawn(
                ["/usr/bin/tail", "-f", "/dev/null"], stderr=log, death_signal=signal.SIGKILL
            )
        try:
            lock.write_text("".join([f"{other.pid}\n", *lines[1:]]))
            server.start()
            assert await ask(server, "SELECT 1") == 1
            assert alive(other.pid)
        finally:
            other.kill()
