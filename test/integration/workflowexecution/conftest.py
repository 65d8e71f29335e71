"""One control plane, one DataStorage and one operator for the plain cases; the rest on demand.

The control plane has the kinds of Tekton and not Tekton itself: the tests write the statuses of
PipelineRuns. Jobs and their pods are run by the real Job controller and by kwok.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kubernaut.datastorage import migrate
from kubernaut.local import LocalCluster, PostgresServer
from kubernaut.local.cluster import tekton_kinds
from kubernaut.workflowexecution import crd
from test.compose_stack import running_stack
from test.conftest import new_database
from test.datastorage_service import DataStorageProcess, starting
from test.integration.workflowexecution.real_tekton import (
    operated_tekton,
    tekton_executions,
    tekton_operator,
)
from test.kubernetes_cluster import say
from test.operator_process import (
    OperatorProcess,
    StartOperator,
    install,
    starting_operators,
)
from test.workflow_executions import Executions, Trails, new_executions

__all__ = ["operated_tekton", "tekton_executions", "tekton_operator"]  # Fixtures, found by name.

COOLDOWN = 10
SETTINGS: dict[str, dict[str, Any]] = {
    "execution": {
        "cooldown_period": COOLDOWN,
        "propagated_annotations": ["simulation.kubernaut.ai/"],
        "audit_settle": 1,
    }
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plain",
        action="store_true",
        help="only the cases that share an operator and its DataStorage",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--plain`: leave out what starts operators of its own, and what asks no DataStorage."""
    if config.getoption("--plain"):
        config.hook.pytest_deselected(items=[item for item in items if not _is_plain(item)])
        items[:] = [item for item in items if _is_plain(item)]


def _is_plain(item: pytest.Item) -> bool:
    used = set(getattr(item, "fixturenames", ()))
    return "trail_service" in used and not used & {"start_operator", "tekton_operator"}


def pytest_report_header() -> str:
    """Says which DataStorage the plain cases use."""
    if stack := running_stack():
        stack.end()
        return f"DataStorage: the running stack, {stack.container} at {stack.url}"
    return "DataStorage: a process of these tests' own"


@pytest.fixture(scope="session")
def kinds_cluster() -> Iterator[LocalCluster]:
    """A control plane with our kind and those of Tekton; nothing runs PipelineRuns."""
    with LocalCluster(crds=[crd(), *tekton_kinds()], report=say) as cluster:
        install(cluster)
        yield cluster


@pytest.fixture(scope="session")
def trail_service(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DataStorageProcess]:
    """DataStorage for the session: that of podman-compose.test.yml if it runs, else our own."""
    if stack := running_stack():
        yield stack
        stack.end()
        return
    with new_database(postgres_server) as url:
        migrate(url)
        with starting(url, tmp_path_factory.mktemp("datastorage")) as start:
            yield start()


@pytest.fixture(scope="session")
def operator(
    kinds_cluster: LocalCluster, trail_service: DataStorageProcess
) -> Iterator[OperatorProcess]:
    """The operator of the plain cases: cooldown 10 seconds, shipped rights, its own lease."""
    directory = Path(tempfile.mkdtemp(prefix="kubernaut-test-"))
    try:
        with starting_operators(kinds_cluster, trail_service.url, directory) as start:
            yield start(settings=SETTINGS)
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def executions(kinds_cluster: LocalCluster, operator: OperatorProcess) -> Executions:
    """The test's own namespace, watched by the operator of the session."""
    assert operator.is_running, operator.log()[-4000:]
    return new_executions(kinds_cluster)


@pytest.fixture
def trails(trail_service: DataStorageProcess) -> Trails:
    """What the session's DataStorage has."""
    return Trails(trail_service)


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[LocalCluster]:
    """As `kinds_cluster`, without an operator: for tests that start their own."""
    with LocalCluster(crds=[crd(), *tekton_kinds()], report=say) as cluster:
        yield cluster


@pytest.fixture
def own_executions(bare_cluster: LocalCluster) -> Executions:
    """A namespace, an execution namespace and an operator's namespace of the test's own."""
    return own_namespaces(bare_cluster)


@pytest.fixture
def start_operator(
    own_executions: Executions, trail_service: DataStorageProcess
) -> Iterator[StartOperator]:
    """Starts operators for `own_executions`, all with one journal directory.

    `start_operator(execution={"cooldown_period": 3}, wait=False, datastorage=url)`.
    """
    directory = Path(tempfile.mkdtemp(prefix="kubernaut-test-"))
    try:
        with operators_of(own_executions, trail_service.url, directory) as start:
            yield start
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def quick(own_executions: Executions, start_operator: StartOperator) -> Executions:
    """`own_executions` with an operator that releases a lock after a second."""
    start_operator(execution={"cooldown_period": 1})
    return own_executions


def own_namespaces(cluster: LocalCluster) -> Executions:
    """New namespaces with the shipped rights."""
    found = new_executions(cluster)
    found.execution_namespace = f"{found.namespace}-runs"
    install(cluster, found.execution_namespace, f"{found.namespace}-operator")
    return found


@contextmanager
def operators_of(
    executions: Executions, datastorage: str, directory: Path
) -> Iterator[StartOperator]:
    """Gives a function that starts operators which look at nothing but `executions`."""
    with starting_operators(executions.cluster, datastorage, directory) as begin:

        def start(
            execution: dict[str, Any] | None = None,
            controller: dict[str, Any] | None = None,
            sections: dict[str, dict[str, Any]] | None = None,
            **given: Any,
        ) -> OperatorProcess:
            settings = {
                "execution": SETTINGS["execution"]
                | {"namespace": executions.execution_namespace}
                | (execution or {}),
                "controller": {"watch_namespace": executions.namespace} | (controller or {}),
            } | (sections or {})
            namespace = f"{executions.namespace}-operator"
            return begin(settings=settings, namespace=namespace, **given)

        yield start
