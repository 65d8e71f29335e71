"""The operator as a process of its own, for tests: started, asked, killed."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families

from kubernaut.local import LocalCluster
from kubernaut.local._port import free_port
from kubernaut.workflowexecution import rbac
from test.program import Program

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


class OperatorProcess(Program):
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
        variables = {
            name: value
            for name, value in os.environ.items()
            # Compiling all modules at each start would take longer than the start.
            if not name.startswith(PREFIX) and name != "PYTHONDONTWRITEBYTECODE"
        } | (environment or {})
        for section, values in sections.items():
            for name, value in values.items():
                text = value if isinstance(value, str | Path) else json.dumps(value)
                variables[f"{PREFIX}{section}__{name}".upper()] = str(text)
        super().__init__(
            program or [sys.executable, "-m", "kubernaut", "operator", "run"],
            variables,
            directory / f"operator-{self.health_port}.log",
            f"http://127.0.0.1:{self.health_port}/readyz",
        )

    def metric(self, name: str, /, **labels: str) -> float:
        """The value of one sample; 0 where there is none."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        text = httpx2.get(url, trust_env=False, timeout=10).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return 0.0

    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


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
