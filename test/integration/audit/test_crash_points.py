"""A process, or the machine, stops at every point of what the journal writes.

What `record` has returned for is there afterwards, once, in order and counted.
"""

import errno
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kubernaut.audit import JournalError, JournalFullError
from kubernaut.audit._entries import Outcome
from kubernaut.audit._spool import Spool
from test.audit_events import a_shot
from test.faults.operations import SHARED_MEMORY, Kind, Operation
from test.faults.plans import Shorten, fail, kill_after, kill_before, on, when
from test.faults.power_loss import power_loss_states
from test.faults.storage import Run, Scenario, Tell, trace
from test.reporting import Report

CAP = 2**24
RECORDED, SENT, REFUSED = b"recorded", b"sent", b"refused"


def a_spool(directory: Path) -> Spool:
    return Spool(directory / "spool", CAP, time.time)


def append(spool: Spool, tell: Tell, *numbers: int) -> None:
    for number in numbers:
        spool.journal.commit(spool.journal.append(a_shot(number), own_id=False))
        tell(b"%s %d" % (RECORDED, number))


def settle(spool: Spool, tell: Tell, *, refuse: bool) -> None:
    """As when the server has answered for the first event."""
    entry = spool.journal.read(after=None, limit=1)[0]
    tell(b"%s %d" % (REFUSED if refuse else SENT, number_of(entry.body)))
    outcome = Outcome(entry, "quarantined", "no") if refuse else Outcome(entry, "created")
    spool.journal.settle([outcome])


def number_of(body: bytes) -> int:
    return int(re.findall(rb'"number":(\d+)', body)[0])


def life(directory: Path, tell: Tell) -> None:
    """All that a journal goes through: recording, answers, refusal, adoption, retry, an end."""
    spool = a_spool(directory)
    append(spool, tell, 0, 1, 2)
    other = a_spool(directory)
    append(other, tell, 3, 4)
    settle(spool, tell, refuse=False)
    settle(spool, tell, refuse=True)
    other.close()
    append(spool, tell, 5)
    spool.adopt_orphans()
    settle(spool, tell, refuse=False)
    append(spool, tell, 6)
    spool.journal.retry()
    spool.close()
    spool = a_spool(directory)
    append(spool, tell, 7)
    spool.close()


def assert_nothing_lost(directory: Path, told: list[bytes]) -> None:
    """Open the directory as the next process does, and look for all that was told."""
    spool = a_spool(directory)
    pending = [number_of(entry.body) for entry in spool.journal.read(after=None, limit=99)]
    refused = [number_of(event.body) for event in spool.journal.quarantined()]
    assert spool.journal.check() == []
    assert spool.damaged == {}
    kept = pending + refused
    assert len(kept) == len(set(kept)), "an event is in two places"
    recorded, sent, was_refused = (numbers(told, word) for word in (RECORDED, SENT, REFUSED))
    assert recorded - set(kept) <= sent, "an event is lost"
    assert set(refused) <= was_refused
    in_order = [number for number in pending if number not in was_refused]
    assert in_order == sorted(in_order)
    tally = spool.journal.tally
    assert tally.delivered <= len(sent)
    assert tally.recorded == len(kept) + tally.delivered
    assert len(list((directory / "spool").glob("*.journal"))) == 1
    spool.close()


def numbers(told: list[bytes], word: bytes) -> set[int]:
    return {int(line.split()[1]) for line in told if line.split()[0] == word}


def kills(
    scenario: Scenario, parent: Path, prepare: Callable[[Path], object] = Path.mkdir
) -> Iterator[tuple[Path, Run]]:
    """Kill a scenario before and after everything that it does to its files.

    What SQLite writes into its shared memory is left out: it does not outlive the process.
    """
    whole = parent / "whole"
    prepare(whole)
    recorded = trace(scenario, directory=whole)
    assert recorded.error is None, recorded.error
    for operation in recorded.operations:
        if operation.path.endswith(SHARED_MEMORY):
            continue
        for plan in (kill_before, kill_after):
            directory = parent / f"{plan.__name__}-{operation.number}"
            prepare(directory)
            run = trace(scenario, directory=directory, plan=plan(operation.number))
            assert run.killed
            yield directory, run
            shutil.rmtree(directory)


def test_a_kill_before_and_after_every_operation(tmp_path: Path, report: Report) -> None:
    count = 0
    for directory, run in kills(life, tmp_path):
        assert_nothing_lost(directory, run.told)
        count += 1
    report(f"journal: {count} kills, one before and one after each operation, lost 0, twice 0")
    assert count > 200


