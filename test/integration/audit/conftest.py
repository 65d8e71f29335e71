"""Stores that are closed and counted when the test is over, whatever it did with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kubernaut.audit import AuditStore, Endpoint
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import Gate, StallBefore
from test.faults.proxy import FaultProxy
from test.integration.audit.trail import (
    QUICK,
    Clock,
    OpenStore,
    assert_accounted,
    assert_sound,
)


@pytest.fixture
def moved_clock() -> Clock:
    return Clock()


@pytest.fixture
def correlation() -> str:
    """A correlation that no other test uses."""
    return f"rr-{uuid4()}"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The directory of journals of `open_store`."""
    return tmp_path / "journals"


@pytest.fixture
def open_store(spool: Path) -> Iterator[OpenStore]:
    """Opens stores: `open_store(url, mode="strict")`; they retry at once unless told not to."""
    opened: list[AuditStore] = []

    def open_one(endpoint: Endpoint | str, directory: Path = spool, **options: Any) -> AuditStore:
        store = AuditStore(endpoint, directory, **{"limits": QUICK} | options)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close(timeout=0)
        assert_accounted(store)
    if spool.exists():
        assert_sound(spool)


@pytest.fixture
def proxy(shared: DataStorageProcess) -> Iterator[FaultProxy]:
    """Between the store and the module's DataStorage."""
    with FaultProxy(shared.url) as running:
        yield running


@pytest.fixture
def gate(proxy: FaultProxy) -> Iterator[Gate]:
    """What the proxy's requests wait for."""
    gate = Gate()
    proxy.default = StallBefore(gate)
    yield gate
    gate.open()
