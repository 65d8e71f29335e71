"""A cluster's data folder: what is in it, and who uses it."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import HomeLock, kept_password, make_directory, write_private
from kubernaut.local._port import HOST, free_port
from kubernaut.local.cluster._certificates import Authority, ClientCertificate

ADMIN: Final = "kubernaut-admin"
ADMINISTRATORS: Final = "system:masters"

_PORTS: Final = (
    "apiserver",
    "etcd",
    "etcd-peer",
    "kwok",
    "registry",
    "tekton-metrics",
    "tekton-profiling",
    "tekton-webhook",
)


class Folder:
    """One folder for all of a cluster.

    Args:
        home: kept from run to run; None stands for a temporary one.
    """

    def __init__(self, home: Path | None) -> None:
        self.temporary = home is None
        self._home = home
        self._lock: HomeLock | None = None
        self._authority: Authority | None = None
        self.ports: dict[str, int] = {}

    @property
    def path(self) -> Path:
        """Where it is.

        Raises:
            LocalServerError: a temporary one that was not opened yet.
        """
        if self._home is None:
            raise LocalServerError("this cluster has not been started yet")
        return self._home

    @property
    def authority(self) -> Authority:
        """Signs the certificates."""
        if self._authority is None:
            raise LocalServerError("this cluster has not been started yet")
        return self._authority

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.path / "kubeconfig"

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return kept_password(self.path / "admin-token")

    def open(self) -> None:
        """Make it, and be the only one who uses it. What is secret in it has modes of its own.

        Raises:
            LocalServerError: it is in use, or cannot be written.
        """
        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix="kubernaut-cluster-"))
        make_directory(self._home)
        self._home = self._home.resolve()
        self._lock = self._lock or HomeLock(self._home)
        holder = self._lock.acquire()
        if holder is not None:
            raise LocalServerError(
                f"{self._home} is in use by the cluster of process {holder}; stop that first, or "
                "use another home directory"
            )
        try:
            (self._home / "logs").mkdir(exist_ok=True)
            self._authority = Authority(self._home / "certificates")
            self.ports = self._kept_ports()
        except OSError as error:
            raise LocalServerError(f"{self._home} cannot be used: {error}") from error

    def close(self) -> None:
        """Let others use it; remove a temporary one."""
        if self.temporary and self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def new_ports(self) -> None:
        """Choose other ports: one of them was taken by somebody else."""
        self.ports = {}
        while len(set(self.ports.values())) < len(_PORTS):
            self.ports = {name: free_port() for name in _PORTS}
        write_private(self.path / "ports.json", json.dumps(self.ports))

    def log(self, name: str) -> Path:
        """A program's log."""
        return self.path / "logs" / f"{name}.log"

    def token_file(self) -> Path:
        """The API server's list of tokens: the administrator's."""
        path = self.path / "tokens.csv"
        write_private(path, f'{self.token},{ADMIN},{ADMIN},"{ADMINISTRATORS}"\n')
        return path

    def write_kubeconfig(self, path: Path, user: str, groups: Sequence[str]) -> ClientCertificate:
        """A kubeconfig for a user, with a certificate of its own."""
        issued = self.authority.client(user, groups)
        files = {"client-certificate": str(issued.certificate), "client-key": str(issued.key)}
        self._write_kubeconfig(path, user, files)
        return issued

    def write_token_kubeconfig(self, path: Path, user: str, token: str) -> None:
        """A kubeconfig for the user of a bearer token."""
        self._write_kubeconfig(path, user, {"token": token})

    def _write_kubeconfig(self, path: Path, user: str, credentials: Mapping[str, str]) -> None:
        name = "kubernaut-local"
        cluster = {
            "server": f"https://{HOST}:{self.ports['apiserver']}",
            "certificate-authority": str(self.authority.file),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": dict(credentials)}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        }
        write_private(path, json.dumps(config, indent=2) + "\n")  # JSON is YAML.

    def _kept_ports(self) -> dict[str, int]:
        """Those of the last run, so that a kubeconfig stays right; else new ones."""
        try:
            kept = json.loads((self.path / "ports.json").read_text())
        except (OSError, ValueError):
            kept = {}
        if set(kept) != set(_PORTS):
            self.new_ports()
            return self.ports
        return {name: int(port) for name, port in kept.items()}