def test_a_kill_while_taking_over_what_kills_have_left(tmp_path: Path) -> None:
    """The process that comes next is killed too, at every point of its start."""
    told: list[bytes] = []
    left = tmp_path / "left"
    left.mkdir()
    spools = [a_spool(left) for _ in range(3)]
    for number in range(9):
        append(spools[number % 3], told.append, number)
    settle(spools[0], told.append, refuse=True)
    settle(spools[1], told.append, refuse=False)
    for spool in spools:
        spool.close()

    def prepare(directory: Path) -> None:
        shutil.copytree(left, directory)

    def take_over(directory: Path, tell: Tell) -> None:
        append(a_spool(directory), tell, 9)

    count = 0
    for directory, run in kills(take_over, tmp_path, prepare):
        assert_nothing_lost(directory, told + run.told)
        count += 1
    assert count > 50


def test_the_power_goes_at_every_point(tmp_path: Path, report: Report) -> None:
    """`durable` survives a crash of the machine: what was told was synced before."""
    directory = tmp_path / "run"
    directory.mkdir()
    run = trace(life, directory=directory)
    assert run.error is None
    states = 0
    for number, state in enumerate(power_loss_states(without_reserve(run), seed=1)):
        target = state.materialise(tmp_path / f"state-{number}")
        assert_nothing_lost(target, list(state.told))
        shutil.rmtree(target)
        states += 1
    report(f"journal: {states} states of the disk after a loss of power, lost 0")
    assert states > 200


def without_reserve(run: Run) -> Run:
    """Room set aside holds nothing; its megabytes would be written out again for every state."""
    log = [
        entry
        for entry in run.log
        if not (isinstance(entry, Operation) and entry.path.endswith(".reserve"))
    ]
    return replace(run, log=log)


def recording_on_a_bad_disk(directory: Path, tell: Tell) -> None:
    """Somebody else has the file open too, so that closing it does not mend it by itself."""
    spool = a_spool(directory)
    onlooker = sqlite3.connect(spool.journal.path)
    onlooker.execute("SELECT * FROM pending").fetchall()
    for number in range(20):
        try:
            append(spool, tell, number)
        except JournalFullError as error:
            tell(b"full %d %s" % (number, str(error).encode()))
        except JournalError as error:
            tell(b"failed %d %s" % (number, str(error).encode()))


def outcome(run: Run) -> list[bytes]:
    assert run.error is None, run.error
    return [line.split()[0] for line in run.told]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.SYNC, errno.EIO),
        (Kind.WRITE, errno.EIO),
        (Kind.WRITE, errno.ENOSPC),
        (Kind.WRITE, errno.EROFS),
    ],
)
def test_an_event_whose_write_or_sync_failed_is_not_said_to_be_kept(
    tmp_path: Path, kind: Kind, code: int
) -> None:
    """And what is recorded once the disk works again survives a loss of power."""
    run = trace(
        recording_on_a_bad_disk,
        directory=tmp_path,
        plan=fail(on(kind, path="*-wal", start=40 if kind is Kind.WRITE else 10, count=3), code),
    )
    told = outcome(run)
    assert set(told) > {RECORDED}
    assert told[-1] == RECORDED
    assert_recorded(tmp_path, run.told)
    for number, state in enumerate(power_loss_states(without_reserve(run), seed=2, samples=2)):
        target = state.materialise(tmp_path.parent / f"{tmp_path.name}-{number}")
        assert_recorded(target, list(state.told))
        shutil.rmtree(target)


def test_a_write_that_the_disk_cuts_short_is_a_full_disk(tmp_path: Path) -> None:
    run = trace(
        recording_on_a_bad_disk,
        directory=tmp_path,
        plan=when(on(Kind.WRITE, path="*-wal", start=40, count=2), Shorten(100)),
    )
    assert b"failed" not in outcome(run)
    assert_recorded(tmp_path, run.told)


def assert_recorded(directory: Path, told: list[bytes]) -> None:
    """All that was told is there; what failed may be, since nobody knows how far it came."""
    spool = a_spool(directory)
    kept = [number_of(entry.body) for entry in spool.journal.read(after=None, limit=99)]
    assert kept == sorted(set(kept))
    assert numbers(told, RECORDED) <= set(kept)
    assert spool.journal.check() == []
    spool.close()
