"""The cluster of `kubernaut up`: one of its own on this machine, or the one of KUBECONFIG."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import typer

from kubernaut.cli._failure import fail
from kubernaut.cli._steps import Steps
from kubernaut.cli._stop import stopping
from kubernaut.cli._up_install import client_of, install
from kubernaut.kubernetes import ClientConfig, ConfigError
from kubernaut.local.cluster import LocalCluster, Programs
from kubernaut.workflowexecution import rbac, sample_workflows, samples

_NAMESPACE: Final = "kubernaut-system"
_OPERATOR: Final = "workflowexecution-operator"
_TRY_OUT: Final = {
    # Whoever tries things out need not wait for five minutes.
    "KUBERNAUT_OPERATOR_EXECUTION__COOLDOWN_PERIOD": "30s",
    "KUBERNAUT_OPERATOR_EXECUTION__PROPAGATED_ANNOTATIONS": '["simulation.kubernaut.ai/"]',
}
_KUBECONFIG: Final = "KUBERNAUT_OPERATOR_KUBERNETES__KUBECONFIG"


class Cluster(Protocol):
    """Where the operator works."""

    def running(self) -> AbstractContextManager[None]:
        """While it is entered, the cluster is there and has what the operator needs."""

    def check(self) -> None:
        """End the command if a part of it has ended by itself."""

    @property
    def kubeconfig(self) -> Path:
        """Of the person at the terminal."""

    @property
    def operator_environment(self) -> Mapping[str, str]:
        """What the operator has to be told; settings of the user's own win over some of it."""

    def samples(self) -> Sequence[Mapping[str, Any]]:
        """The samples, with their workflows where this cluster finds them."""

    def facts(self) -> Sequence[str]:
        """What a person has to know of it, line by line."""


class OwnCluster:
    """A control plane with Tekton on this machine; its data stay in the home directory.

    Args:
        home: the home directory.
        steps: told what is done.
    """

    def __init__(self, home: Path, steps: Steps) -> None:
        self._steps = steps
        self._programs = Programs(report=steps.say)
        self._cluster = LocalCluster(home / "cluster", tekton=True, programs=self._programs)

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Cluster`.

        Raises:
            LocalServerError: it cannot be started.
            KubernetesError: it refuses what the operator needs.
        """
        self._say_what_takes_long()
        cluster = self._cluster
        with stopping(self._steps, "the cluster", cluster.stop):
            with self._steps.step(f"starting a cluster with Tekton in {cluster.home}") as done:
                cluster.start()
                done(f"cluster at {cluster.url}")
            with self._steps.step("installing the CRD, the roles and the workflows") as done:
                asyncio.run(self._install())
                for workflow in sample_workflows():
                    cluster.push_bundle(workflow.repository, workflow.objects, workflow.tag)
                done("CRD, roles, namespaces and workflow bundles are there")
            yield

    def _say_what_takes_long(self) -> None:
        names = self._programs.names(tekton=True)
        if not all((self._programs.directory / name).exists() for name in names):
            self._steps.say(
                "The control plane's programs are not here yet. Getting them takes 20 minutes or"
                " more where they must be built, once."
            )

    async def _install(self) -> None:
        async with client_of(ClientConfig.load(self.kubeconfig)) as client:
            await install(client, rbac())

    def check(self) -> None:
        """See `Cluster`."""
        for name, component in self._cluster.components.items():
            if not component.running:
                tail = component.log_tail(1)
                fail(f"{name} has ended; its log {component.log_file} ends with: {tail}")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self._cluster.kubeconfig_path

    @property
    def operator_environment(self) -> Mapping[str, str]:
        """The operator is its service account, and has the rights of that alone."""
        kubeconfig = self._cluster.kubeconfig_for_service_account(_NAMESPACE, _OPERATOR)
        return _TRY_OUT | {_KUBECONFIG: str(kubeconfig)}

    def samples(self) -> Sequence[Mapping[str, Any]]:
        """See `Cluster`."""
        return samples(self._cluster.registry)

    def facts(self) -> Sequence[str]:
        """See `Cluster`."""
        return (
            f"cluster     {self._cluster.url}",
            "            Everything in it is real, Tekton too, but its nodes and pods: they are",
            "            simulated by kwok, and no workflow does anything",
            f"bundles     push to {self._cluster.registry} (plain HTTP, kept in memory)",
            f"logs        {self._cluster.home / 'logs'} (cluster)",
        )


class NamedCluster:
    """The cluster of KUBECONFIG, in which only our kind is installed, and only if one says yes.

    Args:
        steps: told what is done.
        yes: the answer is given.

    Raises:
        ConfigError: KUBECONFIG is not set or cannot be used.
    """

    def __init__(self, steps: Steps, *, yes: bool) -> None:
        named = os.environ.get("KUBECONFIG", "")
        if not named:
            raise ConfigError("KUBECONFIG is not set: it has to name the cluster to use")
        self._steps = steps
        self.kubeconfig = Path(named).absolute()
        self._config = ClientConfig.load(self.kubeconfig)
        if not yes:
            self._ask()

    def _ask(self) -> None:
        typer.echo(
            "Install the custom resource definition workflowexecutions.kubernaut.ai in the cluster"
            f" {self._config.server}? [y/N] ",
            nl=False,
        )
        sys.stdout.flush()
        answer = sys.stdin.readline()
        if not answer:
            typer.echo()
            fail("nobody is there to answer; --yes says yes. Nothing was changed")
        if answer.strip().lower() not in ("y", "yes"):
            fail(f"nothing was changed in {self._config.server}")

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Cluster`.

        Raises:
            KubernetesError: it does not answer, or does not let us.
        """
        with self._steps.step(f"installing the CRD in {self._config.server}") as done:
            asyncio.run(self._install())
            done(f"the CRD is in {self._config.server}")
        yield

    async def _install(self) -> None:
        async with client_of(self._config) as client:
            await install(client)

    def check(self) -> None:
        """Nothing of it is ours."""

    @property
    def operator_environment(self) -> Mapping[str, str]:
        """The operator is who the kubeconfig says."""
        return {_KUBECONFIG: str(self.kubeconfig)}

    def samples(self) -> Sequence[Mapping[str, Any]]:
        """Their workflows have to be where the files say."""
        return samples()

    def facts(self) -> Sequence[str]:
        """See `Cluster`."""
        return (f"cluster     {self._config.server}",)
