"""`kubernaut audit record` with real processes: the server up, away and back; kills; pipes."""

import json
import os
import signal
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from kubernaut.audit import uuid7
from kubernaut.audit.spool import journals
from test.audit_command import COMMAND, NOBODY, complaints, documents, environment, on_terminal
from test.audit_command import run as audit
from test.audit_command import start as started
from test.datastorage_service import EVENTS, DataStorageProcess
from test.polling import wait_for

ONE = ("record", "--category", "workflow", "--action", "workflow.started")
AWAY = ("--server", NOBODY, "--timeout", "0.2")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def lines(count: int, correlation: str = "rr-1") -> str:
    return "".join(
        json.dumps(
            {
                "event_category": "workflow",
                "event_action": "progressed",
                "correlation_id": correlation,
                "event_data": {"number": number},
            }
        )
        + "\n"
        for number in range(count)
    )


def kept(directory: Path) -> set[str]:
    """The ids in the journals of a directory."""
    return {str(event.event_id) for journal in journals(directory) for event in journal.events()}


def test_an_event_from_options_is_stored(shared: DataStorageProcess, directory: Path) -> None:
    event_id, parent = uuid7(), uuid7()
    options = {
        "--type": "workflow.started",
        "--outcome": "failure",
        "--correlation-id": f"rr-{uuid4()}",
        "--resource-type": "Workflow",
        "--resource-id": "wf-1",
        "--namespace": "prod",
        "--cluster-id": "c-1",
        "--actor-type": "user",
        "--actor-id": "jane",
        "--severity": "critical",
        "--duration-ms": "12",
        "--error-code": "E1",
        "--error-message": "it broke",
        "--event-id": str(event_id),
        "--timestamp": "2026-11-01T10:00:00+02:00",
        "--data": '{ "n": 1.50 }',
    }
    given = [part for option in options.items() for part in option]
    where = ("--directory", directory, "--server", shared.url)
    assert parent != event_id
    for outcome in ("created", "duplicate"):
        done = audit(*ONE, *given, *where)
        assert (done.returncode, done.stderr) == (0, ""), done
        (told,) = documents(done.stdout)
        assert told == {
            "line": 1,
            "event_id": str(event_id),
            "correlation_id": options["--correlation-id"],
            "outcome": outcome,
        }
    answer = shared.get(f"{EVENTS}/{event_id}")
    assert '{ "n": 1.50 }' in answer.text
    stored = answer.json()
    assert stored["event_timestamp"].startswith("2026-11-01T08:00:00")
    assert (stored["actor_id"], stored["severity"], stored["duration_ms"]) == (
        "jane",
        "critical",
        12,
    )
    assert kept(directory) == set()


def test_a_parent_a_payload_from_a_file_and_the_other_names_of_options(
    shared: DataStorageProcess, directory: Path, tmp_path: Path
) -> None:
    where = ("--directory", directory, "--server", shared.url, "--mode", "strict")
    (parent,) = documents(audit(*ONE, "--timestamp", "2026-11-01T10:00:00Z", *where).stdout)
    payload = tmp_path / "payload.json"
    payload.write_text('{"text": "é",\n "n": 2}\n')
    done = audit(
        *("record", "--event-category", "workflow", "--event-action", "x", "--event-type", "x.y"),
        *("--event-outcome", "pending", "--data", f"@{payload}"),
        *("--parent-event-id", parent["event_id"]),
        *("--parent-event-date", "2026-11-01T10:00:00Z", *where),
    )
    (told,) = documents(done.stdout)
    assert (done.returncode, told["outcome"]) == (0, "created"), done
    stored = shared.get(f"{EVENTS}/{told['event_id']}").json()
    assert stored["parent_event_id"] == parent["event_id"]
    assert stored["event_data"] == {"text": "é", "n": 2}
    assert (stored["event_type"], stored["event_outcome"]) == ("x.y", "pending")


def test_while_the_server_is_away_events_wait_and_the_next_run_sends_them(
    shared: DataStorageProcess, directory: Path
) -> None:
    done = audit(*ONE, "--directory", directory, *AWAY)
    (told,) = documents(done.stdout)
    assert (done.returncode, told["outcome"]) == (0, "pending")
    (complaint,) = complaints(done)
    assert complaint.startswith(f"1 events wait in {directory}: ")
    assert kept(directory) == {told["event_id"]}

    done = audit(*ONE, "--directory", directory, "--server", shared.url)
    (later,) = documents(done.stdout)
    assert later["outcome"] == "created"
    assert kept(directory) == set()
    for event_id in (told["event_id"], later["event_id"]):
        assert shared.get(f"{EVENTS}/{event_id}").status_code == 200


