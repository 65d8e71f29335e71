"""DataStorage as a process of its own, for tests: started, asked, killed."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from kubernaut.local._port import free_port
from test.program import Program

EVENTS = "/api/v1/audit/events"
BATCH = f"{EVENTS}/batch"
VERIFY = "/api/v1/audit/verify-chain"


class DataStorageProcess(Program):
    """One `kubernaut datastorage serve` on a free port.

    `settings` are configuration sections, for example `{"limits": {"max_batch_events": 5}}`.
    """

    start_seconds = 30.0

    def __init__(
        self, database_url: str, directory: Path, settings: dict[str, Any] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        variables = {
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
                variables[f"KUBERNAUT_DATASTORAGE_{name}".upper()] = json.dumps(value)
        for section, values in sections.items():
            for name, value in values.items():
                key = f"KUBERNAUT_DATASTORAGE_{section}__{name}".upper()
                variables[key] = str(value)
        super().__init__(
            [sys.executable, "-m", "kubernaut", "datastorage", "serve"],
            variables,
            directory / f"datastorage-{self.port}.log",
            f"{self.url}/health/live",
        )
        self.client = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)

    def end(self) -> None:
        """Whatever it does, it is gone after this."""
        self.client.close()
        super().end()

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
