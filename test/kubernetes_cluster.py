"""Real control planes for tests: one for the session, and others of a test's own.

Programs that are in no cache are built first, which takes 20 minutes and says so on the terminal.
"""

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernaut.local import LocalCluster

StartCluster = Callable[..., LocalCluster]


def say(line: str) -> None:
    """Show progress although pytest keeps what tests say: a build that is silent looks hung."""
    print(line, file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[LocalCluster]:
    """A cluster for the whole session, without Tekton. Tests use namespaces of their own."""
    with LocalCluster(nodes=2, report=say) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def tekton_cluster() -> Iterator[LocalCluster]:
    """A cluster with Tekton for the whole session."""
    with LocalCluster(tekton=True, report=say) as cluster:
        yield cluster


@pytest.fixture
def start_cluster() -> Iterator[StartCluster]:
    """Starts clusters of the test's own, which it may break: `start_cluster(kwok=False)`."""
    started: list[LocalCluster] = []

    def start(home: Path | None = None, **options: Any) -> LocalCluster:
        cluster = LocalCluster(home, report=say, **options)
        started.append(cluster)
        cluster.start()
        return cluster

    try:
        yield start
    finally:
        for cluster in started:
            cluster.stop()


def new_namespace(cluster: LocalCluster) -> str:
    """The name of a new, empty namespace."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    answer = cluster.api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert answer.status == 201, answer
    return name
