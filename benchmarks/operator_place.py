"""What the operator is measured in: a real control plane, DataStorage, PostgreSQL; and itself.

* The control plane is etcd, kube-apiserver and kube-controller-manager, with our kind, the kinds of
  Tekton and exactly the rights that are shipped. Tekton itself is not there.
* The operator is a process with its default settings, cooldown of five minutes included, so nothing
  is released while something is measured.
* A `Place` is namespaces of their own: an operator sees only what was made in its place.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import psutil

from benchmarks.processes import Service, services
from benchmarks.worker import ROOT, say
from kubernaut.datastorage import migrate
from kubernaut.local import LocalCluster, PostgresServer
from kubernaut.local._port import free_port
from kubernaut.local.cluster import tekton_kinds
from kubernaut.workflowexecution import crd, rbac

_PREFIX: Final = "KUBERNAUT_OPERATOR_"
_ACCOUNT: Final = "workflowexecution-operator"
_CORE: Final = "/api/v1"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_PATHS: Final = {
    "Namespace": f"{_CORE}/namespaces",
    "ServiceAccount": f"{_CORE}/namespaces/{{}}/serviceaccounts",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
    "Role": f"{_RBAC}/namespaces/{{}}/roles",
    "RoleBinding": f"{_RBAC}/namespaces/{{}}/rolebindings",
}
_READY_SECONDS: Final = 120.0
_QUIET_SECONDS: Final = 3.0
_QUIET_SHARE: Final = 0.03
"""Of a processor: what a lease and the collector of garbage may take while nothing goes on."""
_LONGEST: Final = 300.0


class Place:
    """Namespaces: of WorkflowExecutions, of what runs them, and of their operator."""

    def __init__(self, name: str) -> None:
        self.executions = name
        self.runs = f"{name}-runs"
        self.operator = f"{name}-operator"


class OperatorProcess:
    """One `kubernaut operator run`; starting it again takes the same journal and the same lease.

    Args:
        kubeconfig: of the account that is shipped.
        place: where.
        datastorage: the address of DataStorage.
        directory: for log and journal.
    """

    def __init__(self, kubeconfig: Path, place: Place, datastorage: str, directory: Path) -> None:
        self._health, self._metrics = free_port(), free_port()
        self.log = directory / f"operator-{place.executions}.log"
        sections: dict[str, dict[str, Any]] = {
            "kubernetes": {"kubeconfig": kubeconfig},
            "datastorage": {
                "url": datastorage,
                "journal_directory": directory / f"journal-{place.executions}",
            },
            "execution": {"namespace": place.runs},
            "controller": {
                "namespace": place.operator,
                "watch_namespace": place.executions,
                "health_probe_addr": f"127.0.0.1:{self._health}",
                "metrics_addr": f"127.0.0.1:{self._metrics}",
            },
        }
        self._environment = _environment() | {
            f"{_PREFIX}{section}__{name}".upper(): str(value)
            for section, values in sections.items()
            for name, value in values.items()
        }
        self._process: psutil.Popen | None = None

    def start(self) -> Self:
        """Start it, and return at once."""
        with self.log.open("ab") as log:
            self._process = psutil.Popen(
                [sys.executable, "-m", "kubernaut", "operator", "run"],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the main process, which then stops it.
            )
        return self

    def wait_until_ready(self) -> Self:
        """Wait until it is ready and leads.

        Raises:
            RuntimeError: it is not, in time.
        """
        self._wait(lambda: self._is_ready() and self._leads(), _READY_SECONDS, "ready")
        return self

    def wait_until_quiet(self) -> float:
        """Wait until it has nothing to do; the seconds of CPU that it had used by then.

        Raises:
            RuntimeError: it goes on and on.
        """
        looks = [(time.monotonic(), self.cpu())]

        def is_quiet() -> bool:
            looks.append((time.monotonic(), self.cpu()))
            while looks[1][0] <= looks[-1][0] - _QUIET_SECONDS:
                looks.pop(0)
            (since, before), (now, used) = looks[0], looks[-1]
            return now - since >= _QUIET_SECONDS and used - before < _QUIET_SHARE * (now - since)

        self._wait(is_quiet, _LONGEST, "quiet")
        return looks[0][1]

    def cpu(self) -> float:
        """Seconds of CPU since its start."""
        times = self._running.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> float:
        """Resident memory in MiB."""
        return float(self._running.memory_info().rss) / 2**20

    def stop(self) -> None:
        """End it as a cluster does: the lease is handed over."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except psutil.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None

    @property
    def _running(self) -> psutil.Popen:
        if self._process is None:
            raise RuntimeError("the operator was not started")
        return self._process

    def _is_ready(self) -> bool:
        answer = _answer(f"http://127.0.0.1:{self._health}/readyz")
        return answer is not None and answer.status_code == HTTPStatus.OK

    def _leads(self) -> bool:
        answer = _answer(f"http://127.0.0.1:{self._metrics}/metrics")
        lines = answer.text.splitlines() if answer is not None else ()
        return any(
            line.startswith("leader_election_master_status{") and float(line.split()[-1]) == 1
            for line in lines
        )

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self._running.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the operator did not get {what}: {said}")
            time.sleep(0.1)