def test_lines_that_are_no_events_are_named_and_the_others_recorded(
    shared: DataStorageProcess, directory: Path
) -> None:
    good = '{"event_category":"workflow","event_action":"x","event_data":%s}'
    given = [
        b"\xef\xbb\xbf" + (good % '{"n": 1.50}').encode() + b"\r",
        b"",
        b'{"event_category":"workflow"',
        b"[1]",
        b'{"event_category":"nothing","event_action":"x"}',
        b'{"event_category":"workflow","event_action":"x","event_action":"y"}',
        b'{"event_category":"workflow","event_action":"\xff"}',
        b'{"a":' + b"[" * 100_000,
        b"x" * (17 * 2**20),
        (good % '{"n": 1e2}').encode(),  # And no line end.
    ]
    done = audit(
        "record", "--directory", directory, "--server", shared.url, given=b"\n".join(given)
    )
    assert done.returncode == 1
    told = {each["line"]: each for each in documents(done.stdout)}
    assert {line: each["outcome"] for line, each in told.items()} == {
        1: "created",
        5: "quarantined",
        10: "created",
    }
    assert "$.event_category" in told[5]["reason"]
    named = dict(complaint.removeprefix("line ").split(": ", 1) for complaint in complaints(done))
    assert sorted(named) == ["3", "4", "5", "6", "7", "8", "9"]
    assert named["4"] == "not a JSON object"
    assert named["6"] == "the member 'event_action' stands twice"
    assert named["7"].startswith("not UTF-8")
    assert named["9"] == f"longer than {16 * 2**20} bytes"
    assert f"kept in quarantine as {told[5]['event_id']}" in named["5"]
    assert '"event_data":{"n": 1.50}' in shared.get(f"{EVENTS}/{told[1]['event_id']}").text
    assert kept(directory) == {told[5]["event_id"]}


def test_an_event_that_the_server_refuses_is_exit_code_1(
    shared: DataStorageProcess, directory: Path
) -> None:
    done = audit(
        *ONE,
        "--timestamp",
        "1999-01-01T00:00:00Z",
        "--directory",
        directory,
        "--server",
        shared.url,
    )
    assert done.returncode == 1
    (told,) = documents(done.stdout)
    assert told["outcome"] == "quarantined"
    (complaint,) = complaints(done)
    assert complaint.startswith("line 1: refused by the server: ")
    assert kept(directory) == {told["event_id"]}


def test_many_lines_are_stored_in_their_order(shared: DataStorageProcess, directory: Path) -> None:
    correlation = f"rr-{uuid4()}"
    done = audit(
        *("record", "-", "--directory", directory, "--server", shared.url, "--timeout", "60"),
        given=lines(3000, correlation),
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = documents(done.stdout)
    assert [each["line"] for each in told] == list(range(1, 3001))
    assert {each["outcome"] for each in told} == {"created"}
    chain = shared.verify(correlation)
    assert chain["intact"] if "intact" in chain else not chain["findings"], chain
    newest = shared.get(EVENTS, correlation_id=correlation, limit=1).json()
    assert newest["data"][0]["event_id"] == told[-1]["event_id"]


def test_lines_are_recorded_and_told_of_as_they_come(
    shared: DataStorageProcess, directory: Path
) -> None:
    running = started("record", "-", "--directory", directory, "--server", shared.url)
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        for number in (1, 2, 3):
            running.stdin.write(lines(1).encode())
            (told,) = documents(running.stdout.readline())
            assert (told["line"], told["outcome"]) == (number, "created")
    finally:
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (0, b"", b"")


def test_what_was_told_is_in_the_journal_after_a_kill(directory: Path) -> None:
    running = started("record", "-", "--directory", directory, "--server", NOBODY, "--timeout", "0")
    assert running.stdin is not None
    assert running.stdout is not None
    feeding = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=running.stdin)
    running.stdin.close()
    assert feeding.stdin is not None
    feeding.stdin.write(lines(2000).encode())
    feeding.stdin.flush()
    told = [json.loads(running.stdout.readline()) for _ in range(300)]
    running.kill()
    told += [json.loads(line) for line in running.stdout.read().splitlines() if line[-1:] == b"}"]
    feeding.kill()
    feeding.communicate()
    assert running.wait() == -signal.SIGKILL
    assert running.stderr is not None
    assert {each["outcome"] for each in told} == {"pending"}
    assert {each["event_id"] for each in told} <= kept(directory)
    assert [line for journal in journals(directory) for line in journal.check()] == []
    for pipe in (running.stdout, running.stderr):
        pipe.close()


def test_ctrl_c_ends_it_quietly_and_loses_nothing(directory: Path) -> None:
    running = started("record", "-", "--directory", directory, "--server", NOBODY)
    assert running.stdin is not None
    running.stdin.write(lines(100).encode())
    wait_for(lambda: directory.exists() and len(kept(directory)) == 100, 30, "100 events")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGINT
    assert err == b""
    assert {each["event_id"] for each in documents(out)} == kept(directory)


