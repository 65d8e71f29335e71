"""The operator as a process: what it needs, what it answers, how it ends, how it is suspended.

Runs themselves are the matter of other files; here is a control plane without Tekton.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from kubernaut.local import LocalCluster
from kubernaut.local._port import free_port
from kubernaut.workflowexecution import crd
from test.datastorage_service import DataStorageProcess
from test.operator_process import ACCOUNT, OperatorProcess, StartOperator, install
from test.polling import wait_for
from test.workflow_executions import Executions, Trails, new_executions

LEASE: Final = "workflowexecution.kubernaut.ai"
CONFIG_MAP: Final = "workflowexecution-operator"
NO_DATASTORAGE: Final = "http://127.0.0.1:1"
"""Nobody listens there."""
PENDING: Final = "audit events pending; they are in the journal and will be sent at the next start"
LONG_LEASE: Final = {"lease_duration": 60, "renew_deadline": 40, "retry_period": 0.5}
"""A hand-over that does not wait for its end is told apart from one that does."""


@pytest.fixture(scope="module")
def plane() -> Iterator[LocalCluster]:
    """An API server with our kind and without Tekton's."""
    with LocalCluster(
        controller_manager=False, scheduler=False, kwok=False, crds=[crd()]
    ) as cluster:
        yield cluster


@pytest.fixture
def own() -> str:
    """The operator's namespace; with a longer name its account would be none of a certificate."""
    return f"ops-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def places(plane: LocalCluster, own: str) -> Executions:
    """Namespaces of the test's own, with the shipped rights."""
    made = new_executions(plane)
    made.execution_namespace = f"{made.namespace}-runs"
    install(plane, made.execution_namespace, own)
    return made


