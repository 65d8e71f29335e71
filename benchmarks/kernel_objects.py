"""The objects of the kernel's benchmark: their kind, how they are made and how they are changed.

An object is a made-up remediation of about 1.3 kB without `managedFields`. `spec.round` says how
often it was changed and `spec.stamp` when its last change was sent, on the clock that all
processes of a machine share.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.kernel_names import GROUP, PLURAL
from kubernaut.kubernetes import (
    NAMESPACES,
    Client,
    ClientConfig,
    KubernetesObject,
    Namespace,
    ObjectMeta,
    Resource,
)

_WRITERS: Final = 16
_STEPS: Final = 4
_OPEN: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_SCHEMA: Final = {"type": "object", "properties": {"spec": _OPEN, "status": _OPEN}}
CRD: Final[dict[str, Any]] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "probe", "kind": "Probe", "listKind": "ProbeList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": _SCHEMA},
            }
        ],
    },
}


class Step(msgspec.Struct, frozen=True, gc=False):
    """What a remediation does."""

    name: str
    action: str
    target: str
    parameters: dict[str, str]


class ProbeSpec(msgspec.Struct, frozen=True):
    """The whole of what is asked for."""

    round: int = 0
    stamp: int = 0
    title: str = ""
    severity: str = ""
    steps: list[Step] = []


class Probe(KubernetesObject, frozen=True):
    """The whole object: every field is modelled, so that nothing is saved by leaving it out."""

    spec: ProbeSpec = ProbeSpec()


PROBES: Final = Resource(GROUP, "v1", PLURAL, "Probe", namespaced=True, type=Probe)


class Bytes(NamedTuple):
    """The size of all objects as JSON."""

    served: int
    without_managed_fields: int


class Writer:
    """Makes and changes objects; one for the run."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.round = 0

    async def make(self, namespace: str, number: int) -> None:
        """Make a namespace with so many objects."""
        metadata = ObjectMeta(name=namespace)
        await self._client.create(NAMESPACES, Namespace(metadata=metadata))

        async def one(index: int) -> None:
            await self._client.create(PROBES, _probe(namespace, index))

        await _all(one, range(number))

    async def sizes(self, namespace: str) -> Bytes:
        """How large the objects of a namespace are."""
        served = await self._client.raw(PROBES.path(None, namespace))
        items = msgspec.json.decode(served)["items"]
        for item in items:
            item["metadata"].pop("managedFields", None)
        return Bytes(len(served), sum(len(msgspec.json.encode(item)) for item in items))

    async def change(
        self, namespace: str, number: int, rounds: int, per_second: float | None
    ) -> None:
        """Change every object so many times, in turn, at a rate or as fast as the server goes."""
        for _ in range(rounds):
            self.round += 1
            await self._round(namespace, number, per_second)

    async def _round(self, namespace: str, number: int, per_second: float | None) -> None:
        started = time.perf_counter()

        async def one(index: int) -> None:
            if per_second:
                await asyncio.sleep(started + index / per_second - time.perf_counter())
            spec = {"round": self.round, "stamp": time.monotonic_ns()}
            await self._client.patch(PROBES, _name(index), {"spec": spec}, namespace=namespace)

        await _all(one, range(number))


@asynccontextmanager
async def writer(kubeconfig: Path) -> AsyncIterator[Writer]:
    """A writer without a rate limit."""
    config = ClientConfig.load(kubeconfig)
    async with Client(config, field_manager="bench", qps=0) as client:
        yield Writer(client)


async def _all(one: Callable[[int], Awaitable[None]], indexes: Iterable[int]) -> None:
    left = iter(indexes)

    async def some() -> None:
        for index in left:
            await one(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(_WRITERS):
            group.create_task(some())


def _name(index: int) -> str:
    return f"probe-{index:05}"


def _probe(namespace: str, index: int) -> Probe:
    steps = [
        Step(
            name=f"step-{step}",
            action=("restart", "scale", "cordon", "rollback")[step % 4],
            target=f"deployment/service-{index % 997}",
            parameters={
                "reason": f"the rate of errors of service-{index % 997} passed its limit",
                "replicas": str(index % 7),
                "window": f"{step + 5}m",
            },
        )
        for step in range(_STEPS)
    ]
    return Probe(
        metadata=ObjectMeta(
            name=_name(index),
            namespace=namespace,
            labels={"app": f"service-{index % 997}", "team": f"team-{index % 31}"},
            annotations={"example.dev/run": json.dumps({"id": index, "of": "benchmark"})},
        ),
        spec=ProbeSpec(
            title=f"Remediation {index} of service-{index % 997}",
            severity=("critical", "warning", "info")[index % 3],
            steps=steps,
        ),
    )
