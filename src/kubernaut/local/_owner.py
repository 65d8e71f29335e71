"""The user that PostgreSQL runs as: us, or, because it refuses root, another existing user."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kubernaut.local import _launch
from kubernaut.local._errors import LocalServerError
from kubernaut.local._kept import start_kept

_FOR_ROOT: Final = ("postgres", "nobody")  # In this order; whichever exists.


@dataclass(frozen=True)
class Owner:
    """An existing user, and how to run programs as it.

    `foreign` says that it is not the user we run as.
    """

    name: str
    uid: int
    gid: int
    foreign: bool

    @classmethod
    def of_new_data(cls) -> "Owner":
        """Who gets a new data directory.

        Raises:
            LocalServerError: we are root, and none of the users that could take over exists.
        """
        if os.geteuid() != 0:
            return cls(_name(os.geteuid()), os.geteuid(), os.getegid(), foreign=False)
        for name in _FOR_ROOT:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name, entry.pw_uid, entry.pw_gid, foreign=True)
        raise LocalServerError(
            "PostgreSQL refuses to run as root, and this machine has no user 'postgres' or "
            "'nobody' to run it as; run this as an ordinary user"
        )

    @classmethod
    def of_existing_data(cls, data: Path) -> "Owner":
        """The owner of a data directory, which is the only user that PostgreSQL lets use it.

        Raises:
            LocalServerError: it belongs to somebody whose programs we cannot start.
        """
        try:
            uid = data.stat().st_uid
        except OSError as error:
            raise LocalServerError(f"{data} cannot be read: {error.strerror}") from error
        if os.geteuid() != 0:
            if uid != os.geteuid():
                raise LocalServerError(
                    f"the data directory {data} belongs to user {_name(uid)}, and this is user "
                    f"{_name(os.geteuid())}; use another home directory"
                )
            return cls.of_new_data()
        if uid == 0:
            raise LocalServerError(
                f"the data directory {data} belongs to root, as whom PostgreSQL refuses to run; "
                f"give it back with: chown -R {cls.of_new_data().name} {data}"
            )
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise LocalServerError(
                f"the data directory {data} belongs to user id {uid}, which is no user of this "
                "machine"
            ) from None
        return cls(entry.pw_name, uid, entry.pw_gid, foreign=True)

    def take(self, path: Path) -> None:
        """Give the owner a file or directory that we have just made."""
        if self.foreign:
            os.chown(path, self.uid, self.gid)

    def may(self, permissions: str, path: Path) -> bool:
        """Whether the owner has all of `permissions` (letters of `rwx`) on a path, and reaches it.

        Asked of the kernel in a child process of that user: modes alone don't tell (access
        lists, mount options).
        """
        script = " && ".join(f'test -{letter} "$1"' for letter in permissions)
        return self.run(["/bin/sh", "-c", script, "sh", path]).returncode == 0

    def run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as the owner; it is killed if we die first.

        Raises:
            LocalServerError: we may not become that user.
        """
        done = subprocess.run(  # noqa: S603  (the commands are this package's own)
            self._launched(command, signal.SIGKILL),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            cwd="/",  # Ours may be closed to the owner.
            env=_environment(),
        )
        if done.returncode == _launch.CANNOT_BECOME_USER:
            raise LocalServerError(
                f"PostgreSQL must run as user {self.name}, but: {done.stderr.strip()}"
            )
        return done

    def spawn(
        self, command: Sequence[str | Path], *, stderr: BinaryIO, death_signal: signal.Signals
    ) -> subprocess.Popen[bytes]:
        """Start a program as the owner; it gets `death_signal` when this process ends, however.

        Callers may start it from a thread that ends.

        Raises:
            LocalServerError: it could not be started.
        """
        return start_kept(
            self._launched(command, death_signal),
            name=str(command[0]),
            output=stderr,
            environment=_environment(),
        )

    def _launched(self, command: Sequence[str | Path], death_signal: signal.Signals) -> list[str]:
        """The command, started through `_launch`."""
        uid, gid = (self.uid, self.gid) if self.foreign else (-1, -1)
        launch = [sys.executable, "-I", "-S", _launch.__file__, os.getpid(), int(death_signal)]
        return [str(part) for part in (*launch, uid, gid, *command)]


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _environment() -> dict[str, str]:
    """Ours without what would steer PostgreSQL (PGDATA, PGPORT, ...), and with English messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}
