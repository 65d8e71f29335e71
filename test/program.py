"""A program of ours as a process of its own, for tests: started, told, killed."""

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import psutil

from test.polling import wait_for


class Program:
    """One process; subclasses say what runs, and with which settings.

    Args:
        arguments: of the process.
        environment: of the process.
        log_path: where what it writes goes.
        ready_url: it is there when this answers 200.
    """

    start_seconds = 60.0

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        ready_url: str,
    ) -> None:
        self.log_path = log_path
        self._ready_url = ready_url
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments = arguments
        self._environment = environment

    def start(self, *, wait: bool = True) -> Self:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            wait_for(
                self.is_ready, timeout=self.start_seconds, what=f"an answer of {self._ready_url}"
            )
        return self

    def is_ready(self) -> bool:
        """Whether it answers; an error where it has ended."""
        if not self.is_running:
            raise AssertionError(f"{self._arguments} ended: {self.log()[-4000:]}")
        try:
            return httpx2.get(self._ready_url, trust_env=False, timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a crash or an out-of-memory kill does."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout: float = 60) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def memory(self) -> int:
        """Resident bytes of the process."""
        assert self.process is not None
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Whatever it does, it is gone after this."""
        if self.process is not None and self.is_running:
            self.process.kill()
            self.process.wait(30)
