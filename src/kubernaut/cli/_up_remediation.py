"""The part of `kubernaut up` that runs workflows: a cluster, the operator, the samples."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from kubernaut.audit import ServerProblemError, TransportError
from kubernaut.cli._audit_server import DEFAULT_SERVER, described
from kubernaut.cli._failure import fail
from kubernaut.cli._steps import Steps
from kubernaut.cli._stop import stopping
from kubernaut.cli._up_clusters import Cluster, NamedCluster, OwnCluster
from kubernaut.cli._up_processes import OperatorProcess, datastorage_process
from kubernaut.cli._up_samples import run_samples, tell_trails
from kubernaut.cli._wfe_cluster import described as described_by_cluster
from kubernaut.kubernetes import ClientConfig, KubernetesError
from kubernaut.local.cluster import Component

_LOOK_SECONDS: Final = 0.5
_AT_HOME: Final = (DEFAULT_SERVER, DEFAULT_SERVER.replace("localhost", "127.0.0.1"))

Ready = Callable[[Sequence[str], Sequence[str]], None]
"""Told facts and commands, line by line, once everything is there."""


class Remediation:
    """One run of it.

    Args:
        steps: told what is done.
        home: the home directory.
        samples: whether to run the samples.
        use_kubeconfig: use the cluster of KUBECONFIG, and not one of our own.
        yes: do so without asking.
    """

    def __init__(
        self,
        steps: Steps,
        home: Path,
        *,
        samples: bool,
        use_kubeconfig: bool,
        yes: bool,
    ) -> None:
        self._steps = steps
        self._home = home
        self._samples = samples
        self._use_kubeconfig = use_kubeconfig
        self._yes = yes
        self._running: list[Component] = []

    def prepare(self) -> None:
        """Ask what has to be asked before anything starts."""
        self._cluster = self._chosen()

    def _chosen(self) -> Cluster:
        if not self._use_kubeconfig:
            return OwnCluster(self._home, self._steps)
        try:
            return NamedCluster(self._steps, yes=self._yes)
        except KubernetesError as error:
            fail(str(error))

    def run(self, database_url: str, address: str, port: int | None, ready: Ready) -> None:
        """Start everything, run the samples, and stay until a signal.

        Args:
            database_url: of DataStorage's database.
            address: where DataStorage will answer.
            port: of DataStorage, where it is not the one of the environment.
            ready: called once everything is there.

        Raises:
            LocalServerError: a part does not start.
        """
        try:
            self._run(database_url, address, port, ready)
        except KubernetesError as error:
            fail(described_by_cluster(error, "the cluster"))
        except TransportError as error:
            fail(f"no answer from {address}: {error}")
        except ServerProblemError as error:
            fail(described(error, address))

    def _run(self, database_url: str, address: str, port: int | None, ready: Ready) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            service = datastorage_process(self._home, address, database_url, port)
            self._start(stack, service, f"DataStorage at {address}")
            stack.enter_context(self._cluster.running())
            operator = OperatorProcess(self._home, address, self._cluster.operator_environment)
            self._start(stack, operator.component, "the operator runs")
            if self._samples:
                self._show_samples(address)
            ready(self._facts(operator), self._commands(address))
            while True:
                time.sleep(_LOOK_SECONDS)
                self._check()

    def _start(self, stack: ExitStack, component: Component, started: str) -> None:
        """Start a process that is stopped when the stack ends."""
        with self._steps.step(f"starting {component.name}") as done:
            component.launch()
            stack.enter_context(stopping(self._steps, component.name, component.terminate))
            component.wait()
            done(started)
        self._running.append(component)

    def _show_samples(self, address: str) -> None:
        config = ClientConfig.load(self._cluster.kubeconfig)
        self._steps.say()
        self._steps.say("Running the samples:")
        found = run_samples(config, self._cluster.samples(), self._steps, self._check)
        self._steps.say()
        self._steps.say("Their audit trails, from DataStorage:")
        tell_trails(address, found, self._steps)

    def _check(self) -> None:
        """End the command if something has ended by itself."""
        self._cluster.check()
        for component in self._running:
            if not component.running:
                tail = component.log_tail(1)
                fail(f"{component.name} has ended; its log {component.log_file} ends with: {tail}")

    def _facts(self, operator: OperatorProcess) -> Sequence[str]:
        logs = [
            f"logs        {component.log_file} ({component.name})" for component in self._running
        ]
        served = [
            f"{name:12}http://{operator.addresses[kind]}{path} (the operator)"
            for name, kind, path in (
                ("ready", "health", "/readyz"),
                ("metrics", "metrics", "/metrics"),
            )
            if kind in operator.addresses
        ]
        return [
            *logs,
            *self._cluster.facts(),
            f"kubeconfig  {self._cluster.kubeconfig}",
            *served,
        ]

    def _commands(self, address: str) -> Sequence[str]:
        ours = _program()
        commands = [f"export KUBECONFIG={self._cluster.kubeconfig}"]
        if address not in _AT_HOME:
            commands.append(f"export KUBERNAUT_AUDIT_SERVER={address}")
        commands += [f"{ours} wfe list", f"{ours} wfe watch -A"]
        if self._samples:
            commands += [
                f"{ours} wfe describe drain-worker-7",
                f"{ours} wfe trail restart-checkout",
            ]
        return commands


def _program() -> str:
    """This command as it was called, where that can be called again."""
    called = Path(sys.argv[0])
    return sys.argv[0] if called.name == "kubernaut" and called.is_file() else "kubernaut"
