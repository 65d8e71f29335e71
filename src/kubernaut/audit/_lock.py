"""A lock on a file, which the kernel takes back when its holder ends, however it ends."""

import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """A file that this process alone holds; made where it is missing.

    Use `take`. `flock(2)` it is: a fork inherits it, so the child has to let go of it.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd: int | None = fd

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """The lock, or None if another process has it.

        Raises:
            OSError: the file cannot be opened, or its file system has no locks.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                return cls(path, fd)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # Somebody's, or removed by its last holder in between.
        return None

    def release(self) -> None:
        """Let go of it; in a forked child this leaves it with the parent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def remove(self) -> None:
        """Remove the file, then let go of it.

        Raises:
            OSError: it cannot be removed; the lock is kept.
        """
        self._path.unlink(missing_ok=True)
        self.release()


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
