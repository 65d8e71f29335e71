"""A cluster that some process runs on a data folder, seen from another process."""

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernaut.local import _processes
from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import write_private

_STATE: Final = "cluster.json"
_LOCKS: Final = Path("/proc/locks")
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class RunningCluster:
    """What a cluster says of itself once it is ready.

    `owner` is the process that holds it; `components` are the process ids of its programs.
    """

    owner: int
    url: str
    kubeconfig: Path
    components: Mapping[str, int]

    @classmethod
    def of(cls, home: Path) -> "RunningCluster | None":
        """The one that runs on a data folder and is ready."""
        owner = holder_of(home)
        if owner is None:
            return None
        try:
            said = json.loads((home / _STATE).read_text())
            if said["owner"] != owner:  # Left by one that was killed.
                return None
            return cls(owner, said["url"], Path(said["kubeconfig"]), said["components"])
        except (OSError, ValueError, KeyError):
            return None

    def write(self, home: Path) -> None:
        """Say it."""
        said = {
            "owner": self.owner,
            "url": self.url,
            "kubeconfig": str(self.kubeconfig),
            "components": dict(self.components),
        }
        write_private(home / _STATE, json.dumps(said))

    @staticmethod
    def withdraw(home: Path) -> None:
        """Say it no more."""
        (home / _STATE).unlink(missing_ok=True)

    def runs(self, name: str) -> bool:
        """Whether a program of it runs."""
        return _processes.alive(self.components[name])


def holder_of(home: Path) -> int | None:
    """The process that uses a data folder, ready or not.

    Asked of the kernel and not by trying to lock, which could hold up one that is starting.
    """
    lock = home / "lock"
    try:
        inode = lock.stat().st_ino
        written = int(lock.read_text())
        held = _LOCKS.read_text()
    except (OSError, ValueError):
        return None
    wanted = ["FLOCK", str(written), str(inode)]
    for line in held.splitlines():  # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`
        words = line.split()
        if [words[1], words[4], words[5].rpartition(":")[2]] == wanted:
            return written
    return None


def end_holder(pid: int, seconds: float) -> None:
    """Tell a process to end, and wait until it has.

    Raises:
        LocalServerError: it may not be told, or goes on after that time.
    """
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise LocalServerError(f"process {pid} belongs to another user") from None
    deadline = time.monotonic() + seconds
    while _processes.alive(pid):
        if time.monotonic() > deadline:
            raise LocalServerError(f"process {pid} has not ended after {seconds:g} s")
        time.sleep(_POLL_SECONDS)
