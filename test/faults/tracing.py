"""The ptrace(2) calls that `storage` needs, for Linux on x86_64.

Guarantees that an error of a call is an exception, but for ESRCH: a thread that was killed between
two calls is gone, and its end is what waitpid reports next.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass
from typing import Final

SYSCALL_STOP: Final = 0x80  # Or-ed to SIGTRAP in a stop at a system call (TRACESYSGOOD).
WAIT_ALL: Final = 0x40000000  # __WALL: threads too.

_TRACEME: Final = 0
_POKEUSER: Final = 6
_SYSCALL: Final = 24
_SETOPTIONS: Final = 0x4200
_GET_SYSCALL_INFO: Final = 0x420E
_TRACE_SYSGOOD: Final = 0x1
_TRACE_CLONE: Final = 0x8
_EXIT_KILL: Final = 0x100000

# Offsets in `struct user`, where registers are written.
_RDX: Final = 12 * 8
_RAX: Final = 10 * 8
_ORIG_RAX: Final = 15 * 8

_INFO: Final = struct.Struct("=B3xIQQ7Q8x")  # struct ptrace_syscall_info at an entry
_RESULT: Final = struct.Struct("=24xq")  # the same at an exit


class UnsupportedMachineError(RuntimeError):
    """Storage faults need ptrace(2) of Linux on x86_64."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A thread is about to make a system call."""

    number: int
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """A system call has returned; a negative result is an errno."""

    result: int


def require_machine() -> None:
    """Raise `UnsupportedMachineError` unless this machine can trace."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise UnsupportedMachineError(
            f"storage faults need Linux on x86_64, not {sys.platform} on {platform.machine()}"
        )


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request: int, thread: int, address: int, data: object) -> int:
    ctypes.set_errno(0)
    result: int = _libc.ptrace(request, thread, address, data)
    if result == -1 and (number := ctypes.get_errno()) not in {0, errno.ESRCH}:
        raise OSError(number, f"ptrace({request:#x}): {os.strerror(number)}")
    return result


def allow_tracing() -> None:
    """In the child: let the parent trace this process."""
    _ptrace(_TRACEME, 0, 0, 0)


def follow_threads(thread: int) -> None:
    """Trace the threads it starts, tell system calls from signals, and kill all if we end."""
    _ptrace(_SETOPTIONS, thread, 0, _TRACE_SYSGOOD | _TRACE_CLONE | _EXIT_KILL)


def resume(thread: int, signal_number: int = 0) -> None:
    """Go on to the next stop, with a signal delivered first if one is given."""
    _ptrace(_SYSCALL, thread, 0, signal_number)


def system_call(thread: int) -> Entry | Exit | None:
    """What a thread in a stop at a system call is at; nothing if it is gone."""
    buffer = ctypes.create_string_buffer(_INFO.size)
    _ptrace(_GET_SYSCALL_INFO, thread, _INFO.size, buffer)
    match buffer.raw[0]:
        case 1:  # An entry.
            values = _INFO.unpack(buffer.raw)
            return Entry(values[4], values[5:11])
        case 2:  # An exit.
            return Exit(_RESULT.unpack_from(buffer.raw)[0])
        case _:
            return None


def leave_out(thread: int) -> None:
    """At an entry: the kernel does nothing."""
    _ptrace(_POKEUSER, thread, _ORIG_RAX, ctypes.c_void_p(-1))


def set_result(thread: int, result: int) -> None:
    """At an exit: what the caller is given."""
    _ptrace(_POKEUSER, thread, _RAX, ctypes.c_void_p(result))


def set_length(thread: int, length: int) -> None:
    """At the entry of a write: how many bytes it is about."""
    _ptrace(_POKEUSER, thread, _RDX, length)
