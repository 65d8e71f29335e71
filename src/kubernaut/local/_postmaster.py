"""The lock file of a running server, `postmaster.pid` (src/include/utils/pidfile.h)."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernaut.local import _processes
from kubernaut.local._errors import LocalServerError

_PID, _PORT, _STATUS = 0, 3, 7  # Lines of the file.
_NOTICE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Postmaster:
    """What a server says of itself; a server that has just begun has said less."""

    pid: int
    port: int | None
    status: str

    @classmethod
    def of(cls, data: Path) -> "Postmaster | None":
        """The server that the lock file of a data directory names, whether it lives or not."""
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            pid = int(lines[_PID])
        except (OSError, ValueError, IndexError):
            return None
        port = lines[_PORT] if len(lines) > _PORT else ""
        status = lines[_STATUS] if len(lines) > _STATUS else ""
        return cls(pid, int(port) if port.isdigit() else None, status.strip())

    def __str__(self) -> str:
        on = f" on port {self.port}" if self.port else ""
        return f"the PostgreSQL server with process id {self.pid}{on}"


def clear_the_way(data: Path, stop_seconds: float) -> None:
    """Make sure that no server runs on a data directory. The caller holds the home's lock.

    A server whose parent has just been killed is stopping: that is waited for. A lock file whose
    process id now belongs to another program is removed, because PostgreSQL would refuse to start
    for it.

    Args:
        data: an existing data directory.
        stop_seconds: how long a server that is stopping may take.

    Raises:
        LocalServerError: a server runs here and is not stopping, or not stopping fast enough.
    """
    begun = time.monotonic()
    while (other := Postmaster.of(data)) and other.pid in (here := _processes.working_in(data)):
        allowed = stop_seconds if other.status == "stopping" else _NOTICE_SECONDS
        if time.monotonic() - begun > allowed:
            raise LocalServerError(f"{data} is in use by {other}; stop it first")
        time.sleep(_POLL_SECONDS)
    if other and _processes.alive(other.pid) and not here:
        (data / "postmaster.pid").unlink(missing_ok=True)
