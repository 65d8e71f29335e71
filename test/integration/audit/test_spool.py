"""A directory of journals: each has one owner, and none is left behind."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernaut.audit import JournalError
from kubernaut.audit._entries import Entry, Outcome
from kubernaut.audit._journal import Journal
from kubernaut.audit._spool import Spool
from test.audit_events import a_shot

CAP = 2**24


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, CAP, time.time)
    yield spool
    assert spool.journal.check() == []
    spool.close()


def another(directory: Path) -> Spool:
    return Spool(directory, CAP, time.time)


def append(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.journal.commit(spool.journal.append(a_shot(number), own_id=False))


def pending(spool: Spool) -> list[int]:
    """The numbers of the pending events, in the order in which they would be sent."""
    entries = spool.journal.read(after=None, limit=10**6)
    return [int(re.findall(rb'"number":(\d+)', entry.body)[0]) for entry in entries]


def journals(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.journal"))


def test_the_directory_is_for_its_user_alone(spool: Spool, directory: Path) -> None:
    append(spool, 1)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_who_starts_again_goes_on_with_the_same_journal(directory: Path) -> None:
    for number in range(3):
        spool = another(directory)
        append(spool, number)
        assert pending(spool) == list(range(number + 1))
        spool.close()
    assert len(journals(directory)) == 1


def test_two_at_a_time_have_a_journal_each(spool: Spool, directory: Path) -> None:
    other = another(directory)
    append(spool, 1)
    append(other, 2)
    assert (pending(spool), pending(other)) == ([1], [2])
    assert len(journals(directory)) == 2
    assert spool.adopt_orphans() == 0
    other.close()


def test_adopted_events_come_in_the_order_of_recording(spool: Spool, directory: Path) -> None:
    other = another(directory)
    for number in range(0, 10, 2):
        append(spool, number)
        append(other, number + 1)
    other.close()
    assert spool.adopt_orphans() == 5
    assert pending(spool) == list(range(10))
    assert len(journals(directory)) == 1
    assert not list(directory.glob(f"{other.journal.path.stem}*"))


def test_equal_positions_keep_the_order_of_each_journal(directory: Path) -> None:
    one, other = (Spool(directory, CAP, lambda: 1000.0) for _ in range(2))
    append(one, 0, 1, 2)
    append(other, 10, 11, 12)
    other.close()
    assert one.adopt_orphans() == 3
    found = pending(one)
    assert [number for number in found if number < 10] == [0, 1, 2]
    assert [number for number in found if number >= 10] == [10, 11, 12]
    one.close()


def test_a_start_adopts_all_that_are_left_before_anything_new(directory: Path) -> None:
    left = [another(directory) for _ in range(4)]
    for number, spool in enumerate(left):
        append(spool, number)
    for spool in left:
        spool.close()
    spool = another(directory)
    append(spool, 4)
    assert pending(spool) == [0, 1, 2, 3, 4]
    assert len(journals(directory)) == 1
    spool.close()


def test_counts_and_quarantine_are_adopted_too(spool: Spool, directory: Path) -> None:
    other = another(directory)
    append(other, 1, 2, 3)
    one, two, _ = other.journal.read(after=None, limit=3)
    other.journal.settle([Outcome(one, "created"), Outcome(two, "quarantined", "no")])
    append(spool, 4)
    other.close()
    spool.adopt_orphans()
    tally = spool.journal.tally
    assert (tally.recorded, tally.created, tally.pending, tally.quarantined) == (4, 1, 2, 1)
    assert [event.reason for event in spool.journal.quarantined()] == ["no"]


def test_a_large_journal_is_adopted_in_steps(spool: Spool, directory: Path) -> None:
    other = another(directory)
    commands = [other.journal.append(a_shot(number), own_id=False) for number in range(2500)]
    other.journal.commit(commands[-1])
    other.close()
    before = sum(spool.journal.commit_seconds.snapshot()[0])
    assert spool.adopt_orphans() == 2500
    assert pending(spool) == list(range(2500))
    assert sum(spool.journal.commit_seconds.snapshot()[0]) - before == 4


def test_a_journal_that_was_adopted_and_not_removed_is_not_adopted_again(
    directory: Path, tmp_path: Path
) -> None:
    """As after a kill between the last commit and the removal."""
    one, other = another(directory), another(directory)
    append(other, 1, 2)
    other.close()
    copy = tmp_path / other.journal.path.name
    copy.write_bytes(other.journal.path.read_bytes())
    one.adopt_orphans()
    one.close()
    copy.rename(other.journal.path)
    other.journal.path.with_suffix(".lock").touch()
    again = another(directory)
    assert again.journal.tally.recorded == 2
    assert pending(again) == [1, 2]
    assert journals(directory) == [again.journal.path.name]
    assert again.journal.path.name != other.journal.path.name
    again.close()


def test_a_damaged_journal_stays_where_it_is_and_harms_nobody(directory: Path) -> None:
    left = another(directory)
    append(left, 1)
    left.close()
    content = left.journal.path.read_bytes()
    left.journal.path.write_bytes(b"x" * len(content))
    spool = another(directory)
    append(spool, 2)
    assert pending(spool) == [2]
    assert "file is not a database" in spool.damaged[left.journal.path.name]
    assert left.journal.path.read_bytes() == b"x" * len(content)
    left.journal.path.write_bytes(content)
    assert spool.adopt_orphans() == 1
    assert pending(spool) == [1, 2]
    assert spool.damaged == {}
    spool.close()


def test_a_lock_without_a_journal_is_tidied_up(spool: Spool, directory: Path) -> None:
    stray = directory / "00000000.lock"
    stray.touch()
    spool.adopt_orphans()
    assert not stray.exists()


def test_a_file_for_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(JournalError, match=r"the journal directory .*file failed"):
        another(path)


def test_many_that_start_at_once_lose_nothing(directory: Path) -> None:
    script = (
        "import sys; from kubernaut.audit import AuditStore;"
        "from test.audit_events import an_event;"
        "store = AuditStore('http://127.0.0.1:9', sys.argv[1]);"
        "[store.record(an_event(int(sys.argv[2]))) for _ in range(5)];"
        "store.close(timeout=0)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(directory), str(number)])
        for number in range(8)
    ]
    assert [process.wait(60) for process in processes] == [0] * 8
    spool = another(directory)
    assert sorted(pending(spool)) == sorted(list(range(8)) * 5)
    assert spool.journal.tally.recorded == 40
    spool.close()


def test_an_owner_that_is_alive_keeps_its_journal(directory: Path) -> None:
    script = (
        "import sys, time; from kubernaut.audit._spool import Spool; from pathlib import Path;"
        f"spool = Spool(Path({str(directory)!r}), {CAP}, time.time);"
        "print(spool.journal.path.name, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        theirs = owner.stdout.readline().strip()
        spool = another(directory)
        assert spool.journal.path.name != theirs
        assert theirs in journals(directory)
        owner.kill()
    spool.adopt_orphans()
    assert theirs not in journals(directory)
    spool.close()


def test_the_journal_of_a_process_may_be_looked_at(spool: Spool) -> None:
    append(spool, 1, 2)
    seen = Journal(spool.journal.path, CAP)
    assert len(seen.read(after=None, limit=9)) == 2
    assert seen.read_tally().recorded == 2
    assert os.path.exists(spool.journal.path)  # noqa: PTH110


def test_what_is_put_back_while_a_journal_is_adopted_is_adopted_too(
    spool: Spool, directory: Path
) -> None:
    """An operator does so after the last look at what is pending there."""
    other = another(directory)
    append(other, 1, 2)
    refused, _ = other.journal.read(after=None, limit=2)
    other.journal.settle([Outcome(refused, "quarantined", "no")])
    other.close()
    left = Journal(other.journal.path, CAP)
    left.open()
    looks = left.read
    put_back: list[int] = []

    def look(**which: Any) -> list[Entry]:
        entries = looks(**which)
        if not entries and not put_back:
            operator = Journal(left.path, CAP)
            operator.open()
            put_back.append(operator.retry())
            operator.close()
        return entries

    left.read = look  # type: ignore[method-assign]
    assert spool.journal.adopt(left) == 2
    left.close()
    assert put_back == [1]
    assert sorted(pending(spool)) == [1, 2]
    assert spool.journal.tally.quarantined == 0
    assert spool.adopt_orphans() == 0
    assert sorted(pending(spool)) == [1, 2]
