"""Where a home directory's data lives, and who owns it.

As an ordinary user: below home. As root, PostgreSQL runs as another user, which may not reach
home (below a directory of mode 0700, as `/root` is); then the data lives below `/var/lib`, at a
path that follows from home's path alone, and so is found again.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import make_directory, write_private
from kubernaut.local._owner import Owner

SHARED: Final = Path("/var/lib/kubernaut")
"""For what another user must reach and cannot reach where it is."""

_DATA: Final = "postgres-data"


@dataclass(frozen=True)
class Place:
    """A data directory, which need not exist yet, and the user to run PostgreSQL as."""

    data: Path
    owner: Owner
    relocated: bool


def find_place(home: Path) -> Place:
    """The place of a home directory's data. Data that exist decide, wherever they are.

    Args:
        home: an existing directory, as a resolved path.

    Raises:
        LocalServerError: there are data that cannot be used (they are never passed over in favour
            of a new, empty place), or there is no place that PostgreSQL's user can reach.
    """
    here = home / _DATA
    elsewhere = SHARED / hashlib.sha256(bytes(home)).hexdigest()[:12] / _DATA
    for data in (here, elsewhere) if os.geteuid() == 0 else (here,):
        if data.exists() and not _is_empty(data):
            owner = Owner.of_existing_data(data)
            _check_use(data, owner)
            return Place(data, owner, relocated=data == elsewhere)
    owner = Owner.of_new_data()
    if owner.may("x", home):
        return Place(here, owner, relocated=False)
    shared_directory(owner)
    make_directory(elsewhere.parent)
    write_private(elsewhere.parent / "home", f"{home}\n")  # For whoever wonders what this is.
    return Place(elsewhere, owner, relocated=True)


def shared_directory(owner: Owner) -> Path:
    """`SHARED`, made if it was missing.

    Raises:
        LocalServerError: it cannot be made, or the owner cannot reach it.
    """
    try:
        make_directory(SHARED)
    except LocalServerError as error:
        raise LocalServerError(
            f"PostgreSQL has to run as user {owner.name}, which cannot reach this directory, and "
            f"the place for that case cannot be used: {error}"
        ) from error
    if not owner.may("x", SHARED):
        raise LocalServerError(f"{SHARED} is closed to user {owner.name}; allow it: chmod a+x")
    return SHARED


def _is_empty(data: Path) -> bool:
    try:
        return data.is_dir() and not any(data.iterdir())
    except PermissionError:
        return False


def _check_use(data: Path, owner: Owner) -> None:
    if not data.is_dir():
        raise LocalServerError(f"{data} is not a directory; move it away")
    if not owner.may("x", data.parent):
        raise LocalServerError(
            f"the data directory {data} belongs to user {owner.name}, which cannot reach it; open "
            "the directories above it to that user (chmod a+x)"
        )
    if not owner.may("rwx", data):
        mode = data.stat().st_mode & 0o7777
        raise LocalServerError(
            f"the data directory {data} cannot be read and written by its owner {owner.name} "
            f"(its mode is {mode:04o}); allow it with: chmod 0700 {data}"
        )
