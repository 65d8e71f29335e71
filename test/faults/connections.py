"""What both proxies do with sockets: keep a port, end a connection as a crash does, go away."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

HOST: Final = "127.0.0.1"

_RST: Final = struct.pack("ii", 1, 0)  # Of SO_LINGER: on, for no time.
_END_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.05


def bound(port: int) -> socket.socket:
    """A socket on a port that others of ours may be bound to as well; 0 for any port."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((HOST, port))
    return found


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()


async def until_alone(reset_all: Callable[[], Awaitable[None]]) -> None:
    """Reset connections until no other task of the loop is left.

    A connection that has just been accepted is not among those that were reset; left behind, it
    would leave its socket.
    """
    async with asyncio.timeout(_END_SECONDS):
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=_LOOK_SECONDS)
            await reset_all()
