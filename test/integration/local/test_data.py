"""What is wrong with a home directory or its data is one clear line, and changes nothing."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubernaut.local import LocalServerError, PostgresServer
from kubernaut.local._processes import working_in
from test.integration.local.queries import ask


@pytest.fixture
def data(server_home: Path) -> Iterator[Path]:
    """A data directory that no server runs on; its mode is mended afterwards."""
    with PostgresServer(server_home) as server:
        directory = server.data_directory
    yield directory
    directory.chmod(0o700)


def refusal(home: Path) -> str:
    """The line that a start ends with."""
    with pytest.raises(LocalServerError) as caught:
        PostgresServer(home).start()
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_data_of_another_major_version(data: Path, server_home: Path) -> None:
    version = (data / "PG_VERSION").read_text()
    (data / "PG_VERSION").write_text("9\n")
    line = refusal(server_home)
    assert f"the data in {data} are of PostgreSQL 9, and this would run PostgreSQL " in line
    assert version.strip() in line
    assert "install PostgreSQL 9" in line
    (data / "PG_VERSION").write_text(version)
    with PostgresServer(server_home):
        pass


def test_data_that_their_owner_cannot_read(data: Path, server_home: Path) -> None:
    data.chmod(0)
    line = refusal(server_home)
    assert f"{data} cannot be read and written by its owner" in line
    assert f"its mode is 0000); allow it with: chmod 0700 {data}" in line


def test_data_of_another_user(data: Path, server_home: Path) -> None:
    if os.geteuid() == 0:
        owner = data.stat()
        os.chown(data, 0, 0)
        assert "belongs to root, as whom PostgreSQL refuses to run" in refusal(server_home)
        os.chown(data, 54321, 54321)
        assert "belongs to user id 54321, which is no user of this machine" in refusal(server_home)
        os.chown(data, owner.st_uid, owner.st_gid)
    else:
        data.rename(data.with_name("ours"))
        data.symlink_to("/etc")  # Somebody else's directory.
        assert "belongs to user root, and this is user" in refusal(server_home)
        data.unlink()
        data.with_name("ours").rename(data)


def test_something_else_where_the_data_should_be(server_home: Path) -> None:
    data = server_home / "postgres-data"
    data.mkdir(mode=0o700)
    (data / "notes.txt").touch()
    if os.geteuid() == 0:
        shutil.chown(data, "nobody")
    line = refusal(server_home)
    assert f"{data} is not a PostgreSQL data directory" in line
    assert (data / "notes.txt").exists()
    shutil.rmtree(data)
    data.touch()
    if os.geteuid() == 0:
        shutil.chown(data, "nobody")
    assert f"{data} is not a directory" in refusal(server_home)


async def test_a_half_made_data_directory_is_not_used(server_home: Path) -> None:
    half_made = server_home / "postgres-data.initialising-killed" / "postgres-data"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("15\n")
    (server_home / "postgres-data").mkdir()  # Empty: nobody's data.
    with PostgresServer(server_home) as server:
        assert await ask(server, "SELECT 1") == 1
    assert not half_made.parent.exists()


def test_data_without_their_password_are_not_replaced(data: Path, server_home: Path) -> None:
    (server_home / "postgres-password").rename(server_home / "put-aside")
    line = refusal(server_home)
    assert f"postgres-password is missing: the data in {data} cannot be opened" in line
    (server_home / "put-aside").rename(server_home / "postgres-password")
    with PostgresServer(server_home):
        pass


def test_a_home_that_cannot_be_made(server_home: Path) -> None:
    (server_home / "file").touch()
    assert "cannot be made" in refusal(server_home / "file" / "home")


def test_a_failed_start_shows_what_the_server_said(server_home: Path) -> None:
    server = PostgresServer(server_home, settings={"shared_buffers": "plenty"})
    with pytest.raises(LocalServerError) as caught:
        server.start()
    line = str(caught.value)
    assert "PostgreSQL did not start" in line
    assert 'invalid value for parameter "shared_buffers": "plenty"' in line
    assert str(server.log_file) in line
    assert "\n" not in line
    assert working_in(server.data_directory) == []
    with PostgresServer(server_home):  # The home was given back.
        pass


def test_an_unknown_source_of_programs(server_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNAUT_POSTGRES", "docker")
    assert "must be 'system' or 'wheel', not 'docker'" in refusal(server_home)
