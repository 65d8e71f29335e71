"""The processes that are measured: the service's, and the CPU time of all that take part."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from benchmarks.worker import ROOT
from kubernaut.local._port import free_port

_PREFIX: Final = "KUBERNAUT_DATASTORAGE_"
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30


class Service:
    """One `kubernaut datastorage serve` with the default settings, on a free port."""

    def __init__(self, url: str, directory: Path) -> None:
        self.port = free_port()
        self._log = directory / f"service-{self.port}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_PREFIX)}
        environment[f"{_PREFIX}DATABASE__URL"] = url
        environment[f"{_PREFIX}SERVER__PORT"] = str(self.port)
        self._environment = environment
        self._process = self._start()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash does."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start it on the same port; return when it serves."""
        self._process = self._start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it serves.

        Raises:
            RuntimeError: it does not.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the service did not start: {said}")
            time.sleep(0.02)

    def ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
        """The status and document of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, msgspec.json.decode(answer.read())
        finally:
            connection.close()

    def cpu(self) -> float:
        """Seconds of CPU since its start."""
        return _cpu(psutil.Process(self._process.pid))

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "kubernaut", "datastorage", "serve"],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the main process, which then stops it.
            )

    def _is_ready(self) -> bool:
        try:
            return self.ask("GET", "/health/ready")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def services(url: str, directory: Path, number: int = 1) -> Iterator[list[Service]]:
    """So many services on one database, ready."""
    with ExitStack() as stack:
        started = []
        for _ in range(number):
            one = Service(url, directory)
            stack.callback(one.stop)
            started.append(one)
        for one in started:
            one.wait_until_ready()
        yield started


class CpuMeter:
    """CPU seconds of services and of PostgreSQL, from its making to `read`.

    Args:
        running: the services.
        postgres: PostgreSQL's main process; None where it cannot be seen.
    """

    def __init__(self, running: Sequence[Service], postgres: psutil.Process | None) -> None:
        self._running = running
        self._postgres = postgres
        self._before = self._now()

    def read(self) -> tuple[float, float]:
        """Seconds of CPU of the services, and of all of PostgreSQL's processes."""
        now = self._now()
        return now[0] - self._before[0], now[1] - self._before[1]

    def _now(self) -> tuple[float, float]:
        used = sum(one.cpu() for one in self._running)
        return used, _family_cpu(self._postgres) if self._postgres else 0.0


def postgres_process(backend_pid: int) -> psutil.Process | None:
    """PostgreSQL's main process, if it is one of this machine's."""
    try:
        parent = psutil.Process(backend_pid).parent()
    except psutil.NoSuchProcess:
        return None
    return parent if parent and parent.name().startswith("postgres") else None


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _family_cpu(process: psutil.Process) -> float:
    """A process, its children, and those of its children that ended."""
    times = process.cpu_times()
    used = times.user + times.system + times.children_user + times.children_system
    for child in process.children():
        try:
            used += _cpu(child)
        except psutil.NoSuchProcess:  # It ended just now.
            continue
    return used
