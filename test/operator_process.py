"""The operator as a process of its own, for tests: started, asked, killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import rbac
from test.datastorage_service import free_port
from test.polling import wait_for

NAMESPACE = "kubernaut-system"
ACCOUNT = "workflowexecution-operator"
PREFIX = "KUBERNAUT_OPERATOR_"
_PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


def install(
    cluster: LocalCluster,
    execution_namespace: str = "kubernaut-workflows",
    namespace: str = NAMESPACE,
) -> None:
    """Namespaces and exactly the rights that are shipped; what is there already stays."""
    for one in rbac(namespace, execution_namespace):
        path = _PATHS[one["kind"]].format(one["metadata"].get("namespace", ""))
        answer = cluster.api("POST", path, one)
        assert answer.status in (201, 409), answer


class OperatorProcess:
    """One `kubernaut operator run`, with the rights that are shipped.

    Args:
        cluster: where; `install` has been called.
        datastorage: the address of DataStorage.
        directory: for the log and the journal.
        namespace: the operator's own.
        program: what to run instead of the command, with the same environment.
        settings: sections, for example `{"execution": {"cooldown_period": 10}}`.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        datastorage: str,
        directory: Path,
        *,
        namespace: str = NAMESPACE,
        settings: dict[str, dict[str, Any]] | None = None,
        program: list[str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.health_port, self.metrics_port = free_port(), free_port()
        self.log_path = directory / f"operator-{self.health_port}.log"
        sections: dict[str, dict[str, Any]] = {
            "datastorage": {"url": datastorage, "journal_directory": directory / "journal"},
            "controller": {
                "namespace": namespace,
                "health_probe_addr": f"127.0.0.1:{self.health_port}",
                "metrics_addr": f"127.0.0.1:{self.metrics_port}",
                "lease_duration": 8,  # A busy machine must not make a leader lose it.
                "renew_deadline": 6,
                "retry_period": 0.5,
            },
            "kubernetes": {
                "kubeconfig": cluster.kubeconfig_for_service_account(namespace, ACCOUNT)
            },
        }
        for section, values in (settings or {}).items():
            sections.setdefault(section, {}).update(values)
        self._environment = {
            name: value
            for name, value in os.environ.items()
            # Compiling all modules at each start would take longer than the start.
            if not name.startswith(PREFIX) and name != "PYTHONDONTWRITEBYTECODE"
        } | (environment or {})
        for section, values in sections.items():
            for name, value in values.items():
                text = value if isinstance(value, str | Path) else json.dumps(value)
                self._environment[f"{PREFIX}{section}__{name}".upper()] = str(text)
        self._program = program or [sys.executable, "-m", "kubernaut", "operator", "run"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> Self:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._program,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            wait_for(self.is_ready, timeout=60, what="a ready operator")
        return self

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the operator ended: {self.log()[-4000:]}")
        try:
            url = f"http://127.0.0.1:{self.health_port}/readyz"
            return httpx2.get(url, trust_env=False, timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def metric(self, name: str, /, **labels: str) -> float:
        """The value of one sample; 0 where there is none."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        text = httpx2.get(url, trust_env=False, timeout=10).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return 0.0

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

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def memory(self) -> int:
        """Resident bytes of the process."""
        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def end(self) -> None:
        """Whatever it does, it is gone after this."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


StartOperator = Callable[..., OperatorProcess]


@contextmanager
def starting_operators(
    cluster: LocalCluster, datastorage: str, directory: Path
) -> Iterator[StartOperator]:
    """Gives a function that starts operators on one journal directory, and ends them all.

    `start(settings={...}, datastorage=url, wait=False)`.
    """
    started: list[OperatorProcess] = []

    def start(
        *, wait: bool = True, datastorage: str = datastorage, **given: Any
    ) -> OperatorProcess:
        operator = OperatorProcess(cluster, datastorage, directory, **given)
        started.append(operator)
        return operator.start(wait=wait)

    try:
        yield start
    finally:
        for operator in started:
            operator.end()
