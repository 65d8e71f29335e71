"""The programs of a cluster as components, each with its own identity and readiness."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernaut.local._port import HOST
from kubernaut.local.cluster import _commands, _etcd
from kubernaut.local.cluster._component import Component
from kubernaut.local.cluster._folder import ADMINISTRATORS, Folder
from kubernaut.local.cluster._requests import ApiRequests

STAGES: Final = Path(__file__).parent / "stages.yaml"

_OK: Final = 200


@dataclass(frozen=True)
class Parts:
    """Makes components for a folder that is open and has its ports.

    `programs` are the paths by name.
    """

    folder: Folder
    programs: Mapping[str, Path]
    api: ApiRequests

    def etcd(self, *, fsync: bool) -> Component:
        """The store."""
        ports = self.folder.ports
        return self._component(
            "etcd",
            _commands.etcd(
                self.folder.path / "etcd", ports["etcd"], ports["etcd-peer"], fsync=fsync
            ),
            lambda: _etcd.healthy(ports["etcd"]),
        )

    def apiserver(self, flags: Sequence[str], *, service_accounts: bool) -> Component:
        """The API server."""
        folder, port = self.folder, self.folder.ports["apiserver"]
        return self._component(
            "kube-apiserver",
            _commands.apiserver(
                port,
                folder.ports["etcd"],
                server=folder.authority.server(
                    "kube-apiserver",
                    (HOST, _commands.FIRST_SERVICE, "localhost", "kubernetes.default.svc"),
                ),
                ca_file=folder.authority.file,
                service_account_keys=folder.authority.signing_key("service-accounts"),
                tokens=folder.token_file(),
                service_accounts=service_accounts,
                more=flags,
            ),
            lambda: self.api("GET", "/readyz", seconds=5).status == _OK,
        )

    def controller_manager(self) -> Component:
        """Ready when it has given a namespace its service account."""
        _, private = self.folder.authority.signing_key("service-accounts")
        return self._component(
            "kube-controller-manager",
            _commands.controller_manager(
                self._kubeconfig("system:kube-controller-manager"),
                self.folder.authority.file,
                private,
            ),
            lambda: self._exists("/api/v1/namespaces/default/serviceaccounts/default"),
        )

    def scheduler(self) -> Component:
        """Has no sign of readiness: until it works, pods wait."""
        arguments = _commands.scheduler(self._kubeconfig("system:kube-scheduler"))
        return self._component("kube-scheduler", arguments, lambda: True)

    def kwok(self, node: str) -> Component:
        """Ready when it has made a node ready."""
        return self._component(
            "kwok",
            _commands.kwok(
                self._kubeconfig("kwok", ADMINISTRATORS), STAGES, self.folder.ports["kwok"]
            ),
            lambda: self._node_ready(node),
            {"HOME": str(self.folder.path)},
        )

    def registry(self) -> Component:
        """The registry of Tekton's bundles, in memory."""
        port = self.folder.ports["registry"]
        return self._component("registry", [f"-port={port}"], lambda: _listens(port))

    def tekton(self, ready: Callable[[], bool], environment: Mapping[str, str]) -> Component:
        """Tekton's controllers, resolvers and webhook."""
        kubeconfig = self._kubeconfig("tekton", ADMINISTRATORS)
        return self._component("tekton", [f"-kubeconfig={kubeconfig}"], ready, environment)

    def _component(
        self,
        name: str,
        arguments: Sequence[str],
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> Component:
        return Component(
            self.programs[name],
            name=name,
            arguments=arguments,
            log=self.folder.log(name),
            ready=ready,
            environment=environment,
        )

    def _kubeconfig(self, user: str, *groups: str) -> Path:
        path = self.folder.path / f"kubeconfig-{user.rpartition(':')[2]}"
        self.folder.write_kubeconfig(path, user, groups)
        return path

    def _exists(self, path: str) -> bool:
        return self.api("GET", path).status == _OK

    def _node_ready(self, name: str) -> bool:
        answer = self.api("GET", f"/api/v1/nodes/{name}")
        conditions = answer.body.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _listens(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=1):
        return True
