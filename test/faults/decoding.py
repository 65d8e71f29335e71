"""Reads storage operations out of the system calls of a traced process.

Guarantees that a call which changes a file below the directory is an `Operation`, or ends the run
with `NotModelledError`: nothing changes a file unseen, but for the shared memory of SQLite.
"""

import mmap
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from test.faults.operations import SHARED_MEMORY, Kind, Operation
from test.faults.tracing import Entry

_AT_FDCWD: Final = -100
_PAGE: Final = 4096
_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE


class NotModelledError(Exception):
    """The scenario changes a file in a way that the tools know nothing about."""


def signed(value: int) -> int:
    """The C int that a register holds."""
    value &= 0xFFFFFFFF
    return value - 0x100000000 if value & 0x80000000 else value


class Decoder:
    """Reads the arguments of a process's system calls.

    Args:
        pid: a process that is traced by this thread.
        directory: without symbolic links.
    """

    def __init__(self, pid: int, directory: Path) -> None:
        self._proc = f"/proc/{pid}"
        self._directory = str(directory)
        self._memory = os.open(f"{self._proc}/mem", os.O_RDONLY)

    def close(self) -> None:
        os.close(self._memory)

    def written(self, entry: Entry, fd: int) -> bytes | None:
        """What the call writes with write(2) to exactly this descriptor."""
        if entry.number == 1 and signed(entry.arguments[0]) == fd:
            return self._bytes(entry.arguments[1], entry.arguments[2])
        return None

    def operation(self, entry: Entry) -> Operation | None:
        """The operation that begins, with its number yet to be given; None: it is none."""
        if (name_and_reader := _CALLS.get(entry.number)) is None:
            return None
        name, reader = name_and_reader
        return reader(self, name, *entry.arguments)

    def completed(self, operation: Operation, result: int) -> Operation:
        """The operation with what came of it."""
        inode, data = operation.inode, operation.data
        if operation.kind is Kind.OPEN and result >= 0:
            inode = self._stat(result).st_ino
        if operation.kind is Kind.WRITE:
            data = data[: max(result, 0)]
        return replace(operation, result=result, inode=inode, data=data)

    def _bytes(self, address: int, length: int) -> bytes:
        return os.pread(self._memory, length, address) if length else b""

    def _text(self, address: int) -> str:
        text = b""
        while b"\0" not in text:
            text += self._bytes(address + len(text), _PAGE - (address + len(text)) % _PAGE)
        return os.fsdecode(text[: text.index(b"\0")])

    def _stat(self, fd: int) -> os.stat_result:
        return Path(f"{self._proc}/fd/{fd}").stat()

    def _relative(self, path: str) -> str | None:
        if path == self._directory:
            return "."
        below = self._directory + "/"
        return path.removeprefix(below) if path.startswith(below) else None

    def _of_fd(self, fd: int) -> tuple[str, os.stat_result] | None:
        """The file below the directory that a descriptor is for."""
        try:
            path = os.readlink(f"{self._proc}/fd/{fd}")  # noqa: PTH115  (this is the quick way)
        except OSError:  # No such descriptor: the call will fail.
            return None
        if self._relative(path) is None:
            return None
        status = self._stat(fd)
        if status.st_nlink == 0:
            path = path.removesuffix(" (deleted)")
        relative = self._relative(path)
        return None if relative is None else (relative, status)

    def _path(self, at: int, address: int) -> tuple[str, Path] | None:
        """The path below the directory that an argument names, relative and in full."""
        base = "cwd" if (fd := signed(at)) == _AT_FDCWD else f"fd/{fd}"
        text = self._text(address)
        if not text.startswith("/"):
            text = str(Path(f"{self._proc}/{base}").readlink() / text)
        text = os.path.normpath(text)
        # The last link, if it is one, is not followed.
        full = Path(os.path.realpath(os.path.dirname(text))) / os.path.basename(text)  # noqa: PTH119, PTH120
        relative = self._relative(str(full))
        return None if relative is None else (relative, full)

    # One reader for each form of arguments.

    def _write(self, call: str, fd: int, address: int, length: int, *more: int) -> Operation | None:
        if (found := self._of_fd(signed(fd))) is None:
            return None
        path, status = found
        if call.endswith("v") or call == "pwritev2":
            table = memoryview(self._bytes(address, 16 * length)).cast("L")
            data = b"".join(self._bytes(*table[i : i + 2]) for i in range(0, len(table), 2))
        else:
            data = self._bytes(address, length)
        offset = more[0] if call.startswith("p") else self._position(signed(fd), status)
        return Operation(0, Kind.WRITE, call, path, offset, data, inode=status.st_ino)

    def _position(self, fd: int, status: os.stat_result) -> int:
        lines = Path(f"{self._proc}/fdinfo/{fd}").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines[:2])
        return status.st_size if int(values["flags"], 8) & os.O_APPEND else int(values["pos"])

    def _sync(self, call: str, fd: int, *_: int) -> Operation | None:
        if (found := self._of_fd(signed(fd))) is None:
            return None
        return Operation(0, Kind.SYNC, call, found[0], inode=found[1].st_ino)

    def _truncate(self, call: str, fd: int, size: int, *_: int) -> Operation | None:
        if (found := self._of_fd(signed(fd))) is None:
            return None
        return Operation(0, Kind.TRUNCATE, call, found[0], size, inode=found[1].st_ino)

    def _allocate(
        self, call: str, fd: int, mode: int, offset: int, length: int, *_: int
    ) -> Operation | None:
        if (found := self._of_fd(signed(fd))) is None:
            return None
        if mode & ~_KEEP_SIZE:
            raise NotModelledError(f"fallocate of {found[0]} with mode {mode:#x}")
        end = 0 if mode else offset + length
        return Operation(0, Kind.ALLOCATE, call, found[0], end, inode=found[1].st_ino)

    def _open(self, call: str, at: int, address: int, flags: int, *_: int) -> Operation | None:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if not writes or (found := self._path(at, address)) is None:
            return None
        path, full = found
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise NotModelledError(f"a file without a name in {path}")
        return Operation(
            *(0, Kind.OPEN, call, path),
            creates=bool(flags & os.O_CREAT) and not os.path.lexists(full),
            truncates=bool(flags & os.O_TRUNC),
        )

    def _named(self, call: str, at: int, address: int, flags: int, *_: int) -> Operation | None:
        if (found := self._path(at, address)) is None:
            return None
        path, full = found
        kind = Kind.MKDIR if call.startswith("mkdir") else Kind.UNLINK
        if call == "rmdir" or (call == "unlinkat" and flags):
            kind = Kind.RMDIR
        inode = full.lstat().st_ino if os.path.lexists(full) else 0
        return Operation(0, kind, call, path, inode=inode)

    def _rename(
        self, call: str, at: int, old: int, to: int, new: int, *more: int
    ) -> Operation | None:
        source, target = self._path(at, old), self._path(to, new)
        if source is None and target is None:
            return None
        if source is None or target is None or (call == "renameat2" and more[0]):
            raise NotModelledError(f"{call} from {source} to {target}")
        return Operation(0, Kind.RENAME, call, source[0], target=target[0])

    def _refuse_fd(self, call: str, fd: int, *_: int) -> None:
        if (found := self._of_fd(signed(fd))) is not None:
            raise NotModelledError(f"{call} to {found[0]}")

    def _refuse_path(self, call: str, at: int, address: int, *_: int) -> None:
        if (found := self._path(at, address)) is not None:
            raise NotModelledError(f"{call} of {found[0]}")

    def _mmap(
        self, call: str, _: int, __: int, protection: int, flags: int, fd: int, *___: int
    ) -> None:
        shared = flags & mmap.MAP_SHARED and protection & mmap.PROT_WRITE
        if shared and (found := self._of_fd(signed(fd))) is not None:
            path, status = found
            if stat.S_ISREG(status.st_mode) and not path.endswith(SHARED_MEMORY):
                raise NotModelledError(f"{call} of {path}, shared and writable")

    def _refuse(self, call: str, *_: int) -> None:
        raise NotModelledError(call)


