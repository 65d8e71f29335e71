"""What a home directory holds besides the data: one user at a time, and passwords."""

import fcntl
import os
import secrets
import tempfile
from pathlib import Path

from kubernaut.local._errors import LocalServerError

_PASSWORD_BYTES = 24


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents.

    As root they are open to others (mode 0755) whatever the umask is, because PostgreSQL's user
    has to pass through them; what is private inside has its own mode.

    Raises:
        LocalServerError: it cannot be made or written.
    """
    missing = [part for part in (path, *path.parents) if not part.exists()]
    try:
        for part in reversed(missing):
            part.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                part.chmod(0o755)
    except OSError as error:
        raise LocalServerError(f"{path} cannot be made: {error.strerror}") from error
    if not path.is_dir():
        raise LocalServerError(f"{path} is not a directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise LocalServerError(f"{path} cannot be read and written by this user")


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read; it is whole and on disk, or it is not there.

    Raises:
        LocalServerError: it cannot be written.
    """
    try:
        descriptor, partial = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise LocalServerError(f"{path} cannot be written: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Put a directory's names on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def kept_password(path: Path) -> str:
    """The password that a file keeps; on first use a new random one, in a file of mode 0600.

    It is made of letters, digits, `-` and `_`, so it needs no quoting anywhere.

    Raises:
        LocalServerError: the file cannot be read or written, or is empty.
    """
    try:
        password = path.read_text().strip()
    except FileNotFoundError:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        write_private(path, password + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalServerError(f"the password file {path} cannot be read: {error}") from error
    if not password:
        raise LocalServerError(f"the password file {path} is empty")
    return password


class HomeLock:
    """Held while a server runs on a home directory; the kernel releases it when we end."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> int | None:
        """Take the lock, if we do not hold it already.

        Returns:
            None if it is ours now, else the id of the process that holds it (0: not known).

        Raises:
            LocalServerError: the file cannot be opened or locked at all.
        """
        if self._descriptor is not None:
            return None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LocalServerError(f"{self._path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0)
            os.close(descriptor)
            return int(holder) if holder.strip().isdigit() else 0
        except OSError as error:
            os.close(descriptor)
            raise LocalServerError(f"{self._path} cannot be locked: {error.strerror}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Give the lock back, if we hold it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
