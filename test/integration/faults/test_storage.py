"""The storage shim, on a small journal of SQLite's."""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from test.faults.decoding import NotModelledError
from test.faults.operations import Kind, Told
from test.faults.plans import Shorten, fail, first_of, kill_after, kill_before, on, when
from test.faults.power_loss import power_loss_states
from test.faults.storage import Run, Scenario, StoppedRunError, Tell, every_kill, trace

JOURNAL = "rows.journal"
ROWS = 12


def inserting(synchronous: str) -> Scenario:
    def scenario(directory: Path, tell: Tell) -> None:
        connection = sqlite3.connect(directory / JOURNAL, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint = 8")
            connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY)")
            for number in range(ROWS):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO rows VALUES (?)", (number,))
                connection.execute("COMMIT")
                tell(str(number).encode())

    return scenario


def lost(directory: Path, told: Iterator[bytes] | tuple[bytes, ...] | list[bytes]) -> set[int]:
    """What was told and is not there."""
    promised = {int(number) for number in told}
    if not (directory / JOURNAL).exists():
        return promised
    with closing(sqlite3.connect(directory / JOURNAL)) as connection:
        try:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = connection.execute("SELECT number FROM rows")
        except sqlite3.DatabaseError:
            return promised
        return promised - {number for (number,) in rows}


def lost_in_power_losses(run: Run, directory: Path) -> tuple[int, int]:
    """How many states there are, and how many of them have lost something."""
    losses = [
        bool(lost(state.materialise(directory / str(number)), state.told))
        for number, state in enumerate(power_loss_states(run))
    ]
    return len(losses), sum(losses)


def test_a_run_is_recorded_in_order(tmp_path: Path) -> None:
    run = trace(inserting("FULL"), directory=tmp_path)

    assert run.error is None
    assert not run.killed
    assert run.told == [str(number).encode() for number in range(ROWS)]
    assert [operation.number for operation in run.operations] == list(range(len(run.operations)))
    assert {operation.path for operation in run.operations} == {
        ".",
        *(JOURNAL + companion for companion in ("", "-journal", "-wal", "-shm")),
    }
    for position, entry in enumerate(run.log):
        if isinstance(entry, Told):  # A sync of the log came right before it.
            before = next(e for e in reversed(run.log[:position]) if not isinstance(e, Told))
            assert before.kind in {Kind.SYNC, Kind.WRITE}
    written = [operation for operation in run.operations if operation.path == JOURNAL]
    assert b"CREATE TABLE rows" in b"".join(operation.data for operation in written)


def test_every_way_to_write_is_seen(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")

    def scenario(directory: Path, tell: Tell) -> None:
        (directory / "sub").mkdir()
        fd = os.open(directory / "sub" / "new", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"abc")
        os.writev(fd, [b"de", b"f"])
        os.pwritev(fd, [b"XY", b"Z"], 1)
        os.ftruncate(fd, 5)
        os.posix_fallocate(fd, 0, 8)
        os.fsync(fd)
        appending = os.open("new", os.O_WRONLY | os.O_APPEND, dir_fd=os.open(directory / "sub", 0))
        os.write(appending, b"end")
        (directory / "sub" / "new").rename(directory / "renamed")
        tell(b"renamed")
        (directory / "old").unlink()
        (directory / "sub").rmdir()

    run = trace(scenario, directory=tmp_path)

    assert run.error is None
    seen = [(o.kind.value, o.path, o.offset, o.data) for o in run.operations]
    assert seen == [
        ("mkdir", "sub", 0, b""),
        ("open", "sub/new", 0, b""),
        ("write", "sub/new", 0, b"abc"),
        ("write", "sub/new", 3, b"def"),
        ("write", "sub/new", 1, b"XYZ"),
        ("truncate", "sub/new", 5, b""),
        ("allocate", "sub/new", 8, b""),
        ("sync", "sub/new", 0, b""),
        ("open", "sub/new", 0, b""),
        ("write", "sub/new", 8, b"end"),
        ("rename", "sub/new", 0, b""),
        ("unlink", "old", 0, b""),
        ("rmdir", "sub", 0, b""),
    ]
    states = list(power_loss_states(run, samples=20))
    last = [state for state in states if state.told]
    assert {"renamed": b"aXYZe\0\0\0end"} in [state.files for state in last]
    assert {"old": b"old", "sub/new": b"aXYZe\0\0\0"} in [state.files for state in last]
    assert all(  # It was synced, so it is there, by one of its names or the other.
        any(content.startswith(b"aXYZe") for content in state.files.values()) for state in last
    )


def test_nothing_told_is_lost_by_a_kill(tmp_path: Path) -> None:
    runs = 0
    for directory, run in every_kill(inserting("FULL"), parent=tmp_path):
        assert lost(directory, run.told) == set(), run.killed_at
        runs += 1
    assert runs > 100


def test_a_promise_before_the_commit_is_found_by_a_kill(tmp_path: Path) -> None:
    def scenario(directory: Path, tell: Tell) -> None:
        connection = sqlite3.connect(directory / JOURNAL, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY)")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows VALUES (1)")
            tell(b"1")
            connection.execute("COMMIT")

    losses = [lost(directory, run.told) for directory, run in every_kill(scenario, parent=tmp_path)]

    assert {1} in losses