def test_a_reader_that_goes_away_loses_no_event(directory: Path) -> None:
    running = started("record", "-", "--directory", directory, *AWAY)
    assert running.stdout is not None
    running.stdout.close()
    running.stdout = None
    _, err = running.communicate(lines(1000).encode(), timeout=60)
    assert running.returncode == 0
    assert err.startswith(b"kubernaut: 1000 events wait in ")
    assert err.count(b"\n") == 1
    assert len(kept(directory)) == 1000


def test_strict_is_exit_code_1_until_the_server_has_it(directory: Path) -> None:
    done = audit(*ONE, "--mode", "strict", "--directory", directory, *AWAY)
    (told,) = documents(done.stdout)
    assert (done.returncode, told["outcome"]) == (1, "pending")
    assert len(complaints(done)) == 1


def test_several_at_a_time_share_a_directory(shared: DataStorageProcess, directory: Path) -> None:
    correlations = [f"rr-{uuid4()}" for _ in range(3)]
    where = ("--directory", directory, "--server", shared.url, "--timeout", "60")
    running = [started("record", "-", *where) for _ in correlations]
    for one, correlation in zip(running, correlations, strict=True):
        assert one.stdin is not None
        one.stdin.write(lines(200, correlation).encode())
    for one in running:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, err) == (0, b"")
        assert [each["outcome"] for each in documents(out)] == ["created"] * 200
    assert kept(directory) == set()


def test_a_disk_that_takes_no_more_is_said_with_the_lines(directory: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 2048; exec "$@"', "sh", *COMMAND]
    done = subprocess.run(
        [*limited, "record", "-", "--directory", directory, *AWAY],
        check=False,
        env=environment(),
        input=lines(20),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (complaint,) = complaints(done)
    assert complaint.startswith("not kept: 20 events of lines 1 to 20, and nothing after that")
    assert done.stdout == ""


def test_memory_does_not_grow_with_the_input(directory: Path, tmp_path: Path) -> None:
    peaks = []
    for count in (12_000, 36_000):
        source = tmp_path / "lines"
        source.write_text(lines(count))
        with source.open() as given, (tmp_path / "out").open("w") as out:
            running = subprocess.Popen(
                [*COMMAND, "record", "-", "--directory", directory, *AWAY],
                env=environment(),
                stdin=given,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0
        assert len((tmp_path / "out").read_text().splitlines()) == count
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < peaks[0] * 1.2


def test_a_terminal_gets_a_table(shared: DataStorageProcess, directory: Path) -> None:
    where = ("--directory", directory, "--server", shared.url)
    code, text = on_terminal(*ONE, *where)
    head, row = text.splitlines()
    assert code == 0
    assert head.split() == ["line", "id", "outcome", "reason"]
    assert row.split()[0] == "1"
    assert row.split()[2] == "created"
    code, text = on_terminal(
        "record", "--category", "no\x1b[31mthing", "--action", "x", *where, columns=80
    )
    assert code == 1
    assert "quarantined" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_STATE_HOME": "{}/state"}, "state/kubernaut/audit"),
        ({"XDG_STATE_HOME": "relative", "HOME": "{}"}, ".local/state/kubernaut/audit"),
        ({"XDG_STATE_HOME": "{}/state", "KUBERNAUT_AUDIT_DIRECTORY": "{}/own"}, "own"),
    ],
)
def test_the_directory_is_where_state_is_kept(
    variables: dict[str, str], expected: str, tmp_path: Path
) -> None:
    done = audit(*ONE, *AWAY, **{name: value.format(tmp_path) for name, value in variables.items()})
    assert done.returncode == 0, done
    assert len(kept(tmp_path / expected)) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("record", "--category", "workflow"), "--action is missing"),
        (("record", "--action", "x"), "--category is missing"),
        ((*ONE, "-"), "not from both"),
        (("record", "events.json"), "'events.json' is not understood"),
        ((*ONE, "--data", "{"), "--data is not JSON"),
        ((*ONE, "--data", "@/nonexistent"), "--data: /nonexistent: No such file"),
        ((*ONE, "--event-id", str(uuid4())), "--event-id needs --timestamp"),
        ((*ONE, "--server", "ftp://x"), "must begin with http"),
        ((*ONE, "--directory", "/proc/nowhere"), "/proc/nowhere"),
        ((*ONE, "--directory", "/dev/null"), "/dev/null"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = audit(*arguments, KUBERNAUT_AUDIT_DIRECTORY=tmp_path / "unused")
    assert (done.returncode, done.stdout) == (2, "")
    (complaint,) = complaints(done)
    assert says in complaint
    assert not (tmp_path / "unused").exists()


def test_without_anything_to_record_a_person_is_told(directory: Path) -> None:
    code, text = on_terminal("record", "--directory", directory)
    assert code == 2
    assert text.startswith("kubernaut: nothing to record")


@pytest.mark.parametrize("option", [("--mode", "best_effort"), ("--timeout", "-1"), ("--now",)])
def test_wrong_options_are_exit_code_2(option: tuple[str, ...], directory: Path) -> None:
    assert audit(*ONE, "--directory", directory, *option).returncode == 2
    assert not directory.exists()
