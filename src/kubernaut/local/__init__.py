"""Servers for one machine, for `make run` and for tests: an embedded PostgreSQL, a control plane.

Blocking, and imports nothing else of kubernaut. PostgreSQL needs the standard library alone; the
control plane needs more packages, which are imported when it is first named.
"""

from typing import TYPE_CHECKING, Any

from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import kept_password
from kubernaut.local._server import PostgresServer

if TYPE_CHECKING:
    from kubernaut.local.cluster import LocalCluster

__all__ = ["LocalCluster", "LocalServerError", "PostgresServer", "kept_password"]


def __getattr__(name: str) -> Any:
    if name != "LocalCluster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kubernaut.local.cluster import LocalCluster  # noqa: PLC0415  (its packages are an extra)

    return LocalCluster
