"""Start a program as another user, so that it ends when the process that started it ends.

Run as a script, before the program and in its place:

    python -I -S _launch.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT ...]

UID -1 keeps the user. A script and not a `preexec_fn`, because Python code between fork and exec
can lock up in a process that has threads. The order matters: the kernel forgets the parent-death
signal (prctl(2), PR_SET_PDEATHSIG) when the user changes.
"""

import ctypes
import os
import signal
import sys

CANNOT_BECOME_USER = 125
"""Exit code: the user could not be changed. The reason is on standard error."""
CANNOT_EXECUTE = 127
"""Exit code: the program could not be executed. The reason is on standard error."""

_PR_SET_PDEATHSIG = 1


def _become(uid: int, gid: int) -> None:
    try:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    except OSError as error:
        print(f"cannot become user id {uid}: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_BECOME_USER)


def _end_with(parent: int, death_signal: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # It ended before the kernel knew that we want to be told.
        sys.exit(CANNOT_EXECUTE)


def _main() -> None:
    parent, death_signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    program = sys.argv[5:]
    if uid >= 0:
        _become(uid, gid)
    _end_with(parent, death_signal)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would keep that.
    try:
        os.execv(program[0], program)  # noqa: S606  (no shell is what we want)
    except OSError as error:
        print(f"cannot execute {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    _main()
