"""A running PostgreSQL: its processes, from the start to the end of one run."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kubernaut.local import _processes
from kubernaut.local._binaries import Binaries
from kubernaut.local._errors import LocalServerError
from kubernaut.local._place import Place
from kubernaut.local._port import HOST
from kubernaut.local._postmaster import Postmaster

STOP_SECONDS: Final = 60.0
"""How long an orderly stop may take."""

_SILENT_START_SECONDS: Final = 60.0
_IMMEDIATE_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_LOG_BYTES: Final = 16 * 2**20
_LOG_LINES: Final = 5
_LOG_PREFIX: Final = re.compile(r"^\S+ \S+ \S+ \[\d+\] ")  # PostgreSQL's default, '%m [%p] '.

_SETTINGS: Final = {
    # For the ingest of audit events on a small machine. fsync stays on: what was answered with
    # 201 is on disk.
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "max_connections": "100",
}


class PortTakenError(LocalServerError):
    """Another program listens on the port."""


class ServerProcess:
    """One run of a server.

    Args:
        place: its data directory, initialised, on which nothing runs.
        binaries: its programs.
        settings: PostgreSQL settings that override this package's.
        port: a TCP port on 127.0.0.1.
        log: the file to append the server's log to.

    Raises:
        PortTakenError: another program listens on the port.
        LocalServerError: it did not start, or was not ready after 60 seconds without a word in
            the log (a recovery reports every 10 seconds). Nothing is left running.
    """

    def __init__(
        self,
        place: Place,
        binaries: Binaries,
        *,
        settings: Mapping[str, str],
        port: int,
        log: Path,
    ) -> None:
        self._place = place
        self._log = log
        _limit(log)
        try:
            with log.open("ab") as stderr:
                self._log_start = stderr.tell()
                self._process = place.owner.spawn(
                    _command(place, binaries, settings, port),
                    stderr=stderr,
                    death_signal=signal.SIGINT,  # A fast shutdown.
                )
        except OSError as error:
            raise LocalServerError(f"{log} cannot be written: {error.strerror}") from error
        try:
            self._wait_until_ready()
        except BaseException:  # Ctrl-C too.
            self.stop()
            raise

    @property
    def running(self) -> bool:
        """Whether the server has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the server: orderly, else without a checkpoint, else by SIGKILL."""
        for number, seconds in (
            (signal.SIGINT, STOP_SECONDS),
            (signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS),
        ):
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                return
        self.kill()

    def kill(self) -> None:
        """End every process of the server with SIGKILL, and wait until they are gone."""
        self._process.send_signal(signal.SIGSTOP)  # It starts no more children now.
        family = _processes.children(self._process.pid)
        self._process.kill()
        for child in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        while any(_processes.alive(child) for child in family):
            time.sleep(_POLL_SECONDS)

    def _wait_until_ready(self) -> None:
        size = 0
        deadline = 0.0
        while True:
            if self._process.poll() is not None:
                raise self._failed(f"ended with exit code {self._process.returncode}")
            server = Postmaster.of(self._place.data)
            if server and server.pid == self._process.pid and server.status == "ready":
                return
            if (written := self._log.stat().st_size) != size or not deadline:
                size = written
                deadline = time.monotonic() + _SILENT_START_SECONDS
            if time.monotonic() > deadline:
                raise self._failed("was not ready in time")
            time.sleep(_POLL_SECONDS)

    def _failed(self, how: str) -> LocalServerError:
        said = self._last_lines()
        kind = PortTakenError if "Address already in use" in said else LocalServerError
        return kind(f"PostgreSQL did not start ({how}): {said} (the whole log: {self._log})")

    def _last_lines(self) -> str:
        """What the server said last in this run, as one line."""
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            text = file.read().decode("utf-8", "replace")
        lines = [_LOG_PREFIX.sub("", line).strip() for line in text.splitlines() if line.strip()]
        return "; ".join(lines[-_LOG_LINES:]) or "it said nothing"


def _command(
    place: Place, binaries: Binaries, settings: Mapping[str, str], port: int
) -> list[str | Path]:
    """The command line. It carries all settings, so that nothing edits postgresql.conf."""
    postgres = binaries.program("postgres")
    own = {"wal_compression": "lz4" if _has_lz4(place, postgres) else "pglz"}
    fixed = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "logging_collector": "off",  # The log is standard error, which we keep.
        "log_destination": "stderr",
    }
    command: list[str | Path] = [postgres, "-D", place.data]
    for name, value in (_SETTINGS | own | dict(settings) | fixed).items():
        command += ["-c", f"{name}={value}"]
    return command


def _has_lz4(place: Place, postgres: Path) -> bool:
    setting = ["-c", "wal_compression=lz4"]
    asked = place.owner.run([postgres, "-D", place.data, *setting, "-C", "wal_compression"])
    return asked.returncode == 0


def _limit(log: Path) -> None:
    """Keep the log of earlier runs from growing for ever: one old file, then it is forgotten."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
