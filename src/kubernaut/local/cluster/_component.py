"""One program of a cluster, as a process that ends with us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from kubernaut.local import _launch
from kubernaut.local._errors import LocalServerError
from kubernaut.local._kept import start_kept

_POLL_SECONDS: Final = 0.02
_END_SECONDS: Final = 10.0
_LOG_LINES: Final = 6
_LOG_READ: Final = 1 << 16
_PORT_TAKEN: Final = "address already in use"


class PortTakenError(LocalServerError):
    """Another program listens on a port that was free a moment ago."""


class Component:
    """A program with its arguments, its log, and a way to tell that it works.

    Made by `LocalCluster`; for tests of what happens when it fails.

    Args:
        program: its path.
        name: what to call it.
        arguments: of the program.
        log: the file to append its output to.
        ready: whether it works; exceptions that are OSError count as no.
        seconds: how long it may take to be ready.
        environment: more environment variables.
    """

    def __init__(  # noqa: PLR0913  (each by its name)
        self,
        program: Path,
        *,
        name: str,
        arguments: Sequence[str],
        log: Path,
        ready: Callable[[], bool],
        seconds: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_file = log
        self._command = [str(program), *arguments]
        self._ready = ready
        self._seconds = seconds
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether its process has not ended; a paused one has not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process.

        Raises:
            LocalServerError: it does not run.
        """
        if self._process is None or not self.running:
            raise LocalServerError(f"{self.name} does not run")
        return self._process.pid

    def launch(self) -> None:
        """Start it without waiting until it works.

        Raises:
            LocalServerError: it runs already, or cannot be started.
        """
        if self.running:
            raise LocalServerError(f"{self.name} runs already")
        launch = [sys.executable, "-I", "-S", _launch.__file__, str(os.getpid())]
        launch += [str(int(signal.SIGKILL)), "-1", "-1", *self._command]
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = start_kept(
                launch,
                name=self.name,
                output=log,
                environment={**os.environ, **self._environment},
            )

    def wait(self) -> None:
        """Return when it works.

        Raises:
            PortTakenError: it ended because another program has its port.
            LocalServerError: it ended, or does not work in time; the text has the end of its log.
        """
        deadline = time.monotonic() + self._seconds
        while True:
            if not self.running:
                code = self._process.returncode if self._process else None
                taken = _PORT_TAKEN in self._said()
                error = PortTakenError if taken else LocalServerError
                raise error(
                    f"{self.name} ended with exit code {code} while it started{self._end()}"
                )
            try:
                if self._ready():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"{self.name} does not answer after {self._seconds:g} s{self._end()}"
                )
            time.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """Start it, on the ports it had before, and return when it works.

        Raises:
            LocalServerError: as of `launch` and `wait`.
        """
        self.launch()
        self.wait()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash does. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """End it with SIGTERM; with SIGKILL if that takes longer than 10 seconds."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> None:
        """Kill it and start it again.

        Raises:
            LocalServerError: it does not start.
        """
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it with SIGSTOP: its connections stay open and nothing answers.

        Raises:
            LocalServerError: it does not run.
        """
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on.

        Raises:
            LocalServerError: it does not run.
        """
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """The last lines that it wrote since its last start."""
        return "\n".join(self._said().splitlines()[-lines:])

    def _end(self) -> str:
        tail = " | ".join(line.strip() for line in self.log_tail().splitlines() if line.strip())
        return f"; its log {self.log_file} ends with: {tail}" if tail else ", and it said nothing"

    def _said(self) -> str:
        try:
            with self.log_file.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - _LOG_READ))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""
