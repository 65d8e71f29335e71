"""The arguments of each program. What they do is in its own documentation; here is why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubernaut.local._port import HOST
from kubernaut.local.cluster._certificates import ClientCertificate

SERVICES: Final = "10.0.0.0/24"
FIRST_SERVICE: Final = "10.0.0.1"

_CONTROLLERS: Final = (
    # All of them take 5 s longer to the first default ServiceAccount.
    "serviceaccount-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "job-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
)


def etcd(data: Path, client_port: int, peer_port: int, *, fsync: bool) -> list[str]:
    """A single etcd on loopback."""
    client, peer = f"http://{HOST}:{client_port}", f"http://{HOST}:{peer_port}"
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        *([] if fsync else ["--unsafe-no-fsync"]),
    ]


def apiserver(  # noqa: PLR0913  (all of them differ from cluster to cluster)
    port: int,
    etcd_port: int,
    *,
    server: ClientCertificate,
    ca_file: Path,
    service_account_keys: tuple[Path, Path],
    tokens: Path,
    service_accounts: bool,
    more: Sequence[str],
) -> list[str]:
    """The API server, with RBAC."""
    public, private = service_account_keys
    # Nothing here takes the taint off a new node, nor gives service accounts to namespaces where
    # the controller manager does not run: then the plug-in would refuse every pod.
    disabled = ["TaintNodesByCondition", *([] if service_accounts else ["ServiceAccount"])]
    return [
        f"--etcd-servers=http://{HOST}:{etcd_port}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={ca_file}",
        f"--service-account-issuer=https://{HOST}:{port}",
        f"--service-account-key-file={public}",  # It takes a public key only.
        f"--service-account-signing-key-file={private}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={tokens}",
        "--allow-privileged=true",
        "--profiling=false",
        f"--disable-admission-plugins={','.join(disabled)}",
        *more,
    ]


def controller_manager(kubeconfig: Path, ca_file: Path, service_account_key: Path) -> list[str]:
    """The six controllers that Jobs, namespaces and ownership need."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={service_account_key}",
        f"--root-ca-file={ca_file}",
        "--leader-elect=false",
        f"--bind-address={HOST}",
        "--secure-port=0",
        "--use-service-account-credentials=true",  # Its own certificate has no right to Jobs.
        f"--controllers={','.join(_CONTROLLERS)}",
        "--allocate-node-cidrs=false",
        "--profiling=false",
    ]


def scheduler(kubeconfig: Path) -> list[str]:
    """The scheduler."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--bind-address={HOST}",
    ]


def kwok(kubeconfig: Path, stages: Path, port: int) -> list[str]:
    """The simulation of nodes and pods."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes",
        "--cidr=10.1.0.0/16",
        f"--node-ip={HOST}",
        f"--node-port={port}",
        f"--server-address={HOST}:{port}",
    ]
