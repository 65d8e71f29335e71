"""DataStorage as a process of its own, for tests: started, asked, killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import psutil

from test.polling import wait_for

EVENTS = "/api/v1/audit/events"
BATCH = f"{EVENTS}/batch"
VERIFY = "/api/v1/audit/verify-chain"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class DataStorageProcess:
    """One `kubernaut datastorage serve` on a free port.

    `settings` are configuration sections, for example `{"limits": {"max_batch_events": 5}}`.
    """

    def __init__(
        self, database_url: str, directory: Path, settings: dict[str, Any] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = directory / f"datastorage-{self.port}.log"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("KUBERNAUT_DATASTORAGE_")
        }
        sections: dict[str, Any] = {
            "database": {"url": database_url},
            "server": {"port": self.port},
        }
        for name, value in (settings or {}).items():
            if isinstance(value, dict):
                sections.setdefault(name, {}).update(value)
            else:
                self._environment[f"KUBERNAUT_DATASTORAGE_{name}".upper()] = json.dumps(value)
        for section, values in sections.items():
            for name, value in values.items():
                key = f"KUBERNAUT_DATASTORAGE_{section}__{name}".upper()
                self._environment[key] = str(value)
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)

    def start(self, *, wait: bool = True) -> Self:
        log = self.log_path.open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kubernaut", "datastorage", "serve"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            wait_for(self._answers, timeout=30, what=f"an answer of {self.url}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended: {self.log()}")
        try:
            return self.client.get("/health/live").status_code == 200
        except httpx2.TransportError:
            return False

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
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """POST a JSON body; bytes and str are sent as they are."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.client.post(
            path, content=content, headers={"Content-Type": "application/json"} | headers
        )

    def get(self, path: str, **params: Any) -> httpx2.Response:
        return self.client.get(path, params=params)

    def verify(self, correlation_id: str) -> dict[str, Any]:
        answer = self.post(VERIFY, {"correlation_id": correlation_id})
        assert answer.status_code == 200, answer.text
        verification: dict[str, Any] = answer.json()
        return verification


StartService = Callable[..., DataStorageProcess]


@contextmanager
def starting(database_url: str, directory: Path) -> Iterator[StartService]:
    """Gives a function that starts services on one database, and ends them all."""
    started: list[DataStorageProcess] = []

    def start(*, wait: bool = True, **settings: Any) -> DataStorageProcess:
        service = DataStorageProcess(database_url, directory, settings)
        started.append(service)
        return service.start(wait=wait)

    try:
        yield start
    finally:
        for service in started:
            service.end()
