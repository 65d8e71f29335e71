"""HTTP/1.1 messages as bytes: just enough to know where each one ends.

Guarantees that `raw` is what was read, byte for byte.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

LIMIT: Final = 2**20
"""Bytes of a message's head, at most."""

_HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer."""

    start: tuple[str, str, str]  # Method, path, version; or version, status, reason.
    headers: dict[str, str]  # Names in lower case; of several, the last.
    head: bytes
    raw: bytes
    body: bytes  # Without the framing of chunks.
    ends_connection: bool  # Only the connection's end ends it, or it says so.


async def read_request(reader: asyncio.StreamReader) -> Message | None:
    """The next request of a connection; None: the client has closed it."""
    try:
        return await _read(reader, answers=None)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None


async def read_answer(reader: asyncio.StreamReader, method: str) -> Message:
    """The final answer to a request, without the interim ones."""
    while True:
        answer = await _read(reader, answers=method)
        if not answer.start[1].startswith("1"):
            return answer


async def _read(reader: asyncio.StreamReader, answers: str | None) -> Message:
    head = await reader.readuntil(_HEAD_END)
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    one, two, three = [*first.split(" ", 2), "", ""][:3]
    start = (one, two, three)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    version = start[2] if answers is None else start[0]
    ends = "close" in headers.get("connection", "").lower()
    if version == "HTTP/1.0":
        ends = "keep-alive" not in headers.get("connection", "").lower()
    if answers is not None and (answers == "HEAD" or start[1][0] == "1" or start[1] in _EMPTY):
        framed = body = b""
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        framed, body = await _read_chunks(reader)
    elif "content-length" in headers:
        framed = body = await reader.readexactly(int(headers["content-length"]))
    elif answers is None:
        framed = body = b""
    else:
        framed = body = await reader.read()
        ends = True
    return Message(start, headers, head, head + framed, body, ends)


_EMPTY: Final = {"204", "304"}


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    framed, body = bytearray(), bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        framed += line
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        data = await reader.readexactly(size + 2)
        framed += data
        body += data[:-2]
    while line != b"\r\n":  # Trailers.
        line = await reader.readuntil(b"\r\n")
        framed += line
    return bytes(framed), bytes(body)
