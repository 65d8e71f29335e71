"""A migrated database of its own for each test, and the service on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernaut.datastorage import migrate
from test.datastorage_service import DataStorageProcess

StartService = Callable[..., DataStorageProcess]


@pytest.fixture
def migrated_url(database_url: str) -> str:
    migrate(database_url)
    return database_url


@pytest.fixture
def start_service(migrated_url: str, tmp_path: Path) -> Iterator[StartService]:
    """Starts services on one database: `start_service(limits={"max_batch_events": 5})`."""
    started: list[DataStorageProcess] = []

    def start(*, wait: bool = True, **settings: Any) -> DataStorageProcess:
        service = DataStorageProcess(migrated_url, tmp_path, settings)
        started.append(service)
        return service.start(wait=wait)

    yield start
    for service in started:
        service.__exit__(None, None, None)


@pytest.fixture
def service(start_service: StartService) -> DataStorageProcess:
    return start_service()
