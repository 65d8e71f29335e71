"""What is looked at before the operator starts: each thing that is wrong is one line with its cure.

- A *problem* ends the start: nothing could be done without it, or only half of it.
- A *warning* does not: DataStorage that is away (the journal keeps events), an engine whose API is
  missing (runs that want it fail with the cure in their message; the others go on).

Nothing is changed in the cluster by looking.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from kubernaut.audit import AsyncClient, Endpoint, ServerProblemError, TransportError
from kubernaut.kubernetes import (
    NAMESPACES,
    Client,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    NotServedError,
    UnauthorizedError,
)
from kubernaut.workflowexecution._api import GROUP, VERSION, WORKFLOW_EXECUTIONS, EngineName
from kubernaut.workflowexecution._permissions import (
    Permission,
    Place,
    Purpose,
    denied,
    needed_for,
    own_username,
)
from kubernaut.workflowexecution._settings import Settings

Say = Callable[[str], None]

NO_TEKTON: Final = 'install Tekton Pipelines CRDs or use executionEngine: "job"'
NO_ANSIBLE: Final = "this operator does not run Ansible; use executionEngine: tekton or job"

_PATIENCE: Final = 30.0
"""Seconds to wait for the API server; then the kubelet, or a person, is to try again."""
_PAUSE: Final = 1.0
_DOUBT: Final = 3.0
"""Seconds until a refusal is believed: an API server that starts knows no accounts yet."""
_DATASTORAGE_SECONDS: Final = 5.0
_CRD: Final = f"{WORKFLOW_EXECUTIONS.plural}.{GROUP}"
_ROLES: Final = "`kubernaut operator manifests` has the roles to apply"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found; see above.

    Attributes:
        problems: one line each.
        warnings: one line each.
        unavailable: engines that cannot be used, and what to do about it.
    """

    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()
    unavailable: Mapping[EngineName, str] = field(default_factory=dict)


class _ApiResource(msgspec.Struct, frozen=True):
    name: str = ""


class _ApiResources(msgspec.Struct, frozen=True):
    resources: list[_ApiResource] = []


class _ApiVersion(msgspec.Struct, frozen=True):
    version: str = ""


class _ApiGroup(msgspec.Struct, frozen=True):
    versions: list[_ApiVersion] = []


async def preflight(client: Client, settings: Settings, *, say: Say | None = None) -> Findings:
    """Look at everything that the operator needs.

    Args:
        client: the operator's own account; best without long retries.
        settings: the configuration.
        say: told when something is being waited for.
    """
    journal = unusable_directory(settings.datastorage.journal())
    problems = [journal] if journal else []
    if unreachable := await _reach(client, say):
        return Findings([*problems, unreachable])
    try:
        return await _look(client, settings, problems)
    except KubernetesError as error:
        return Findings([*problems, f"the API server {client.config.server} answers: {error}"])


async def _look(client: Client, settings: Settings, problems: list[str]) -> Findings:
    unavailable: dict[EngineName, str] = {"ansible": NO_ANSIBLE}
    warnings: list[str] = []
    if not settings.tekton.enabled:
        unavailable["tekton"] = "tekton.enabled is false in the operator's configuration"
    elif "pipelineruns" not in (await _served(client, "tekton.dev", "v1")):
        unavailable["tekton"] = NO_TEKTON
        warnings.append(
            "the API tekton.dev/v1 is not served, so executionEngine tekton is off:"
            f" {NO_TEKTON}; restart the operator once they are there"
        )
    if not settings.job.enabled:
        unavailable["job"] = "job.enabled is false in the operator's configuration"
    purposes: set[Purpose] = {"leader election"} if settings.controller.leader_election else set()
    if "tekton" not in unavailable:
        purposes.add("tekton")
    if "job" not in unavailable:
        purposes.add("job")
    if not purposes & {"tekton", "job"}:
        problems.append("no engine can be used: set tekton.enabled or job.enabled to true")
    checks = (
        _definition(client),
        _namespace(client, settings.execution.namespace),
        _permissions(client, settings, needed_for(purposes)),
    )
    silent, *found = await asyncio.gather(_datastorage(settings.datastorage.endpoint()), *checks)
    for lines in found:
        problems += lines
    warnings += silent
    return Findings(problems, warnings, unavailable)


