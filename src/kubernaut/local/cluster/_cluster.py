"""A Kubernetes control plane on this machine: real programs, simulated nodes and pods."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from kubernaut.local._errors import LocalServerError
from kubernaut.local._port import HOST
from kubernaut.local.cluster import _etcd
from kubernaut.local.cluster._bundle import push_bundle
from kubernaut.local.cluster._cache import Report
from kubernaut.local.cluster._certificates import ClientCertificate
from kubernaut.local.cluster._component import Component, PortTakenError
from kubernaut.local.cluster._folder import ADMIN, ADMINISTRATORS, Folder
from kubernaut.local.cluster._parts import Parts
from kubernaut.local.cluster._programs import Programs, say_nothing
from kubernaut.local.cluster._requests import ApiRequests
from kubernaut.local.cluster._running import RunningCluster
from kubernaut.local.cluster._tekton import Tekton, create

_HOUR: Final = 3600
_YEAR: Final = 365 * 24 * _HOUR
_PORT_TRIES: Final = 3
_SIMULATED: Final = {"simulation.kubernaut.ai/simulated": "true"}


class LocalCluster:
    """etcd and kube-apiserver, with RBAC, on loopback; and what makes Jobs and Tekton work.

    Nodes and pods are simulated by kwok: nothing runs in them. Everything else is the real
    program. The processes end with this one, however it ends. It can be used as a context
    manager. Not for several threads at once.

    Args:
        home: the data folder, used again by the next start; None for one that is removed at the
            end.
        controller_manager: run the controllers of Jobs, namespaces, service accounts and
            garbage collection.
        scheduler: run the scheduler; without it a pod needs its `nodeName`.
        kwok: simulate nodes and pods.
        nodes: how many nodes, named `simulated-0` and so on.
        tekton: run Tekton Pipelines and a registry for bundles; needs the three above.
        crds: custom resource definitions to make before the controllers start (made later, their
            objects are garbage-collected up to half a minute late).
        apiserver_flags: more of them, for example `--max-requests-inflight=5`.
        fsync: let etcd wait for the disk, as one does in earnest.
        programs: where the programs come from.
        report: told what is being done, in lines for a person.
    """

    def __init__(  # noqa: PLR0913  (each is a choice of its own, by name)
        self,
        home: Path | None = None,
        *,
        controller_manager: bool = True,
        scheduler: bool = True,
        kwok: bool = True,
        nodes: int = 1,
        tekton: bool = False,
        crds: Sequence[Mapping[str, Any]] = (),
        apiserver_flags: Sequence[str] = (),
        fsync: bool = False,
        programs: Programs | None = None,
        report: Report = say_nothing,
    ) -> None:
        if tekton and not (controller_manager and scheduler and kwok):
            raise LocalServerError("Tekton needs the controller manager, the scheduler and kwok")
        wanted = {
            "etcd": True,
            "kube-apiserver": True,
            "kube-controller-manager": controller_manager,
            "kube-scheduler": scheduler,
            "kwok": kwok,
            "tekton": tekton,
            "registry": tekton,
        }
        self._wanted = [name for name, on in wanted.items() if on]
        self._nodes = [f"simulated-{number}" for number in range(max(nodes, 1))]
        self._crds = crds
        self._flags = apiserver_flags
        self._fsync = fsync
        self._programs = programs or Programs(report=report)
        self._report = report
        self._folder = Folder(home)
        self._components: dict[str, Component] = {}
        self._api: ApiRequests | None = None

    def start(self) -> None:
        """Start everything, after getting the programs if they are not there; return when ready.

        Raises:
            LocalServerError: it cannot be started; nothing is left running.
        """
        if self._components:
            raise LocalServerError(f"{self.home} is in use: its cluster runs at {self.url}")
        paths = self._programs.obtain(self._wanted)
        self._folder.open()
        try:
            for last in (False,) * (_PORT_TRIES - 1) + (True,):
                try:
                    self._start(paths)
                    break
                except PortTakenError:
                    self._end_all()
                    if last:
                        raise
                    self._folder.new_ports()
            self._say_it_runs()
        except BaseException:  # Ctrl-C too.
            self.stop()
            raise

    def stop(self) -> None:
        """End everything; a temporary data folder is removed. Does nothing if nothing runs."""
        if self._components:
            RunningCluster.withdraw(self.home)
        self._end_all()
        self._folder.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def home(self) -> Path:
        """The data folder."""
        return self._folder.path

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{HOST}:{self._port('apiserver')}"

    @property
    def etcd_url(self) -> str:
        """The address of etcd, which asks for no credentials."""
        return f"http://{HOST}:{self._port('etcd')}"

    @property
    def registry(self) -> str:
        """`host:port` of the registry for Tekton's bundles, which speaks plain HTTP."""
        return f"{HOST}:{self._port('registry')}"

    @property
    def ca_file(self) -> Path:
        """Who signed the API server's certificate."""
        return self._folder.authority.file

    @property
    def kubeconfig_path(self) -> Path:
        """The administrator's kubeconfig."""
        return self._folder.kubeconfig

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return self._folder.token

    @property
    def api(self) -> ApiRequests:
        """Requests as administrator."""
        if self._api is None:
            raise LocalServerError("this cluster has not been started yet")
        return self._api

    @property
    def nodes(self) -> Sequence[str]:
        """The names of the simulated nodes."""
        return tuple(self._nodes)

    @property
    def components(self) -> Mapping[str, Component]:
        """All programs by name, in the order of their start."""
        return dict(self._components)

    @property
    def etcd(self) -> Component:
        """The store."""
        return self._component("etcd")

    @property
    def apiserver(self) -> Component:
        """The API server."""
        return self._component("kube-apiserver")

    @property
    def controller_manager(self) -> Component:
        """The controllers of Jobs and so on."""
        return self._component("kube-controller-manager")

    @property
    def scheduler(self) -> Component:
        """The scheduler."""
        return self._component("kube-scheduler")

    @property
    def kwok(self) -> Component:
        """The simulation."""
        return self._component("kwok")

    @property
    def tekton(self) -> Component:
        """Tekton's controllers, resolvers and webhook."""
        return self._component("tekton")

    def client_certificate_for(self, user: str, groups: Sequence[str] = ()) -> ClientCertificate:
        """A certificate that the API server takes as this user with these groups."""
        return self._folder.authority.client(user, groups)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with such a certificate."""
        issued = self.client_certificate_for(user, groups)
        path = issued.certificate.with_suffix(".kubeconfig")
        self._folder.write_kubeconfig(path, user, groups)
        return path

    def api_as(
        self, *, certificate: ClientCertificate | None = None, token: str | None = None
    ) -> ApiRequests:
        """Requests as somebody else; with neither, as nobody."""
        return ApiRequests(
            HOST, self._port("apiserver"), self.ca_file, certificate=certificate, token=token
        )

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig of an existing service account, valid for a year.

        Raises:
            LocalServerError: the API server refuses it.
        """
        token = self.service_account_token(namespace, name, seconds=_YEAR)
        path = self.home / f"{namespace}.{name}.kubeconfig"
        self._folder.write_token_kubeconfig(path, f"{namespace}/{name}", token)
        return path

    def service_account_token(
        self, namespace: str, name: str, audiences: Sequence[str] = (), *, seconds: int = _HOUR
    ) -> str:
        """A token of an existing service account, valid for so many seconds.

        Raises:
            LocalServerError: the API server refuses it.
        """
        answer = self.api(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"spec": {"audiences": list(audiences), "expirationSeconds": seconds}},
        )
        if not isinstance(answer.body, dict) or "status" not in answer.body or answer.status >= 400:  # noqa: PLR2004
            raise LocalServerError(f"no token for {namespace}/{name}: {answer.body}")
        return str(answer.body["status"]["token"])

    def compact_etcd(self) -> int:
        """Drop all history: a watch from before it ends with 410. Gives etcd's revision.

        Raises:
            OSError: etcd does not answer.
        """
        return _etcd.compact(self._port("etcd"))

    def push_bundle(
        self, repository: str, objects: Sequence[Mapping[str, Any]], tag: str = "v1"
    ) -> str:
        """Push a Tekton bundle to the registry; gives its reference by digest.

        Raises:
            LocalServerError: the registry does not take it.
        """
        return push_bundle(self.registry, repository, tag, objects)

    def _start(self, paths: Mapping[str, Path]) -> None:
        folder = self._folder
        admin = folder.write_kubeconfig(folder.kubeconfig, ADMIN, (ADMINISTRATORS,))
        self._api = self.api_as(certificate=admin)
        parts = Parts(folder, paths, self._api)
        self._add(parts.etcd(fsync=self._fsync))
        controllers = "kube-controller-manager" in self._wanted
        # It waits for etcd by itself, which saves the time that etcd takes.
        self._add(parts.apiserver(self._flags, service_accounts=controllers))
        self.etcd.wait()
        self.apiserver.wait()
        tekton = self._tekton(paths)
        for kind in (*self._crds, *(tekton.kinds() if tekton else ())):
            create(self._api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind)
        for name, make in (
            ("kube-controller-manager", parts.controller_manager),
            ("kube-scheduler", parts.scheduler),
            ("registry", parts.registry),
        ):
            if name in self._wanted:
                self._add(make())
        if "kwok" in self._wanted:
            self._add(parts.kwok(self._nodes[-1]))
            self._make_nodes()
        if tekton:
            tekton.install()
            ports = folder.ports
            environment = tekton.environment(ports["tekton-metrics"], ports["tekton-profiling"])
            self._add(parts.tekton(tekton.ready, environment))
        for component in self._components.values():
            component.wait()

    def _say_it_runs(self) -> None:
        pids = {name: component.pid for name, component in self._components.items()}
        running = RunningCluster(os.getpid(), self.url, self.kubeconfig_path, pids)
        running.write(self.home)

    def _tekton(self, paths: Mapping[str, Path]) -> Tekton | None:
        if "tekton" not in self._wanted:
            return None
        return Tekton(paths["tekton"], self.api, self._port("tekton-webhook"))

    def _add(self, component: Component) -> None:
        self._components[component.name] = component
        component.launch()

    def _make_nodes(self) -> None:
        for name in self._nodes:
            labels = {**_SIMULATED, "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
            create(self.api, "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})

    def _end_all(self) -> None:
        """End the processes: the API server would take 10 seconds to end in order."""
        components = list(self._components.values())
        for component in reversed(components):
            if component.name != "etcd" or self._folder.temporary:
                component.kill()
            else:
                component.terminate()
        self._components = {}

    def _component(self, name: str) -> Component:
        try:
            return self._components[name]
        except KeyError:
            raise LocalServerError(f"{name} does not belong to this cluster") from None

    def _port(self, name: str) -> int:
        if name not in self._folder.ports:
            raise LocalServerError("this cluster has not been started yet")
        return self._folder.ports[name]
