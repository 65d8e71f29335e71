"""`kubernaut audit spool` on directories that a process has in use, had in use, or damaged."""

import json
import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernaut.audit import AuditStore, DeliveryLimits, InvalidEventError, Receipt
from kubernaut.audit.spool import JournalFile, journals
from test.answering_server import Answer, AnsweringServer, Received
from test.audit_command import (
    COMMAND,
    NOBODY,
    Done,
    complaints,
    documents,
    environment,
    on_terminal,
)
from test.audit_command import run as audit
from test.audit_events import an_event
from test.datastorage_service import EVENTS, DataStorageProcess
from test.polling import wait_for

SOON = DeliveryLimits(linger=0.0, backoff_base=0.01, backoff_cap=0.05)
PROBLEM = {"Content-Type": "application/problem+json"}


def refusing(_: Received) -> Answer:
    return Answer(400, b'{"type":"x","title":"no","status":400,"detail":"not today"}', PROBLEM)


def accepting(request: Received) -> Answer:
    events = json.loads(request.body)
    ids = [event["event_id"] for event in events]
    return Answer(201, json.dumps({"event_ids": ids, "message": ""}).encode())


def refused_by_a_server(directory: Path, count: int = 1) -> list[str]:
    """Events in quarantine that another server would take."""
    with (
        AnsweringServer.running(refusing) as server,
        AuditStore(server.url, directory, limits=SOON) as store,
    ):
        receipts = [store.record(an_event(number)) for number in range(count)]
        assert store.flush(30).quarantined == count
    return [str(receipt.event_id) for receipt in receipts]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def filled(directory: Path) -> list[Receipt]:
    """Two events that wait, and one that `record` has refused."""
    store = AuditStore(NOBODY, directory)
    receipts = [store.record(an_event(number, correlation="rr\x1b[31m-1")) for number in (1, 2)]
    with pytest.raises(InvalidEventError):
        store.record(an_event(3, event_category="nothing"))
    store.close(0)
    return receipts


@pytest.fixture
def busy(directory: Path, filled: list[Receipt]) -> Iterator[AuditStore]:
    """The same with a process that has it in use: this one."""
    assert len(filled) == 2
    with AuditStore(NOBODY, directory) as store:
        yield store
        store.close(0)


def spool(directory: Path, *arguments: str | Path, given: str = "") -> Done:
    return audit("spool", *arguments, "--directory", directory, given=given)


def told(done: Done) -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (0, ""), done
    return documents(done.stdout)


def listed(directory: Path, state: str = "all") -> list[dict[str, Any]]:
    return told(spool(directory, "list", "--state", state))


def only(directory: Path) -> JournalFile:
    (journal,) = journals(directory)
    return journal


@pytest.mark.usefixtures("filled")
def test_the_status_of_a_journal_that_nobody_has(directory: Path) -> None:
    (status,) = told(spool(directory, "status", "--check"))
    assert status.pop("bytes") > 4096
    assert 0 < status.pop("oldest_seconds") < 60
    assert status == {
        "journal": only(directory).name,
        "in_use": False,
        "recorded": 3,
        "delivered": 0,
        "pending": 2,
        "quarantined": 1,
    }


def test_everything_can_be_looked_at_while_a_process_has_it(
    busy: AuditStore, directory: Path
) -> None:
    (status,) = told(spool(directory, "status", "--check"))
    assert status["in_use"]
    busy.record(an_event(4))
    assert [each["state"] for each in listed(directory)] == ["pending"] * 3 + ["quarantined"]
    assert len(told(spool(directory, "export"))) == 4
    assert busy.stats().pending == 3


def test_one_process_per_journal(busy: AuditStore, directory: Path) -> None:
    with AuditStore(NOBODY, directory) as other:
        other.record(an_event(5))
        assert [status["pending"] for status in told(spool(directory, "status"))] == [2, 1]
        other.close(0)
    states = told(spool(directory, "status"))
    assert [(status["in_use"], status["pending"]) for status in states] == [(True, 2), (False, 1)]
    assert busy.stats().pending == 2


def test_a_list_has_the_facts_of_each_event(filled: list[Receipt], directory: Path) -> None:
    pending = listed(directory, "pending")
    assert [each["event_id"] for each in pending] == [str(one.event_id) for one in filled]
    for each in pending:
        assert each["recorded_at"].startswith("20")
        assert each["event_type"] == "workflow.progressed"
        assert "reason" not in each
    (refused,) = listed(directory, "quarantined")
    assert refused["refusals"] == 1
    assert refused["first_refused_at"] == refused["last_refused_at"]
    assert "$.event_category" in refused["reason"]
    assert listed(directory) == [*pending, refused]


def test_more_events_than_are_looked_at_in_one_go(directory: Path) -> None:
    store = AuditStore(NOBODY, directory)
    ids = [str(store.record(an_event(number)).event_id) for number in range(1200)]
    for number in range(600):
        with pytest.raises(InvalidEventError):
            store.record(an_event(number, event_category="nothing"))
    store.close(0)
    everything = listed(directory)
    assert [each["event_id"] for each in everything[:1200]] == ids
    assert len(everything) == 1800
    assert spool(directory, "retry", "--all").stdout.startswith("600 ")
    assert len(listed(directory, "pending")) == 1800


