import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubernaut.local import LocalServerError, kept_password
from kubernaut.local._home import HomeLock, make_directory, write_private
from kubernaut.local._postmaster import Postmaster
from kubernaut.local._processes import alive, children, working_in


def test_a_password_is_made_once_and_only_for_us(tmp_path: Path) -> None:
    path = tmp_path / "password"
    password = kept_password(path)
    assert len(password) >= 32
    assert kept_password(path) == password
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_password(tmp_path / "other") != password
    assert sorted(tmp_path.iterdir()) == [tmp_path / "other", path]  # No partial files.


def test_an_empty_password_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").touch()
    with pytest.raises(LocalServerError, match="password is empty"):
        kept_password(tmp_path / "password")


def test_a_private_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(LocalServerError, match="taken cannot be written"):
        write_private(tmp_path / "taken", "secret")
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_a_directory_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalServerError, match="cannot be made"):
        make_directory(tmp_path / "file" / "home")
    with pytest.raises(LocalServerError, match="is not a directory"):
        make_directory(tmp_path / "file")


def test_directories_that_root_makes_are_open_for_postgresqls_user(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    expected = 0o755 if os.geteuid() == 0 else 0o700
    assert (tmp_path / "a").stat().st_mode & 0o777 == expected
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == expected


def test_one_holder_of_a_home(tmp_path: Path) -> None:
    first, second = HomeLock(tmp_path), HomeLock(tmp_path)
    assert first.acquire() is None
    assert first.acquire() is None  # It holds it already.
    assert second.acquire() == os.getpid()
    first.release()
    assert second.acquire() is None
    second.release()


def test_the_lock_file_of_a_server_is_read_as_far_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "postmaster.pid"
    assert Postmaster.of(tmp_path) is None
    file.write_text("")
    assert Postmaster.of(tmp_path) is None
    file.write_text("4711\n/data\n1700000000\n")
    assert Postmaster.of(tmp_path) == Postmaster(4711, None, "")
    file.write_text("4711\n/data\n1700000000\n5433\n\n127.0.0.1\n  12  34\nready   \n")
    found = Postmaster.of(tmp_path)
    assert found == Postmaster(4711, 5433, "ready")
    assert "4711" in str(found)
    assert "5433" in str(found)


def test_processes_are_found_by_parent_and_directory(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=tmp_path)
    try:
        assert child.pid in children(os.getpid())
        assert working_in(tmp_path) == [child.pid]
        assert alive(child.pid)
        assert working_in(tmp_path / "missing") == []
    finally:
        child.communicate(b"\n")
    assert not alive(child.pid)
