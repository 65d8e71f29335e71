"""What stands around the operator fails, or another operator is there: every run ends as it should.

Always: one child is ever created, the phase is right, and the trail is whole, in order, valid and
without anything twice. The API server that is killed here is no other file's, and that is done
last: one that was started again knows no history for a while.

Cases of the issue (section 4, faults): API server restarted, DataStorage killed and back,
PostgreSQL restarted, two operators, watch cut, etcd compacted. Of section 3.4 of the catalogue:
DataStorage down during execution.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from kubernaut.local import LocalCluster, PostgresServer
from kubernaut.local.cluster import tekton_kinds
from kubernaut.workflowexecution import crd
from test.datastorage_service import DataStorageProcess
from test.faults.tcp_proxy import TcpProxy
from test.integration.workflowexecution.conftest import operators_of, own_namespaces
from test.integration.workflowexecution.many_executions import Chains, ManyExecutions
from test.kubernetes_cluster import say
from test.operator_process import ACCOUNT, OperatorProcess, StartOperator
from test.polling import wait_for
from test.workflow_executions import Executions

LEASE: Final = "workflowexecution.kubernaut.ai"
ALONE: Final = {"leader_election": False}
LONG_LEASE: Final = {"lease_duration": 60, "renew_deadline": 40, "retry_period": 0.5}
"""An API server is back before the leader has to give up."""
KEPT: Final = {"cooldown_period": 600}
"""No child is deleted, so that none can have been there unseen."""
COUNT: Final = 20


@pytest.fixture(scope="module")
def broken_cluster() -> Iterator[LocalCluster]:
    """A control plane whose API server may be killed, and is left running."""
    # Without the garbage collector of the controller manager no child's deletion would end.
    with LocalCluster(
        scheduler=False, kwok=False, crds=[crd(), *tekton_kinds()], report=say
    ) as cluster:
        yield cluster


@pytest.fixture
def chains(service: DataStorageProcess, migrated_url: str) -> Chains:
    """DataStorage of the test's own."""
    return Chains(service, migrated_url)


@pytest.fixture
def places(broken_cluster: LocalCluster) -> Executions:
    """Namespaces of the test's own in it."""
    return own_namespaces(broken_cluster)


@pytest.fixture
def start(places: Executions, chains: Chains) -> Iterator[StartOperator]:
    """Starts operators for `places`, with the test's own DataStorage and one journal."""
    directory = Path(tempfile.mkdtemp(prefix="kubernaut-test-"))
    try:
        with operators_of(places, chains.service.url, directory) as begin:
            yield begin
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def proxy(broken_cluster: LocalCluster) -> Iterator[TcpProxy]:
    """On the way to the API server."""
    address = urlsplit(broken_cluster.url)
    assert address.hostname is not None
    assert address.port is not None
    with TcpProxy(address.hostname, address.port) as running:
        yield running


@pytest.fixture
def detour(proxy: TcpProxy, places: Executions, tmp_path: Path) -> dict[str, Any]:
    """The settings of an operator that reaches the API server over a proxy."""
    own = f"{places.namespace}-operator"
    text = places.cluster.kubeconfig_for_service_account(own, ACCOUNT).read_text()
    kubeconfig = tmp_path / "kubeconfig"
    changed = text.replace(places.cluster.url, f"https://127.0.0.1:{proxy.port}")
    assert changed != text
    kubeconfig.write_text(changed)
    return {"kubernetes": {"kubeconfig": kubeconfig}}


def leads(operator: OperatorProcess) -> bool:
    return operator.metric("leader_election_master_status", name=LEASE) == 1


def created_by(operator: OperatorProcess) -> float:
    """How many children it created."""
    return operator.metric(
        "workflowexecution_reconciler_execution_creations_total", engine="tekton"
    )


def events_of_each(executions: Executions, names: list[str]) -> dict[str, Counter[str]]:
    """How often each reason was told of each."""
    path = f"/apis/events.k8s.io/v1/namespaces/{executions.namespace}/events"
    answer = executions.cluster.api("GET", path)
    assert answer.status == 200, answer
    told: dict[str, Counter[str]] = {name: Counter() for name in names}
    for event in answer.body["items"]:
        times = event.get("series", {}).get("count", 1)
        told[event["regarding"]["name"]][f"{event['action']} {event['reason']}"] += times
    return told


def test_datastorage_is_killed_and_back_during_runs(
    places: Executions,
    start: StartOperator,
    chains: Chains,
) -> None:
    settings = {"cooldown_period": 2}
    start(execution=settings, controller=ALONE)
    many = ManyExecutions(places, 3 * COUNT)
    with many.creating(), many.finishing():
        for part in (0.15, 0.55):
            many.wait_progress(part)
            chains.service.kill()
            many.wait_progress(part + 0.1)  # Nothing waits for it.
            chains.service.start()
        many.wait_recorded()
    many.assert_right(chains)


def test_postgresql_is_killed_and_restarted_during_runs(
    places: Executions,
    start: StartOperator,
    chains: Chains,
    postgres_server: PostgresServer,
) -> None:
    settings = {"cooldown_period": 2}
    start(execution=settings, controller=ALONE)
    many = ManyExecutions(places, 2 * COUNT)
    with many.creating(), many.finishing():
        many.wait_progress(0.2)
        postgres_server.kill()
        many.wait_progress(0.5)
        postgres_server.start()
        many.wait_progress(0.7)
        postgres_server.restart()
        many.wait_recorded()
    many.assert_right(chains)


def journal(directory: Path, name: str) -> dict[str, Any]:
    """A journal of an operator's own, as on a node of its own."""
    return {"datastorage": {"journal_directory": directory / name}}