def test_an_event_is_shown_whole(filled: list[Receipt], directory: Path) -> None:
    done = spool(directory, "show", str(filled[0].event_id))
    shown = json.loads(done.stdout)
    assert shown["state"] == "pending"
    assert shown["event"]["event_data"] == {"number": 1}
    assert done.stdout.count("\n") > 8
    (refused,) = listed(directory, "quarantined")
    shown = json.loads(spool(directory, "show", refused["event_id"]).stdout)
    given = an_event(3, event_category="nothing", event_id=refused["event_id"])
    assert shown["event"].pop("event_timestamp"), "the identity that it lacked is given to it"
    assert shown == refused | {"event": given}
    unknown = "018f0000-0000-7000-8000-000000000001"
    done = spool(directory, "show", unknown)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaints(done) == [
        f"no event {unknown} in {directory}: it never came here, or was delivered"
    ]


@pytest.mark.usefixtures("filled")
def test_an_export_can_be_recorded_elsewhere(
    shared: DataStorageProcess, directory: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pending.ndjson"
    done = spool(directory, "export", "--state", "pending", "--file", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    bodies = [event.body for event in only(directory).events("pending")]
    assert file.read_bytes() == b"".join(body + b"\n" for body in bodies)
    where = ("--directory", tmp_path / "other", "--server", shared.url)
    done = audit("record", "-", *where, given=file.read_bytes())
    assert [each["outcome"] for each in told(done)] == ["created", "created"]

    again = spool(directory, "export", "--file", file)
    assert again.returncode == 1
    assert complaints(again) == [f"{file}: File exists"]
    assert len(file.read_bytes().splitlines()) == 2
    within = ("--directory", directory)
    full = subprocess.run(
        ["sh", "-c", '"$@" > /dev/full', "sh", *COMMAND, "spool", "export", *within],
        check=False,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert full.returncode == 1
    assert full.stderr == "kubernaut: standard output: No space left on device\n"


def test_what_is_put_back_waits_for_the_next_store(
    shared: DataStorageProcess, directory: Path
) -> None:
    first, second, third = refused_by_a_server(directory, 3)
    done = spool(directory, "retry", first, first)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 of the events in quarantine will be sent again\n"
    (pending,) = listed(directory, "pending")
    assert (pending["event_id"], pending["refusals"]) == (first, 1)
    done = spool(directory, "retry", "--all")
    assert done.stdout.startswith("2 of the events")
    (status,) = told(spool(directory, "status", "--check"))
    assert (status["recorded"], status["pending"], status["quarantined"]) == (3, 3, 0)
    with AuditStore(shared.url, directory) as store:
        assert store.flush(30).pending == 0
    for event_id in (first, second, third):
        assert shared.get(f"{EVENTS}/{event_id}").status_code == 200


def test_a_server_that_is_given_gets_them_at_once(
    shared: DataStorageProcess, directory: Path
) -> None:
    (event_id,) = refused_by_a_server(directory)
    done = spool(directory, "retry", event_id, "--server", NOBODY, "--timeout", "0.2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == "1 events are pending, 0 in quarantine"
    assert complaints(done)[0].startswith("not delivered: ")
    done = spool(directory, "retry", "--all", "--server", shared.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "0 of the events in quarantine will be sent again",
        "0 events are pending, 0 in quarantine",
    ]
    assert shared.get(f"{EVENTS}/{event_id}").status_code == 200


def test_the_process_that_has_them_sends_what_is_put_back(directory: Path) -> None:
    with (
        AnsweringServer.running(refusing) as server,
        AuditStore(server.url, directory, limits=SOON) as store,
    ):
        receipt = store.record(an_event(1))
        assert receipt.wait(30) == "quarantined"
        server.decide = accepting
        done = spool(directory, "retry", str(receipt.event_id), "--server", server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "sent by the processes that have their journals in use" in done.stdout
        store.record(an_event(2))  # Or the process looks by itself, every half a minute.
        wait_for(lambda: store.stats().delivered == 2, 30, "both events delivered")
        stats = store.stats()
        assert (stats.recorded, stats.pending, stats.quarantined) == (2, 0, 0)
        assert only(directory).check() == []


@pytest.mark.usefixtures("filled")
def test_what_is_not_in_quarantine_cannot_be_put_back(directory: Path) -> None:
    (pending, _) = listed(directory, "pending")
    unknown = "018f0000-0000-7000-8000-000000000001"
    (refused,) = listed(directory, "quarantined")
    done = spool(directory, "retry", pending["event_id"], unknown, refused["event_id"])
    assert done.returncode == 1
    assert done.stdout.startswith("1 of the events")
    assert complaints(done) == [
        f"no event {event_id} is in quarantine in {directory}"
        for event_id in (pending["event_id"], unknown)
    ]


@pytest.mark.usefixtures("filled")
def test_a_damaged_journal_is_named_and_the_others_are_shown(directory: Path) -> None:
    damaged = directory / "018f.journal"
    damaged.write_bytes(b"this is no journal" * 1000)
    done = spool(directory, "status")
    assert done.returncode == 1
    bad, good = documents(done.stdout)
    assert bad["journal"] == damaged.name
    assert "not a database" in bad["wrong"][0]
    assert (good["pending"], "wrong" in good) == (2, False)
    (complaint,) = complaints(done)
    assert str(damaged) in complaint
    for command, shown in (("list", 3), ("export", 3)):
        done = spool(directory, command)
        assert done.returncode == 1
        assert len(documents(done.stdout)) == shown
        assert len(complaints(done)) == 1
    assert damaged.exists()


@pytest.mark.usefixtures("filled")
def test_a_check_counts_anew(directory: Path) -> None:
    with sqlite3.connect(only(directory).path) as connection:
        connection.execute("UPDATE tally SET recorded = 9, pending = 1")
    connection.close()
    done = spool(directory, "status")
    assert done.returncode == 1
    assert documents(done.stdout)[0]["wrong"] == ["unaccounted: 7 instead of 0"]
    done = spool(directory, "status", "--check")
    assert done.returncode == 1
    name = only(directory).name
    assert complaints(done) == [
        f"{name}: pending: 1 instead of 2",
        f"{name}: unaccounted: 7 instead of 0",
    ]


def test_a_journal_of_another_version_is_not_misread(directory: Path) -> None:
    AuditStore(NOBODY, directory).close(0)
    with sqlite3.connect(only(directory).path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for command in (["status"], ["list"], ["export"], ["retry", "--all"]):
        done = spool(directory, *command)
        assert done.returncode == 1
        assert "has version 99" in complaints(done)[0]


def test_a_journal_that_was_never_used_is_empty(directory: Path) -> None:
    directory.mkdir()
    (directory / "018f.journal").touch()
    (status,) = told(spool(directory, "status", "--check"))
    assert (status["recorded"], status["in_use"]) == (0, False)
    assert listed(directory) == []
    assert spool(directory, "retry", "--all").stdout.startswith("0 ")


@pytest.mark.parametrize("command", [["status"], ["list"], ["export"], ["retry", "--all"]])
@pytest.mark.usefixtures("filled")
def test_a_user_who_may_only_read_is_told_what_is_missing(
    directory: Path, command: list[str]
) -> None:
    # Even root may only read what is read-only once its capabilities are gone.
    limited = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    for path in directory.iterdir():
        path.chmod(0o400)
    directory.chmod(0o500)
    try:
        done = subprocess.run(
            [*limited, *COMMAND, "spool", *command, "--directory", directory],
            check=False,
            env=environment(),
            capture_output=True,
            text=True,
        )
    finally:
        directory.chmod(0o700)
    assert done.returncode == 1
    (complaint,) = complaints(done)
    assert "without the right to write" in complaint
    assert f"uid {os.getuid()}" in complaint


@pytest.mark.parametrize("command", [["status"], ["list"], ["export"], ["retry", "--all"]])
@pytest.mark.parametrize("missing", ["/nonexistent/audit", "/dev/null"])
def test_a_directory_that_is_none_is_exit_code_2(command: list[str], missing: str) -> None:
    done = spool(Path(missing), *command)
    assert (done.returncode, done.stdout) == (2, "")
    (complaint,) = complaints(done)
    assert missing in complaint


@pytest.mark.parametrize(
    "arguments",
    [["retry"], ["retry", "--all", "018f0000-0000-7000-8000-000000000001"], ["show", "x"]],
)
@pytest.mark.usefixtures("filled")
def test_a_wrong_command_line_is_exit_code_2(directory: Path, arguments: list[str]) -> None:
    assert spool(directory, *arguments).returncode == 2


@pytest.mark.usefixtures("filled")
def test_a_terminal_gets_tables(directory: Path) -> None:
    where = ("--directory", directory)
    code, text = on_terminal("spool", "status", *where)
    assert code == 0
    head, row = text.splitlines()
    assert head.split()[:3] == ["journal", "in", "use"]
    assert row.split()[:6] == [only(directory).path.stem, "no", "3", "0", "2", "1"]
    code, text = on_terminal("spool", "list", *where)
    assert code == 0
    assert "\x1b" not in text
    assert r"rr\x1b[31m" in text
    assert text.count("pending") == 2
    assert text.count("quarantined") == 1
    for command in ("status", "list"):
        code, text = on_terminal("spool", command, *where, columns=80)
        assert code == 0
        assert max(map(len, text.splitlines())) <= 80
    empty = directory / "empty"
    empty.mkdir()
    assert on_terminal("spool", "status", "--directory", empty) == (0, "no journals\n")


@pytest.mark.usefixtures("filled")
def test_a_reader_that_goes_away_is_no_failure_to_speak_of(directory: Path) -> None:
    for command in ("list", "export", "status"):
        running = subprocess.Popen(
            [*COMMAND, "spool", command, "--directory", directory],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert running.stdout is not None
        running.stdout.close()
        running.stdout = None
        _, err = running.communicate(timeout=60)
        assert (running.returncode, err) == (141, b"")
