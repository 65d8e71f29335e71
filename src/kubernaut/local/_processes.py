"""What /proc tells of other processes (proc(5))."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped yet does not."""
    state = _stat(pid)
    return state is not None and state[0] not in {"Z", "X"}


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = []
    for candidate in _pids():
        state = _stat(candidate)
        if state is not None and int(state[1]) == pid:
            found.append(candidate)
    return found


def working_in(directory: Path) -> list[int]:
    """The processes whose working directory is `directory`, as far as we may see them.

    A server that someone else started is seen too: PostgreSQL's processes all change into the
    data directory.
    """
    found = []
    for pid in _pids():
        try:
            here = (_PROC / str(pid) / "cwd").stat()
            if os.path.samestat(here, directory.stat()) and alive(pid):
                found.append(pid)
        except OSError:  # It ended, or belongs to somebody else.
            continue
    return found


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _stat(pid: int) -> list[str] | None:
    """State, parent and so on; None if there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The program's name, in parentheses, may hold anything.
    return text[text.rindex(")") + 2 :].split()