_Reader = Callable[..., Operation | None]


def _here(reader: _Reader) -> _Reader:
    """For the older form of a call, without the descriptor of a directory."""
    return lambda decoder, call, *arguments: reader(decoder, call, _AT_FDCWD, *arguments)


def _from(first: int, reader: _Reader) -> _Reader:
    """For a call whose arguments of interest begin later."""
    return lambda decoder, call, *arguments: reader(decoder, call, *arguments[first:])


def _rename_here(decoder: Decoder, call: str, old: int, new: int, *_: int) -> Operation | None:
    return Decoder._rename(decoder, call, _AT_FDCWD, old, _AT_FDCWD, new)


def _create_here(decoder: Decoder, call: str, address: int, *_: int) -> Operation | None:
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    return Decoder._open(decoder, call, _AT_FDCWD, address, flags)


_CALLS: Final[dict[int, tuple[str, _Reader]]] = {
    1: ("write", Decoder._write),
    2: ("open", _here(Decoder._open)),
    9: ("mmap", Decoder._mmap),
    18: ("pwrite64", Decoder._write),
    20: ("writev", Decoder._write),
    40: ("sendfile", Decoder._refuse_fd),
    74: ("fsync", Decoder._sync),
    75: ("fdatasync", Decoder._sync),
    76: ("truncate", _here(Decoder._refuse_path)),
    77: ("ftruncate", Decoder._truncate),
    82: ("rename", _rename_here),
    83: ("mkdir", _here(Decoder._named)),
    84: ("rmdir", _here(Decoder._named)),
    85: ("creat", _create_here),
    86: ("link", _from(1, _here(Decoder._refuse_path))),
    87: ("unlink", _here(Decoder._named)),
    88: ("symlink", _from(1, _here(Decoder._refuse_path))),
    257: ("openat", Decoder._open),
    258: ("mkdirat", Decoder._named),
    263: ("unlinkat", Decoder._named),
    264: ("renameat", Decoder._rename),
    265: ("linkat", _from(2, Decoder._refuse_path)),
    266: ("symlinkat", _from(1, Decoder._refuse_path)),
    275: ("splice", _from(2, Decoder._refuse_fd)),
    285: ("fallocate", Decoder._allocate),
    296: ("pwritev", Decoder._write),
    316: ("renameat2", Decoder._rename),
    326: ("copy_file_range", _from(2, Decoder._refuse_fd)),
    328: ("pwritev2", Decoder._write),
    425: ("io_uring_setup", Decoder._refuse),
    437: ("openat2", Decoder._refuse),
}
