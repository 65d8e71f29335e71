"""Where programs are kept between runs: a file has its final name only when it is whole."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import sync_directory
from kubernaut.local.cluster._module import Program

Report = Callable[[str], None]
"""Takes one line for a person."""

_UNFINISHED: Final = "unfinished-"


def default_cache() -> Path:
    """Below `$XDG_CACHE_HOME`, else below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubernaut" / "controlplane"


class Cache:
    """The programs of one key.

    Args:
        directory: of all keys.
        key: what the programs follow from.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self.directory = directory / key

    def find(self, program: Program) -> Path | None:
        """The program, if all that it needs is there."""
        return find_in(self.directory, program)

    @contextmanager
    def only_one(self, report: Report) -> Iterator[Path]:
        """Keep others from filling this cache; gives a scratch folder that is removed afterwards.

        What killed processes left behind is removed first. The kernel ends the lock with its
        holder.

        Raises:
            LocalServerError: the cache cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / "lock").open("a") as lock:
                _acquire(lock.fileno(), self.directory, report)
                for left in self.directory.glob(f"{_UNFINISHED}*"):
                    shutil.rmtree(left, ignore_errors=True)
                scratch = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.directory))
                try:
                    yield scratch
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            raise LocalServerError(f"the cache {self.directory} cannot be used: {error}") from error

    def keep(self, file: Path, name: str) -> None:
        """Give a whole file of the scratch folder its final name."""
        file.chmod(0o755)
        with file.open("rb") as content:
            os.fsync(content.fileno())  # The name must not outlive its content.
        file.rename(self.directory / name)
        sync_directory(self.directory)


def find_in(directory: Path, program: Program) -> Path | None:
    """A program in a folder that somebody else may have filled."""
    if all((directory / name).is_file() for name in program.files):
        found = directory / program.name
        return found if os.access(found, os.X_OK) else None
    return None


def _acquire(lock: int, directory: Path, report: Report) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(f"waiting for another process that fills {directory}")
        fcntl.flock(lock, fcntl.LOCK_EX)