class Stage:
    """Everything but the operator.

    Args:
        cluster: the control plane.
        datastorage: the service.
        database: its address, of the superuser.
        directory: for logs and journals.
    """

    def __init__(
        self, cluster: LocalCluster, datastorage: Service, database: str, directory: Path
    ) -> None:
        self.cluster = cluster
        self.datastorage = datastorage
        self.database = database
        self._directory = directory
        self._numbers = count(1)

    def place(self) -> Place:
        """New namespaces, with the rights that are shipped.

        Raises:
            RuntimeError: the API server refuses something of it.
        """
        place = Place(f"bench-{next(self._numbers)}")
        self._create("Namespace", "", {"metadata": {"name": place.executions}})
        for one in rbac(place.operator, place.runs):
            self._create(one["kind"], one["metadata"].get("namespace", ""), one)
        return place

    @contextmanager
    def operator(self, place: Place, *, start: bool = True) -> Iterator[OperatorProcess]:
        """An operator of a place, stopped afterwards."""
        kubeconfig = self.cluster.kubeconfig_for_service_account(place.operator, _ACCOUNT)
        address = f"http://127.0.0.1:{self.datastorage.port}"
        process = OperatorProcess(kubeconfig, place, address, self._directory)
        try:
            if start:
                process.start().wait_until_ready()
            yield process
        finally:
            process.stop()

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that the API server, etcd and DataStorage have used."""
        pids = {"kube-apiserver": self.cluster.apiserver.pid, "etcd": self.cluster.etcd.pid}
        found = {}
        for name, pid in pids.items():
            times = psutil.Process(pid).cpu_times()
            found[name] = float(times.user + times.system)
        return found | {"datastorage": self.datastorage.cpu()}

    def _create(self, kind: str, namespace: str, obj: dict[str, Any]) -> None:
        answer = self.cluster.api("POST", _PATHS[kind].format(namespace), obj)
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.CONFLICT):
            raise RuntimeError(f"{kind} {json.dumps(obj)[:200]}: {answer.body}")


@contextmanager
def stage() -> Iterator[Stage]:
    """A fresh one, with nothing in it; all of it is removed afterwards."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="kubernaut-bench-"))
        directory = Path(scratch)
        directory.chmod(0o755)  # As root, PostgreSQL runs as another user, which has to reach it.
        # When an event was stored is read from the commit of its row.
        settings = {"track_commit_timestamp": "on"}
        server = stack.enter_context(PostgresServer(directory / "postgres", settings=settings))
        url = server.url("kubernaut_datastorage")
        migrate(url)
        (service,) = stack.enter_context(services(url, directory))
        cluster = stack.enter_context(
            LocalCluster(scheduler=False, kwok=False, crds=[crd(), *tekton_kinds()], report=say)
        )
        yield Stage(cluster, service, url, directory)


def _environment() -> dict[str, str]:
    """Ours without settings of the operator, and with its modules compiled once, not each time."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PREFIX) and name != "PYTHONDONTWRITEBYTECODE"
    }


def _answer(url: str) -> httpx2.Response | None:
    try:
        return httpx2.get(url, trust_env=False, timeout=10)
    except httpx2.TransportError:
        return None
