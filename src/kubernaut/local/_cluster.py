"""Make a data directory, whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from kubernaut.local._binaries import Binaries
from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import sync_directory
from kubernaut.local._place import Place

SUPERUSER: Final = "postgres"


def initialise(place: Place, binaries: Binaries, password: str) -> None:
    """Run initdb beside the final place, and move the result there.

    What an interrupted run left behind has another name, so it is never used; it is removed here.
    The caller holds the home directory's lock.

    Args:
        place: where; its data directory is missing or empty.
        binaries: whose initdb.
        password: the superuser's.

    Raises:
        LocalServerError: initdb failed, or the directory cannot be written.
    """
    data = place.data
    prefix = f"{data.name}.initialising-"
    for interrupted in data.parent.glob(f"{prefix}*"):
        shutil.rmtree(interrupted, ignore_errors=True)
    staging = None
    try:
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=data.parent))
        place.owner.take(staging)
        _initdb(staging / data.name, _password_file(staging, place, password), place, binaries)
        (staging / data.name).rename(data)
        sync_directory(data.parent)
    except OSError as error:
        raise LocalServerError(f"{data} cannot be made: {error}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _password_file(staging: Path, place: Place, password: str) -> Path:
    """The password where initdb, as another user, can read it."""
    path = staging / "password"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(password + "\n")
    place.owner.take(path)
    return path


def _initdb(data: Path, password: Path, place: Place, binaries: Binaries) -> None:
    command: list[str | Path] = [
        binaries.program("initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=libc",
        "--lc-messages=C",
        "--data-checksums",
        "--no-instructions",
    ]
    # Bytewise order on every machine. Not every machine has the first.
    done = place.owner.run([*command, "--locale=C.UTF-8"])
    if "invalid locale name" in done.stderr:
        done = place.owner.run([*command, "--locale=C"])
    if done.returncode == 0:
        return
    said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
    raise LocalServerError(f"initdb ({binaries}) failed: {said}")
