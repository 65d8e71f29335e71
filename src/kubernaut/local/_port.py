"""A TCP port of 127.0.0.1 for a server to listen on."""

import random
import socket
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError

HOST: Final = "127.0.0.1"

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 20_000
_TRIES: Final = 100


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
    trying to connect can even be connected to itself.

    Raises:
        LocalServerError: none was found.
    """
    try:
        first_ephemeral = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first_ephemeral = 32_768  # Linux's default.
    above = max(first_ephemeral, _LOWEST + 1000)  # A few may be inside; still free now.
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, above)  # noqa: S311  (not a secret)
        if is_free(port):
            return port
    raise LocalServerError(f"no free port on {HOST}")
