"""Lines from a file descriptor, as they come: a portion is what is there, and memory is bounded."""

import os
import select
from collections.abc import Iterator
from typing import Final, NamedTuple

_READ_BYTES: Final = 2**18


class Line(NamedTuple):
    """A line without its end, counted from 1; None: it was too long, and is gone."""

    number: int
    text: bytes | None


class Lines:
    """The lines of a descriptor.

    Args:
        fd: where they come from.
        most_bytes: how long a line may be.
    """

    def __init__(self, fd: int, most_bytes: int) -> None:
        self._fd = fd
        self._most = most_bytes
        self._rest = bytearray()
        self._too_long = False  # The line that has begun is.
        self._number = 0

    def ready(self, seconds: float | None) -> bool:
        """Wait until there is something to read, or the end; None: as long as it takes."""
        return bool(select.select([self._fd], [], [], seconds)[0])

    def read(self) -> list[Line] | None:
        """The lines that are whole now, which may be none; at the end None."""
        some = os.read(self._fd, _READ_BYTES)
        if some:
            return list(self._split(some))
        if self._rest or self._too_long:
            return list(self._split(b"\n"))
        return None

    def _split(self, some: bytes) -> Iterator[Line]:
        *ends, rest = some.split(b"\n")
        for end in ends:
            self._append(end)
            self._number += 1
            yield Line(self._number, None if self._too_long else bytes(self._rest))
            self._rest.clear()
            self._too_long = False
        self._append(rest)

    def _append(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._most:
            self._too_long = True
            self._rest.clear()
        if not self._too_long:
            self._rest += part
