"""Room set aside on the disk, so that a disk that is full can still be emptied.

Taking delivered events out of a journal needs some room itself. Without a reserve, a journal that
filled its disk could never get rid of what the server has long had.
"""

import os
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 8 * 1024**2
"""More than SQLite writes to copy its log into the file and take out the largest batch."""


class Reserve:
    """A file that takes up room until the room is needed.

    Args:
        path: the file; what is left of an earlier one is used.
        size: in bytes.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size
        self._held = False

    def hold(self) -> bool:
        """Take up the room, if it is not taken up yet; False: there is not so much."""
        if not self._held:
            try:
                self._allocate()
            except OSError:
                self.release()
            else:
                self._held = True
        return self._held

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the room to whoever needs it; who adds events has to `hold` it again before."""
        self._held = False
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return  # It could not be made either.
