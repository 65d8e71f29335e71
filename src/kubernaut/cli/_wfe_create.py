"""`kubernaut wfe create`: from a file, or from options."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import typer

from kubernaut.cli._failure import FAILED, NOT_INSTALLED, fail
from kubernaut.cli._wfe_cluster import Where, ask
from kubernaut.cli._wfe_follow import follow_to_end
from kubernaut.cli._wfe_manifest import ManifestError, manifest, read_manifests
from kubernaut.kubernetes import AlreadyExistsError, Client, NotFoundError
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution

_WRONG: Final = NOT_INSTALLED
_SPAN: Final = re.compile(r"(?:\d+(?:h|m|s))+")
_PART: Final = re.compile(r"(\d+)([hms])")
_SECONDS: Final = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Given:
    """What the options say of one; None where they say nothing."""

    name: str | None
    workflow: str | None
    workflow_version: str | None
    bundle: str | None
    engine: str | None
    target: str | None
    parameters: Sequence[str]
    remediation_request: str | None
    timeout: str | None

    @property
    def is_empty(self) -> bool:
        """Whether no option was used."""
        return not any(getattr(self, name) for name in self.__dataclass_fields__)


def create(
    where: Where, namespace: str | None, file: str | None, given: Given, *, watch: bool
) -> None:
    """Create what is in the file or what the options say; with `watch`, follow it to its end."""
    try:
        if file is not None:
            if not given.is_empty:
                fail("give either -f or a name with options", _WRONG)
            wanted = read_manifests(file)
        else:
            wanted = [_from_options(given)]
        placed = [_placed(one, namespace) for one in wanted]
    except ManifestError as error:
        fail(str(error))
    if not ask(where, lambda client: _created(client, placed, watch=watch)):
        raise typer.Exit(FAILED)


async def _created(client: Client, wanted: Sequence[WorkflowExecution], *, watch: bool) -> bool:
    made = []
    for one in wanted:
        meta = one.metadata
        try:
            wfe = await client.create(WORKFLOW_EXECUTIONS, one)
        except AlreadyExistsError:
            fail(f"{meta.name} exists already in namespace {meta.namespace}")
        except NotFoundError as error:
            if error.details is None or error.details.kind != "namespaces":
                raise
            fail(
                f"there is no namespace {meta.namespace}: kubectl create namespace {meta.namespace}"
            )
        typer.echo(f"workflowexecution.kubernaut.ai/{wfe.metadata.name} created")
        made.append(wfe.metadata)
    if not watch:
        return True
    succeeded = True
    for space in sorted({meta.namespace for meta in made}):
        names = [meta.name for meta in made if meta.namespace == space]
        succeeded = await follow_to_end(client, space, names, typer.echo) and succeeded
    return succeeded


def _placed(wfe: WorkflowExecution, namespace: str | None) -> WorkflowExecution:
    """The object in its namespace: its own, else the one of the option, else `default`."""
    own = wfe.metadata.namespace
    if own and namespace and own != namespace:
        raise ManifestError(f"{wfe.metadata.name} is for namespace {own}, and -n says {namespace}")
    metadata = msgspec.structs.replace(wfe.metadata, namespace=own or namespace or "default")
    return msgspec.structs.replace(wfe, metadata=metadata)


def _from_options(given: Given) -> WorkflowExecution:
    needed = {
        "NAME": given.name,
        "--workflow": given.workflow,
        "--workflow-version": given.workflow_version,
        "--bundle": given.bundle,
        "--target": given.target,
    }
    if missing := [name for name, value in needed.items() if not value]:
        fail(f"{', '.join(missing)} missing; or give -f FILE", _WRONG)
    reference: dict[str, Any] = {
        "workflowId": given.workflow,
        "version": given.workflow_version,
        "executionBundle": given.bundle,
        "executionEngine": given.engine or "tekton",
    }
    spec: dict[str, Any] = {
        "remediationRequestRef": {"name": given.remediation_request or given.name},
        "workflowRef": reference,
        "targetResource": given.target,
        "parameters": dict(_parameter(one) for one in given.parameters),
    }
    if given.timeout:
        spec["timesOutAt"] = datetime.now(UTC).replace(microsecond=0) + _span(given.timeout)
    return manifest(
        {
            "apiVersion": WORKFLOW_EXECUTIONS.api_version,
            "kind": WORKFLOW_EXECUTIONS.kind,
            "metadata": {"name": given.name},
            "spec": spec,
        }
    )


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        fail(f"--param {text}: write NAME=VALUE", _WRONG)
    return name, value


def _span(text: str) -> timedelta:
    if not _SPAN.fullmatch(text):
        fail(f"--timeout {text}: write 90s, 10m or 1h30m", _WRONG)
    return timedelta(
        seconds=sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    )