@pytest.fixture
def directory() -> Iterator[Path]:
    """For logs and the journal."""
    made = Path(tempfile.mkdtemp(prefix="kubernaut-test-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def start(places: Executions, own: str, directory: Path) -> Iterator[StartOperator]:
    """Starts operators that look at the test's namespace, without DataStorage if none is given."""
    started: list[OperatorProcess] = []

    def begin(
        datastorage: str = NO_DATASTORAGE,
        *,
        wait: bool = True,
        journal: Path | None = None,
        **sections: dict[str, Any],
    ) -> OperatorProcess:
        settings: dict[str, dict[str, Any]] = {
            "execution": {"namespace": places.execution_namespace},
            "controller": {"watch_namespace": places.namespace},
        }
        for name, values in sections.items():
            settings[name] = settings.get(name, {}) | values
        if journal is not None:
            settings["datastorage"] = {"journal_directory": journal}
        operator = OperatorProcess(
            places.cluster, datastorage, directory, namespace=own, settings=settings
        )
        started.append(operator)
        return operator.start(wait=wait)

    yield begin
    for operator in started:
        operator.end()


def refused(operator: OperatorProcess) -> list[str]:
    """The lines of an operator that did not start, without the log and the command's name."""
    assert operator.wait(60) == 1, operator.log()
    assert "Traceback" not in operator.log()
    lines = [line for line in operator.log().splitlines() if not line.startswith("{")]
    assert all(line.startswith("kubernaut: ") for line in lines), lines
    return [line.removeprefix("kubernaut: ") for line in lines]


def command(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "kubernaut", "operator", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ask(port: int, path: str) -> httpx2.Response:
    return httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=10)


def holder(places: Executions, own: str) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{own}/leases/{LEASE}"
    answer = places.cluster.api("GET", path)
    return str(answer.body["spec"].get("holderIdentity", "")) if answer.status == 200 else ""


def leads(operator: OperatorProcess) -> bool:
    metrics = ask(operator.metrics_port, "/metrics").text
    return f'leader_election_master_status{{name="{LEASE}"}} 1.0' in metrics


def messages(operator: OperatorProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in operator.log_lines() if line["event"] == event]


def logged(operator: OperatorProcess, event: str) -> Callable[[], list[dict[str, Any]]]:
    return lambda: messages(operator, event)


def test_it_answers_and_is_ready_without_datastorage_and_without_tekton(
    start: StartOperator, own: str
) -> None:
    operator = start()
    assert ask(operator.health_port, "/healthz").text == "ok\n"
    assert ask(operator.health_port, "/readyz").text == "ok\n"
    metrics = ask(operator.metrics_port, "/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain")
    for name in (
        'workflowexecution_reconciler_total{outcome="Failed"} 0.0',
        'workflowexecution_executions{phase="Running"} 0.0',
        'audit_healthy{service="workflowexecution"}',
        'controller_runtime_active_workers{controller="workflowexecution"}',
        "process_resident_memory_bytes",
    ):
        assert name in metrics.text
    (ready,) = wait_for(logged(operator, "ready"), 10, "the line that says it is ready")
    assert ready["engines"] == ["job"]
    assert ready["namespace"] == own
    assert ready["health"] == f"127.0.0.1:{operator.health_port}"
    tekton, datastorage = (line["warning"] for line in messages(operator, "at the start"))
    assert 'install Tekton Pipelines CRDs or use executionEngine: "job"' in tekton
    assert f"DataStorage at {NO_DATASTORAGE} does not take events now" in datastorage
    assert operator.stop() == 0
    assert messages(operator, "stopped")
    lines = operator.log_lines()
    assert len(lines) == len(operator.log().splitlines()), "every line is JSON"
    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    assert "kubernaut.kubernetes.leader" in {line.get("logger") for line in lines}


def test_one_address_serves_all_and_0_serves_nothing(start: StartOperator) -> None:
    port = free_port()
    shared = start(
        controller={"metrics_addr": f"127.0.0.1:{port}", "health_probe_addr": f"127.0.0.1:{port}"},
        wait=False,
    )
    wait_for(lambda: ask(port, "/readyz").status_code == 200, 30, "an answer")
    assert "workflowexecution_executions" in ask(port, "/metrics").text
    assert shared.stop() == 0
    silent = start(controller={"metrics_addr": "0"})
    with pytest.raises(httpx2.TransportError):
        ask(silent.metrics_port, "/metrics")
    assert ask(silent.health_port, "/metrics").status_code == 404


def test_one_of_two_leads_and_sigterm_hands_over_at_once(
    start: StartOperator, places: Executions, own: str
) -> None:
    first = start(controller=LONG_LEASE)
    wait_for(lambda: leads(first), 10, "a leader")
    second = start(controller=LONG_LEASE)
    assert ask(second.health_port, "/readyz").status_code == 200
    assert not leads(second)
    before = holder(places, own)
    began = time.monotonic()
    assert first.stop() == 0
    wait_for(lambda: leads(second), 10, "the other one leads")
    assert time.monotonic() - began < 10
    assert holder(places, own) not in ("", before)
    assert second.is_running


def test_a_lost_lease_ends_the_process(start: StartOperator, places: Executions, own: str) -> None:
    operator = start()
    wait_for(lambda: leads(operator), 10, "a leader")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{own}/leases/{LEASE}"
    places.patch(path, {"spec": {"holderIdentity": "somebody else"}})
    assert operator.wait(30) == 1
    assert len(messages(operator, "leadership lost, exiting")) == 1
    assert "Traceback" not in operator.log()


def suspend(places: Executions, own: str, word: str, reason: str) -> None:
    done = command(
        *(word, "--reason", reason, "--kubeconfig", places.cluster.kubeconfig_path),
        KUBERNAUT_OPERATOR_CONTROLLER__NAMESPACE=own,
    )
    assert done.returncode == 0, done.stderr
    assert own in done.stdout


def test_suspended_it_starts_nothing_and_the_trail_says_who_and_why(
    start: StartOperator, places: Executions, own: str, service: DataStorageProcess
) -> None:
    trails = Trails(service)
    operator = start(service.url)
    suspend(places, own, "suspend", "the database is being moved")
    (told,) = trails.wait_types(CONFIG_MAP, ["suspended"])
    assert told["event_data"]["reason"] == "the database is being moved"
    assert told["event_data"]["by"] == "kubernaut-admin"
    assert told["event_data"]["config_map"] == f"{own}/{CONFIG_MAP}"
    assert operator.metric("workflowexecution_suspended") == 1
    places.create("waiting", engine="job")
    wait_for(
        lambda: operator.metric("workflowexecution_executions", phase="Pending") == 1,
        10,
        "it is seen",
    )
    # A new process knows it from the start, and tells nothing again.
    assert operator.stop() == 0
    operator = start(service.url)
    wait_for(lambda: leads(operator), 10, "a leader")
    places.wait(
        "waiting", lambda seen: bool(seen["metadata"].get("finalizers")), 10, "it is looked at"
    )
    assert places.child(places.target("waiting"), "jobs") is None
    suspend(places, own, "resume", "it has been moved")
    places.wait_child(places.target("waiting"), "jobs")
    _, told = trails.wait_types(CONFIG_MAP, ["suspended", "resumed"])
    assert told["event_data"]["reason"] == "it has been moved"
    assert operator.metric("workflowexecution_suspended") == 0
    suspend(places, own, "suspend", "once more")
    trails.wait_types(CONFIG_MAP, ["suspended", "resumed", "suspended"])
    places.cluster.api("DELETE", f"/api/v1/namespaces/{own}/configmaps/{CONFIG_MAP}")
    told = trails.wait_types(CONFIG_MAP, ["suspended", "resumed", "suspended", "resumed"])[-1]
    assert told["event_data"]["reason"] == "the config map was deleted"


def test_a_config_map_by_hand_gets_its_time_and_each_change_is_told(
    start: StartOperator, places: Executions, own: str, service: DataStorageProcess
) -> None:
    trails = Trails(service)
    start(service.url)
    path = f"/api/v1/namespaces/{own}/configmaps"
    body = {"metadata": {"name": CONFIG_MAP}, "data": {"suspend": "yes", "reason": "by hand"}}
    assert places.cluster.api("POST", path, body).status == 201
    (told,) = trails.wait_types(CONFIG_MAP, ["suspended"])
    stored = places.cluster.api("GET", f"{path}/{CONFIG_MAP}").body["data"]
    assert told["event_data"]["since"] == stored["since"]
    # Whoever changes one word only leaves the time of the state before.
    places.patch(f"{path}/{CONFIG_MAP}", {"data": {"suspend": "false"}})
    _, told = trails.wait_types(CONFIG_MAP, ["suspended", "resumed"])
    assert told["event_data"]["since"] > stored["since"]


def test_what_is_pending_at_the_end_is_said_and_sent_at_the_next_start(
    start: StartOperator, places: Executions, own: str, directory: Path, service: DataStorageProcess
) -> None:
    operator = start()
    suspend(places, own, "suspend", "nobody hears it")
    wait_for(
        lambda: operator.metric("audit_buffer_size", service="workflowexecution") == 1,
        10,
        "an event in the journal",
    )
    assert operator.stop() == 0
    (line,) = messages(operator, PENDING)
    assert line["pending"] == 1
    assert line["journal"] == str(directory / "journal")
    start(service.url)
    (told,) = Trails(service).wait_types(CONFIG_MAP, ["suspended"])
    assert told["event_data"]["reason"] == "nobody hears it"


def test_a_second_signal_ends_it_at_once(
    start: StartOperator, places: Executions, own: str
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # Accepts, and never answers: what is pending stays so.
        operator = start(f"http://127.0.0.1:{silent.getsockname()[1]}")
        suspend(places, own, "suspend", "nobody hears it")
        wait_for(
            lambda: operator.metric("audit_buffer_size", service="workflowexecution") == 1,
            10,
            "an event in the journal",
        )
        operator.signal(signal.SIGTERM)
        wait_for(logged(operator, "stopping"), 10, "the first signal")
        began = time.monotonic()
        operator.signal(signal.SIGTERM)
        assert operator.wait(10) == 1
        assert time.monotonic() - began < 2
        assert messages(operator, "second signal, exiting at once")


def test_told_to_stop_while_it_waits_for_the_api_server(
    start: StartOperator, places: Executions, directory: Path
) -> None:
    text = places.cluster.kubeconfig_path.read_text()
    elsewhere = directory / "kubeconfig"
    elsewhere.write_text(text.replace(places.cluster.url, f"https://127.0.0.1:{free_port()}"))
    operator = start(kubernetes={"kubeconfig": elsewhere}, wait=False)
    (line,) = wait_for(logged(operator, "at the start"), 20, "the line that says what it waits for")
    assert line["warning"].startswith("waiting for the API server https://127.0.0.1:")
    unready = ask(operator.health_port, "/readyz")
    assert (unready.status_code, unready.text) == (503, "not ready: starting\n")
    assert ask(operator.health_port, "/healthz").status_code == 200
    assert operator.stop() == 0


def test_a_wrong_configuration_is_one_line_that_names_each_setting(start: StartOperator) -> None:
    operator = start(controller={"workers": 0}, logging={"colour": "blue"}, wait=False)
    (line,) = refused(operator)
    assert "controller.workers: " in line
    assert "logging.colour: " in line


def test_an_address_in_use_is_one_line(start: StartOperator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (line,) = refused(start(controller={"metrics_addr": address}, wait=False))
    assert line.startswith(f"cannot listen on {address} for metrics: ")
    assert "in use" in line


def test_an_unusable_journal_directory_is_one_line(start: StartOperator, directory: Path) -> None:
    file = directory / "file"
    file.touch()
    (line,) = refused(start(journal=file, wait=False))
    assert line.startswith(f"the journal directory {file} cannot be used (")
    assert "datastorage.journalDirectory" in line


def test_a_missing_execution_namespace_is_one_line(
    start: StartOperator, places: Executions
) -> None:
    settings: dict[str, Any] = {
        "execution": {"namespace": "nowhere"},
        "kubernetes": {"kubeconfig": places.cluster.kubeconfig_path},
    }
    (line,) = refused(start(wait=False, **settings))
    assert line.startswith("the execution namespace nowhere does not exist: kubectl create")


def test_a_missing_right_is_one_line_that_names_verb_resource_and_place(
    start: StartOperator, places: Executions, own: str
) -> None:
    runs = places.execution_namespace
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{runs}/roles"
    role = f"{path}/workflowexecution-operator-executions"
    rules = places.cluster.api("GET", role).body["rules"]
    for rule in rules:
        if rule["resources"] == ["jobs"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb not in ("patch", "delete")]
    places.patch(role, {"rules": rules})
    expected = (
        f"RBAC: system:serviceaccount:{own}:workflowexecution-operator may not patch, delete"
        f" jobs.batch in namespace {runs}: `kubernaut operator manifests` has the roles to apply"
    )

    def checked() -> bool:
        # The authorizer learns of the change by a watch, a moment later.
        return expected in check(places, own).stdout

    wait_for(checked, 30, "the right is gone")
    assert refused(start(wait=False)) == [expected]


def check(places: Executions, own: str) -> "subprocess.CompletedProcess[str]":
    kubeconfig = places.cluster.kubeconfig_for_service_account(own, ACCOUNT)
    return command(
        *("check", "--kubeconfig", kubeconfig),
        KUBERNAUT_OPERATOR_CONTROLLER__NAMESPACE=own,
        KUBERNAUT_OPERATOR_EXECUTION__NAMESPACE=places.execution_namespace,
        KUBERNAUT_OPERATOR_DATASTORAGE__URL=NO_DATASTORAGE,
        KUBERNAUT_OPERATOR_DATASTORAGE__JOURNAL_DIRECTORY=tempfile.gettempdir(),
    )


def test_check_says_that_all_is_there(places: Executions, own: str) -> None:
    done = check(places, own)
    assert done.returncode == 0, done.stdout + done.stderr
    *warnings, last = done.stdout.splitlines()
    assert last == "the operator can start"
    assert all(line.startswith("warning: ") for line in warnings)
    assert len(warnings) == 2


def test_check_names_everything_that_is_missing_where_nothing_is_installed(
    start_cluster: Callable[..., LocalCluster],
) -> None:
    cluster = start_cluster(controller_manager=False, scheduler=False, kwok=False)

    def problems(kubeconfig: Path) -> list[str]:
        done = command(
            *("check", "--kubeconfig", kubeconfig),
            KUBERNAUT_OPERATOR_DATASTORAGE__JOURNAL_DIRECTORY=tempfile.gettempdir(),
        )
        assert done.returncode == 1
        return [line for line in done.stdout.splitlines() if line.startswith("problem: ")]

    definition, namespace = problems(cluster.kubeconfig_path)
    assert definition == (
        "problem: the custom resource workflowexecutions.kubernaut.ai is not installed:"
        " kubernaut operator crd | kubectl apply -f -"
    )
    assert namespace.startswith(
        "problem: the execution namespace kubernaut-workflows does not exist: kubectl create"
    )
    also, *rights = problems(cluster.kubeconfig_for("stranger"))
    assert also == definition
    assert len(rights) > 5
    assert all(line.startswith("problem: RBAC: stranger may not ") for line in rights)


def test_credentials_that_are_not_accepted_are_one_line(
    start: StartOperator, places: Executions, directory: Path
) -> None:
    stranger = directory / "kubeconfig"
    stranger.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{places.cluster.url}", \
certificate-authority: "{places.cluster.ca_file}"}}}}]
users: [{{name: u, user: {{token: wrong}}}}]
"""
    )
    (line,) = refused(start(kubernetes={"kubeconfig": stranger}, wait=False))
    assert line.startswith(f"the API server {places.cluster.url} does not accept our credentials")
