"""The journal: what is committed is there, once, and counted."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from kubernaut.audit import InvalidEventError, JournalError, JournalFullError
from kubernaut.audit._entries import Entry, Outcome
from kubernaut.audit._journal import Journal
from kubernaut.audit._snapshot import snapshot
from test.audit_events import a_shot, an_event, identified

CAP = 2**20


class Clock:
    """Unix time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    journal = Journal(tmp_path / "a.journal", CAP, clock)
    journal.open()
    yield journal
    assert journal.read_tally().unaccounted == 0
    assert journal.check() == []
    journal.close()


def append(journal: Journal, number: int = 0) -> Entry:
    shot = a_shot(number)
    assert journal.commit(journal.append(shot, own_id=False)) == "new"
    return next(e for e in everything(journal) if e.event_id == shot.event_id)


def everything(journal: Journal) -> list[Entry]:
    return journal.read(after=None, limit=10_000)


def test_events_come_back_in_the_order_of_recording(journal: Journal) -> None:
    shots = [a_shot(number) for number in range(10)]
    for shot in shots:
        journal.commit(journal.append(shot, own_id=False))
    assert [entry.body for entry in everything(journal)] == [shot.body for shot in shots]
    assert journal.tally.recorded == journal.tally.pending == 10


def test_positions_never_go_back_when_the_clock_does(journal: Journal, clock: Clock) -> None:
    bodies = []
    for jump in (0.0, 3600.0, -7200.0, 0.0, -1.0, 86400.0, -86400.0 * 365):
        clock.now += jump
        bodies.append(append(journal).body)
    assert [entry.body for entry in everything(journal)] == bodies


def test_the_same_event_is_recorded_once(journal: Journal) -> None:
    shot = snapshot(identified(str(uuid4())))
    results = [journal.commit(journal.append(shot, own_id=False)) for _ in range(3)]
    assert results == ["new", "known", "known"]
    assert journal.tally.recorded == 1


def test_an_id_that_is_pending_with_other_content_goes_into_quarantine(journal: Journal) -> None:
    event_id = str(uuid4())
    one, other = (snapshot(identified(event_id, number)) for number in (1, 2))
    journal.commit(journal.append(one, own_id=False))
    for times in (1, 2):
        assert journal.commit(journal.append(other, own_id=False)) == "reused"
        (kept,) = journal.quarantined()
        assert (kept.body, kept.times) == (other.body, times)
    assert journal.tally.recorded == 2


def test_an_own_id_with_other_content_is_known_and_counted(journal: Journal) -> None:
    event_id = str(uuid4())
    one, other = (snapshot(identified(event_id, number)) for number in (1, 2))
    journal.commit(journal.append(one, own_id=True))
    assert journal.commit(journal.append(other, own_id=True)) == "known"
    assert journal.tally.own_conflicts == 1
    assert [entry.body for entry in everything(journal)] == [one.body]


@pytest.mark.parametrize("fate", ["created", "duplicate", "unconfirmed"])
def test_an_accepted_event_leaves_and_is_counted(journal: Journal, fate: str) -> None:
    entry = append(journal)
    journal.settle([Outcome(entry, fate)])  # type: ignore[arg-type]
    assert everything(journal) == []
    assert getattr(journal.tally, fate) == journal.tally.delivered == 1


def test_settling_twice_counts_once(journal: Journal) -> None:
    entry = append(journal)
    for _ in range(2):
        journal.settle([Outcome(entry, "created")])
    assert journal.tally.created == 1


def test_a_refused_event_is_kept_with_reason_count_and_times(
    journal: Journal, clock: Clock
) -> None:
    first_at = clock.now
    entry = append(journal)
    for number in range(1, 4):
        clock.now += 60
        entry = everything(journal)[0]
        journal.settle([Outcome(entry, "quarantined", f"reason {number}")])
        (kept,) = journal.quarantined()
        assert (kept.reason, kept.times) == (f"reason {number}", number)
        assert (kept.first_at, kept.last_at) == (first_at + 60, clock.now)
        assert journal.retry([entry.event_id]) == 1
    assert journal.tally.recorded == journal.tally.pending == 1
    assert journal.quarantined() == []


def test_a_refused_event_that_is_recorded_again_is_one_event(journal: Journal) -> None:
    shot = snapshot(identified(str(uuid4())))
    journal.commit(journal.append(shot, own_id=False))
    journal.settle([Outcome(everything(journal)[0], "quarantined", "no")])
    assert journal.commit(journal.append(shot, own_id=False)) == "new"
    assert journal.quarantined() == []
    assert (journal.tally.recorded, journal.tally.pending) == (1, 1)
    assert everything(journal)[0].refusals == 1


def test_an_invalid_event_is_kept_and_counted_once(journal: Journal) -> None:
    with pytest.raises(InvalidEventError) as refused:
        snapshot(an_event(event_category="nonsense"))
    for _ in range(2):
        journal.refuse(refused.value)
    (kept,) = journal.quarantined()
    assert kept.times == 2
    assert "event_category" in kept.reason
    assert journal.tally.recorded == 1


def test_retry_leaves_an_event_whose_id_is_pending_with_other_content(journal: Journal) -> None:
    event_id = str(uuid4())
    one, other = (snapshot(identified(event_id, number)) for number in (1, 2))
    journal.commit(journal.append(one, own_id=False))
    journal.commit(journal.append(other, own_id=False))
    assert journal.retry() == 0
    assert len(journal.quarantined()) == 1


