"""A TCP port of 127.0.0.1 for a server to listen on."""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError

HOST: Final = "127.0.0.1"

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 20_000
_TRIES: Final = 100
_TAKEN: Final[set[int]] = set()  # Within one process a lock does not keep a second call out.


def is_free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        # As PostgreSQL does, so that connections of a server that ended don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A free port outside the range from which the kernel gives ports to outgoing connections.

    Inside it, a port can go to some connection while its server restarts; a client that keeps
    trying to connect can even be connected to itself. As long as this process lives no other call
    gives the same port, in any process of this user: its server may start later, or end and start
    again.

    Raises:
        LocalServerError: none was found, or none can be reserved.
    """
    try:
        first_ephemeral = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first_ephemeral = 32_768  # Linux's default.
    above = max(first_ephemeral, _LOWEST + 1000)  # A few may be inside; still free now.
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, above)  # noqa: S311  (not a secret)
        if is_free(port) and _reserve(port):
            return port
    raise LocalServerError(f"no free port on {HOST}")


def _reserve(port: int) -> bool:
    """Take a port among the processes of this user; whether it was there to be taken."""
    if port in _TAKEN:
        return False
    reservations = _reservations()
    try:
        fcntl.lockf(reservations, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _TAKEN.add(port)
    return True


@cache
def _reservations() -> int:
    """The file of which each byte that a process has locked is a port of its own.

    Never closed: that would end the locks. They end with the process.
    """
    path = Path(tempfile.gettempdir(), f"kubernaut-ports-{os.geteuid()}")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalServerError(f"ports cannot be reserved: {error}") from error
