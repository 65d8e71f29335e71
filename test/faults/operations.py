"""What a traced process does to its storage and tells the world: the words of a run's log."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SHARED_MEMORY: Final = "-shm"
"""How SQLite's shared memory ends: it is written through mmap(2), and no crash needs it."""


class Kind(StrEnum):
    """What an operation is, however the call is named."""

    OPEN = "open"  # for writing, or to create
    WRITE = "write"
    TRUNCATE = "truncate"
    ALLOCATE = "allocate"
    SYNC = "sync"
    UNLINK = "unlink"
    RENAME = "rename"
    MKDIR = "mkdir"
    RMDIR = "rmdir"


@dataclass(frozen=True, slots=True)
class Operation:
    """One storage operation; paths are relative to the directory, which is `.` itself."""

    number: int  # in the order in which they begin
    kind: Kind
    call: str
    path: str
    offset: int = 0  # of a write; the new size for TRUNCATE, and for ALLOCATE if it grows the file
    data: bytes = field(default=b"", repr=False)
    target: str = ""  # the new path of a RENAME
    inode: int = 0
    creates: bool = False  # the OPEN found no file
    truncates: bool = False  # the OPEN empties the file
    injected: bool = False  # the plan said what came of it
    began: int = 0  # length of the log when it began: what is in there was done before
    result: int = 0  # negative: an errno

    @property
    def done(self) -> bool:
        """The kernel did it."""
        return self.result >= 0

    def __str__(self) -> str:
        more = f" {len(self.data)} bytes at {self.offset}" if self.kind is Kind.WRITE else ""
        more += f" to {self.target}" if self.target else ""
        more += f" = {self.result}" if self.result < 0 else ""
        return f"{self.number}: {self.call} {self.path}{more}"


@dataclass(frozen=True, slots=True)
class Told:
    """The scenario has said this to the world: from here on it is a promise."""

    data: bytes