def test_a_full_journal_refuses_and_evicts_nothing(journal: Journal) -> None:
    number = 0

    def fill() -> None:
        nonlocal number
        while True:
            shot = snapshot(an_event(event_data={"bulk": "x" * 10_000}))
            journal.commit(journal.append(shot, own_id=False))
            number += 1

    with pytest.raises(JournalFullError, match="its cap is 1048576"):
        fill()
    assert number > 90
    assert len(everything(journal)) == number
    known = snapshot(msgspec.json.decode(everything(journal)[-1].body))
    assert journal.commit(journal.append(known, own_id=False)) == "known"
    journal.settle([Outcome(entry, "created") for entry in everything(journal)[:5]])
    assert append(journal) is not None


def test_one_that_does_not_fit_does_not_fail_its_neighbours(journal: Journal) -> None:
    fits = journal.append(a_shot(1), own_id=False)
    shot = snapshot(an_event(event_data={"bulk": "x" * 200_000}))
    too_large = [journal.append(shot._replace(event_id=uuid4()), own_id=False) for _ in range(7)]
    fits_too = journal.append(a_shot(2), own_id=False)
    assert journal.commit(fits) == journal.commit(fits_too) == "new"
    refused = 0
    for command in too_large:
        try:
            journal.commit(command)
        except JournalFullError:
            refused += 1
    assert refused == 2


def test_what_is_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "b.journal"
    for number in range(3):
        journal = Journal(path, CAP)
        journal.open()
        append(journal, number)
        assert journal.tally.recorded == number + 1
        journal.close()


def test_one_commit_serves_all_who_wait(journal: Journal) -> None:
    barrier = threading.Barrier(64)

    def work(number: int) -> None:
        barrier.wait()
        for each in range(20):
            journal.commit(journal.append(a_shot(number * 20 + each), own_id=False))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commits = sum(journal.commit_seconds.snapshot()[0])
    assert journal.tally.recorded == 64 * 20
    assert commits < 64 * 20 / 2, "commits are shared"


def test_another_process_may_put_events_back(journal: Journal) -> None:
    journal.settle([Outcome(append(journal), "quarantined", "no")])
    before = append(journal, 2)
    script = (
        "import sys; from pathlib import Path; from kubernaut.audit._journal import Journal;"
        f"j = Journal(Path({str(journal.path)!r}), {CAP}); j.open(); print(j.retry()); j.close()"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert told.stdout.split() == [b"1"]
    append(journal, 3)  # With the counts that the other process has left.
    assert journal.tally.pending == 3
    assert everything(journal)[0].position == before.position


def test_a_torn_tail_is_cut(tmp_path: Path) -> None:
    """A process is killed; the last write to its log is there in part, and garbage after it."""
    path = tmp_path / "torn.journal"
    script = (
        "import os, signal; from pathlib import Path; from kubernaut.audit._journal import Journal;"
        "from test.audit_events import a_shot;"
        f"j = Journal(Path({str(path)!r}), {CAP}); j.open();"
        "[j.commit(j.append(a_shot(n), own_id=False)) for n in range(20)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    wal = path.with_name(f"{path.name}-wal")
    with wal.open("ab") as log:
        log.write(os.urandom(5000))
    journal = Journal(path, CAP)
    journal.open()
    assert len(everything(journal)) == 20
    assert append(journal, 21)
    assert journal.check() == []
    journal.close()


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.journal"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="has version 99, this audit client reads 2"):
        Journal(path, CAP).open()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.journal"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(JournalError, match=r"d\.journal failed: file is not a database"):
        Journal(path, CAP).open()


def test_the_check_finds_counts_that_are_wrong(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "e.journal", CAP)
    journal.open()
    append(journal)
    journal.close()
    with sqlite3.connect(journal.path) as connection:
        connection.execute("DELETE FROM pending")
    connection.close()
    found = Journal(journal.path, CAP).check()
    assert found[0] == "pending: 1 instead of 0"


def test_room_is_given_back_after_a_backlog(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "f.journal", 2**30)
    journal.open()
    shots = [
        snapshot(an_event(number, event_data={"bulk": "x" * 100_000})) for number in range(400)
    ]
    commands = [journal.append(shot, own_id=False) for shot in shots]
    journal.commit(commands[-1])
    with journal.alone() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    full = journal.path.stat().st_size
    journal.settle([Outcome(entry, "created") for entry in everything(journal)])
    for _ in range(5):
        journal.refresh()
    with journal.alone() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert journal.path.stat().st_size < full / 2
    assert journal.check() == []
    journal.close()


def test_an_interrupted_commit_fails_for_all_and_harms_nothing(journal: Journal) -> None:
    kept = journal.append(a_shot(1), own_id=False)

    def interrupt(_: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    interrupted = journal.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        journal.commit(interrupted)
    with pytest.raises(JournalError, match="interrupted"):
        journal.commit(kept)
    assert everything(journal) == []
    append(journal, 2)
    assert journal.tally.recorded == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_that_is_removed_while_in_use_takes_no_more(
    tmp_path: Path, *, replaced: bool
) -> None:
    """What is written to a file that has no name is on no disk."""
    journal = Journal(tmp_path / "g.journal", CAP)
    journal.open()
    append(journal)
    for path in tmp_path.glob("g.journal*"):
        path.unlink()
    if replaced:
        journal.path.touch()
    for _ in range(2):
        command = journal.append(a_shot(2), own_id=False)
        with pytest.raises(JournalError, match=r"g\.journal"):
            journal.commit(command)
    assert journal.path.exists() == replaced
    journal.close()


def test_an_invalid_event_gets_the_identity_that_it_lacks() -> None:
    """So that it is stored once if it is sent again one day and an answer is lost."""
    with pytest.raises(InvalidEventError) as refused:
        snapshot(an_event(event_category="nonsense"))
    members = msgspec.json.decode(refused.value.body)
    assert members["event_id"] == str(refused.value.event_id)
    assert members["event_timestamp"]
    assert refused.value.correlation_id == members["correlation_id"] == "rr-1"