def test_the_leader_is_killed_and_the_other_takes_over(
    places: Executions,
    start: StartOperator,
    chains: Chains,
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {"execution": {"cooldown_period": 2}}
    first = start(sections=journal(tmp_path, "first"), **settings)
    wait_for(lambda: leads(first), 20, "a leader")
    second = start(sections=journal(tmp_path, "second"), **settings)
    many = ManyExecutions(places, COUNT)
    more = ManyExecutions(places, COUNT, first=COUNT)
    with many.creating(), many.finishing(), more.finishing():
        many.wait_progress(0.4)
        assert not leads(second)
        assert created_by(second) == 0
        first.kill()
        killed = time.monotonic()
        more.create()
        wait_for(lambda: leads(second), 20, "the other one leads")
        assert time.monotonic() - killed < 15, "the lease is 8 seconds"
        many.wait_recorded()
        more.wait_recorded()
    assert created_by(second) >= COUNT
    many.assert_right(chains)
    more.assert_right(chains)


def test_two_operators_without_a_lease_race_on_the_same_runs(
    places: Executions,
    start: StartOperator,
    chains: Chains,
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "execution": {"cooldown_period": 1},
        "controller": ALONE,
    }
    both = [start(sections=journal(tmp_path, name), **settings) for name in "ab"]
    many = ManyExecutions(places, COUNT)
    with many.creating(), many.finishing():
        many.wait_recorded()
    for name in many.names:
        places.wait_condition(name, "LockReleased")
    assert sum(map(created_by, both)) == COUNT
    for outcome, number in (("Completed", COUNT * 4 // 5), ("Failed", COUNT // 5)):
        ended = [
            each.metric("workflowexecution_reconciler_total", outcome=outcome) for each in both
        ]
        assert sum(ended) == number
    many.assert_right(chains)

    def released() -> int:
        told = events_of_each(places, many.names)
        return sum(key.endswith(" LockReleased") for each in told.values() for key in each)

    wait_for(lambda: released() == COUNT, 20, "all Events are written")
    for name, told in events_of_each(places, many.names).items():
        assert set(told.values()) == {1}, (name, told)


def test_the_watch_is_cut_again_and_again(
    places: Executions,
    start: StartOperator,
    proxy: TcpProxy,
    chains: Chains,
    detour: dict[str, Any],
) -> None:
    """By a reset, by a while without connections, and by one in which nothing comes through."""
    operator = start(execution={"cooldown_period": 2}, controller=ALONE, sections=detour)
    many = ManyExecutions(places, 3 * COUNT)
    parts = [many.names[:COUNT], many.names[COUNT : 2 * COUNT], many.names[2 * COUNT :]]
    before = proxy.connections
    with many.creating():
        for _ in range(5):
            many.wait_progress(0.05)
            proxy.reset()
    many.wait_running()
    assert proxy.connections > before

    many.finish(parts[0])
    proxy.reset()
    many.wait_progress(0.66)

    proxy.refuse()
    many.finish(parts[1])
    assert many.progress() < 0.7
    proxy.listen()
    many.wait_progress(0.83)

    proxy.stall()
    many.finish(parts[2])
    assert many.progress() < 0.84
    proxy.resume()
    many.wait_recorded()
    assert operator.is_running
    many.assert_right(chains)


def test_the_api_server_is_restarted_and_the_leader_goes_on(
    places: Executions, start: StartOperator, chains: Chains
) -> None:
    operator = start(execution=KEPT, controller=LONG_LEASE)
    many = ManyExecutions(places, COUNT)
    with many.finishing():
        many.create()
        many.wait_progress(0.3)
        many.without_history()
        places.cluster.apiserver.restart()
        many.wait_recorded()
    assert operator.is_running
    many.assert_right(chains)


def test_an_outage_longer_than_the_lease_ends_the_operator_and_the_next_one_finishes(
    places: Executions, start: StartOperator, chains: Chains
) -> None:
    """It is started again at once, as kubelet does, and waits for the API server."""
    operator = start(execution=KEPT)
    many = ManyExecutions(places, COUNT)
    many.create()
    many.wait_running()
    many.finish(many.names[: COUNT // 2])
    many.without_history()
    places.cluster.apiserver.kill()
    assert operator.wait(30) == 1
    lost = [line for line in operator.log_lines() if line["event"] == "leadership lost, exiting"]
    assert len(lost) == 1
    assert "Traceback" not in operator.log()
    operator.start(wait=False)

    def is_waiting() -> bool:
        warnings = [line.get("warning", "") for line in operator.log_lines()]
        return any(text.startswith("waiting for the API server") for text in warnings)

    wait_for(is_waiting, 20, "the new one waits for the API server")
    places.cluster.apiserver.start()
    many.finish(many.names[COUNT // 2 :])
    many.wait_recorded()
    assert operator.is_running
    many.assert_right(chains)


def test_history_is_compacted_while_the_operator_is_cut_off(
    places: Executions,
    start: StartOperator,
    proxy: TcpProxy,
    chains: Chains,
    detour: dict[str, Any],
) -> None:
    """What it would go on from is gone: it has to list everything again."""
    operator = start(execution=KEPT, controller=ALONE, sections=detour)
    many = ManyExecutions(places, COUNT)
    many.create()
    many.wait_running()
    many.without_history()
    proxy.refuse()
    more = ManyExecutions(places, COUNT, first=COUNT)
    more.create()  # Never seen by a watch.
    many.finish(many.names)
    places.cluster.compact_etcd()
    places.cluster.apiserver.restart()  # Its own memory of the history is gone too.
    more.without_history()
    proxy.listen()
    with more.finishing():
        many.wait_recorded()
        more.wait_recorded()
    assert "410 Expired" in operator.log()
    assert operator.is_running
    many.assert_right(chains)
    more.assert_right(chains)