def test_a_kill_is_before_or_after_the_operation(tmp_path: Path) -> None:
    def scenario(directory: Path, tell: Tell) -> None:
        (directory / "a").write_bytes(b"text")
        tell(b"a")

    for number, plan, left in (
        (0, kill_before, {}),
        (0, kill_after, {"a": b""}),
        (1, kill_before, {"a": b""}),
        (1, kill_after, {"a": b"text"}),
    ):
        directory = tmp_path / f"{plan.__name__}-{number}"
        directory.mkdir()
        run = trace(scenario, directory=directory, plan=plan(number))
        assert run.killed
        assert run.told == []
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == left


def test_synced_commits_survive_a_power_loss(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = trace(inserting("FULL"), directory=tmp_path / "run")

    states, losses = lost_in_power_losses(run, tmp_path)

    assert states > 50
    assert losses == 0


def test_commits_without_sync_do_not_survive_a_power_loss(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = trace(inserting("OFF"), directory=tmp_path / "run")

    states, losses = lost_in_power_losses(run, tmp_path)

    assert losses > states / 4


def test_the_same_seed_gives_the_same_states(tmp_path: Path) -> None:
    run = trace(inserting("OFF"), directory=tmp_path)

    assert list(power_loss_states(run, seed=7)) == list(power_loss_states(run, seed=7))


def test_what_a_failed_sync_was_for_stays_in_doubt(tmp_path: Path) -> None:
    def scenario(directory: Path, tell: Tell) -> None:
        fd = os.open(directory / "a", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"a" * 512)
        try:
            os.fsync(fd)
        except OSError:
            os.fsync(fd)
        tell(b"a")

    plan = fail(on(Kind.SYNC, count=1), errno.EIO)
    run = trace(scenario, directory=tmp_path, plan=plan)

    contents = {state.files.get("a") for state in power_loss_states(run) if state.told}
    assert contents == {b"", b"a" * 512}


def test_a_failed_sync_makes_the_commit_raise(tmp_path: Path) -> None:
    plan = fail(on(Kind.SYNC, path="*-wal", start=3), errno.EIO)

    run = trace(inserting("FULL"), directory=tmp_path, plan=plan)

    assert run.error is not None
    assert "OperationalError: disk I/O error" in run.error
    assert 0 < len(run.told) < ROWS
    failed = [operation for operation in run.operations if not operation.done]
    assert all(operation.result == -errno.EIO and operation.injected for operation in failed)
    assert lost(tmp_path, run.told) == set()


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "database or disk is full"), (errno.EROFS, "disk I/O error")],
)
def test_writes_can_fail_from_one_on(tmp_path: Path, number: int, message: str) -> None:
    plan = fail(on(Kind.WRITE, path="*-wal", start=9), number)

    run = trace(inserting("FULL"), directory=tmp_path, plan=plan)

    assert run.error is not None
    assert message in run.error
    assert lost(tmp_path, run.told) == set()


def test_a_write_can_be_cut_and_the_process_killed(tmp_path: Path) -> None:
    def scenario(directory: Path, _: Tell) -> None:
        (directory / "a").write_bytes(b"text")

    plan = first_of(when(on(Kind.WRITE, count=1), Shorten(3)), kill_before(2))
    run = trace(scenario, directory=tmp_path, plan=plan)

    assert (tmp_path / "a").read_bytes() == b"tex"
    assert run.killed_at is not None
    assert run.killed_at.kind is Kind.WRITE


def test_threads_are_traced(tmp_path: Path) -> None:
    def scenario(directory: Path, tell: Tell) -> None:
        def work(name: str) -> None:
            (directory / name).write_bytes(b"x")
            tell(name.encode())

        threads = [threading.Thread(target=work, args=(str(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run = trace(scenario, directory=tmp_path)

    assert run.error is None
    assert sorted(run.told) == [str(n).encode() for n in range(8)]
    assert len(run.operations) == 16
    for position, entry in enumerate(run.log):
        if isinstance(entry, Told):
            done = run.log[:position]
            assert any(isinstance(o, type(run.operations[0])) and o.data == b"x" for o in done)


def test_what_is_not_modelled_ends_the_run(tmp_path: Path) -> None:
    def scenario(directory: Path, _: Tell) -> None:
        (directory / "a").write_bytes(b"x")
        (directory / "b").hardlink_to(directory / "a")

    with pytest.raises(NotModelledError, match="link of b"):
        trace(scenario, directory=tmp_path)


def test_a_scenario_that_hangs_is_ended(tmp_path: Path) -> None:
    def hang(_: Path, __: Tell) -> None:
        threading.Event().wait()

    with pytest.raises(StoppedRunError, match="SIGKILL"):
        trace(hang, directory=tmp_path, timeout=0.5)
