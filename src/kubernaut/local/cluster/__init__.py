"""A real Kubernetes control plane for one machine, with simulated nodes and pods.

Needs the extra `local` (cryptography, PyYAML).
"""

from kubernaut.local.cluster._bundle import push_bundle
from kubernaut.local.cluster._certificates import ClientCertificate
from kubernaut.local.cluster._cluster import LocalCluster
from kubernaut.local.cluster._component import Component
from kubernaut.local.cluster._programs import Programs
from kubernaut.local.cluster._requests import Answer, ApiRequests
from kubernaut.local.cluster._running import RunningCluster, end_holder, holder_of
from kubernaut.local.cluster._tekton import tekton_kinds

__all__ = [
    "Answer",
    "ApiRequests",
    "ClientCertificate",
    "Component",
    "LocalCluster",
    "Programs",
    "RunningCluster",
    "end_holder",
    "holder_of",
    "push_bundle",
    "tekton_kinds",
]
