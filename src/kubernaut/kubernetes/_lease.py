"""The lock of a leader election: what it records, and its form as a Lease of the API server.

`_leader.py` decides with `Tenure`s only, so that its timing can be tested against a model of the
lock; what the API server does with a Lease is tested against the API server.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from kubernaut.kubernetes._client import Client
from kubernaut.kubernetes._core_kinds import LEASES, Lease, LeaseSpec
from kubernaut.kubernetes._errors import NotFoundError
from kubernaut.kubernetes._objects import ObjectMeta


@dataclass(frozen=True, slots=True)
class Tenure:
    """Who holds a lock and since when.

    Attributes:
        holder: identity; "" where the lock is free.
        duration: seconds that a candidate waits after it has seen a renewal.
        acquired: when the holder got it, by its wall clock.
        renewed: when the holder renewed it last, by its wall clock. Only a change means something.
        transitions: how often the holder changed.
        version: the lock's resourceVersion, for optimistic locking.
    """

    holder: str
    duration: int
    acquired: datetime | None
    renewed: datetime | None
    transitions: int
    version: str

    def same_renewal(self, other: "Tenure") -> bool:
        """Whether nobody renewed in between; others may change the version, too."""
        return (self.holder, self.duration, self.acquired, self.renewed, self.transitions) == (
            other.holder,
            other.duration,
            other.acquired,
            other.renewed,
            other.transitions,
        )


class Lock(Protocol):
    """Where candidates meet. Each method may raise whatever a request may raise."""

    @property
    def name(self) -> str:
        """For log lines and metrics."""

    async def get(self) -> Tenure | None:
        """The tenure as of now, None where the lock does not exist."""

    async def create(self, tenure: Tenure) -> Tenure:
        """Make the lock; fails where it exists."""

    async def update(self, tenure: Tenure) -> Tenure:
        """Replace the tenure if the lock still has `tenure.version`.

        Raises:
            ConflictError: it has another version.
            NotFoundError: it is gone.
        """


class LeaseLock:
    """A `coordination.k8s.io/v1` Lease.

    Args:
        client: for the lock alone: neither the fence nor a rate limit may stand before a renewal.
        namespace: where the Lease is.
        name: its name. Needs `get`, `create` and `update` on it.
    """

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._last: Lease | None = None

    @property
    def name(self) -> str:
        """The name of the Lease."""
        return self._name

    async def get(self) -> Tenure | None:
        """Read the Lease."""
        try:
            return self._seen(await self._client.get(LEASES, self._name, self._namespace))
        except NotFoundError:
            return None

    async def create(self, tenure: Tenure) -> Tenure:
        """Make the Lease."""
        metadata = ObjectMeta(name=self._name, namespace=self._namespace)
        lease = Lease(metadata=metadata, spec=_spec(LeaseSpec(), tenure))
        return self._seen(await self._client.create(LEASES, lease, namespace=self._namespace))

    async def update(self, tenure: Tenure) -> Tenure:
        """Update the Lease, keeping its labels and whatever else it has."""
        last = self._last
        if last is None or last.metadata.resource_version != tenure.version:
            raise ValueError("only the version that was read or written last can be updated")
        lease = msgspec.structs.replace(last, spec=_spec(last.spec, tenure))
        return self._seen(await self._client.replace(LEASES, lease))

    def _seen(self, lease: Lease) -> Tenure:
        self._last = lease
        spec = lease.spec
        return Tenure(
            holder=spec.holder_identity or "",
            duration=spec.lease_duration_seconds or 0,
            acquired=spec.acquire_time,
            renewed=spec.renew_time,
            transitions=spec.lease_transitions or 0,
            version=lease.metadata.resource_version,
        )


def _spec(old: LeaseSpec, tenure: Tenure) -> LeaseSpec:
    return msgspec.structs.replace(
        old,
        holder_identity=tenure.holder,
        lease_duration_seconds=tenure.duration,
        acquire_time=tenure.acquired,
        renew_time=tenure.renewed,
        lease_transitions=tenure.transitions,
    )