async def _reach(client: Client, say: Say | None) -> str | None:
    """Wait until the API server is ready; what is wrong with it, if it does not come to that.

    It answers `/version` long before it knows the kinds, accounts and rights that there are.
    """
    clock = client.clock
    deadline = clock.monotonic() + _PATIENCE
    told = False
    refused: float | None = None
    while True:
        try:
            await client.raw("/readyz")
        except (ForbiddenError, UnauthorizedError) as error:
            now = clock.monotonic()
            refused = now if refused is None else refused
            if now >= refused + _DOUBT:
                if isinstance(error, ForbiddenError):
                    return None  # It is there, and says how it is to others only.
                server = client.config.server
                return f"the API server {server} does not accept our credentials: {error}"
        except KubernetesError as error:
            now = clock.monotonic()
            if not error.retryable or now + _PAUSE > deadline:
                return f"the API server is not reached: {error}"
            if say is not None and not told:
                say(f"waiting for the API server {client.config.server}: {error}")
                told = True
        else:
            return None
        await clock.sleep_until(now + _PAUSE)


async def _served(client: Client, group: str, version: str) -> set[str]:
    """The resources that a version of a group has; none where it is not served."""
    try:
        answer = await client.raw(f"/apis/{group}/{version}")
    except NotServedError:
        return set()
    return {each.name for each in msgspec.json.decode(answer, type=_ApiResources).resources}


async def _definition(client: Client) -> list[str]:
    served = await _served(client, GROUP, VERSION)
    plural = WORKFLOW_EXECUTIONS.plural
    cure = "kubernaut operator crd | kubectl apply -f -"
    if f"{plural}/status" in served:
        return []
    if plural in served:
        return [f"{_CRD} has no status subresource: replace the definition: {cure}"]
    try:
        group = msgspec.json.decode(await client.raw(f"/apis/{GROUP}"), type=_ApiGroup)
    except NotServedError:
        return [f"the custom resource {_CRD} is not installed: {cure}"]
    for other in group.versions:
        if plural in await _served(client, GROUP, other.version):
            return [f"{_CRD} is served as {other.version} and not as {VERSION}: {cure}"]
    return [f"the custom resource {_CRD} is not installed: {cure}"]


async def _namespace(client: Client, name: str) -> list[str]:
    try:
        found = await client.get(NAMESPACES, name)
    except NotFoundError:
        cure = f"kubectl create namespace {name}, or set execution.namespace"
        return [f"the execution namespace {name} does not exist: {cure}"]
    except ForbiddenError:
        return []  # Nothing else needs the right to look; rights in it are asked for below.
    if found.status.phase == "Terminating":
        return [f"the execution namespace {name} is being deleted: set execution.namespace"]
    return []


async def _permissions(
    client: Client, settings: Settings, permissions: Sequence[Permission]
) -> list[str]:
    controller = settings.controller
    namespaces: dict[Place, str | None] = {
        "watched": controller.watch_namespace,
        "executions": settings.execution.namespace,
        "own": controller.own_namespace(),
    }

    async def missing(permission: Permission) -> str | None:
        namespace = namespaces[permission.place]
        is_lease = permission.purpose == "leader election" and permission.name
        name = controller.leader_election_id if is_lease else None
        verbs = await denied(client, permission, namespace, name=name)
        if not verbs:
            return None
        where = f"namespace {namespace}" if namespace else "all namespaces"
        return f"may not {', '.join(verbs)} {permission.shown} in {where}: {_ROLES}"

    found = [line for line in await asyncio.gather(*map(missing, permissions)) if line]
    if not found:
        return []
    who = await own_username(client)
    return [f"RBAC: {who} {line}" for line in found]


async def _datastorage(endpoint: Endpoint) -> list[str]:
    asked = msgspec.structs.replace(
        endpoint, timeout_seconds=min(endpoint.timeout_seconds, _DATASTORAGE_SECONDS)
    )
    try:
        async with AsyncClient(asked) as datastorage:
            health = await datastorage.health()
        if health.status == "healthy":
            return []
        reason = health.reason or health.status
    except (TransportError, ServerProblemError) as error:
        reason = str(error)
    waiting = "they wait in the journal until it does"
    return [f"DataStorage at {endpoint.url} does not take events now ({reason}): {waiting}"]


def unusable_directory(directory: Path) -> str | None:
    """Why events cannot be kept in a directory; it is made where it is missing."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".check-") as probe:
            probe.write(b"\0")
            os.fsync(probe.fileno())
    except OSError as error:
        return (
            f"the journal directory {directory} cannot be used ({error.strerror}): set"
            " datastorage.journalDirectory to a directory on a disk that outlives the process"
        )
    return None
