"""The cluster that a command asks about WorkflowExecutions, and how it ends without an answer."""

import asyncio
import difflib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import typer

from kubernaut.cli._failure import fail
from kubernaut.kubernetes import (
    ApiError,
    Client,
    ClientConfig,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    NotServedError,
    TransportError,
    UnauthorizedError,
)
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution

FIELD_MANAGER: Final = "kubernaut-cli"

_BY_SIGNAL: Final = 128
_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 3.0
_SIMILAR: Final = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """What a person said about the cluster.

    Attributes:
        kubeconfig: a file; it wins over all else.
        context: in that file, or in the one that kubectl would take.
        home: the home directory whose local cluster is taken where nothing else is named.
    """

    kubeconfig: Path | None
    context: str | None
    home: Path

    def config(self) -> ClientConfig:
        """The connection.

        `~/.kube/config` is taken only with a context: a command that was meant for the local
        cluster must not reach another one because that has been stopped.

        Raises:
            KubernetesError: what was named cannot be used.
        """
        if self.kubeconfig or self.context or os.environ.get("KUBECONFIG"):
            return ClientConfig.load(self.kubeconfig, self.context)
        found = _local_kubeconfig(self.home)
        if found is None:
            fail(
                "which cluster? Set KUBECONFIG, or give --kubeconfig or --context; or start one"
                f" here: kubernaut up (none is ready in {self.home.absolute() / 'cluster'})"
            )
        return ClientConfig.load(found)


def _local_kubeconfig(home: Path) -> Path | None:
    try:
        from kubernaut.local.cluster import RunningCluster  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError:
        return None
    running = RunningCluster.of(home.absolute() / "cluster")
    return None if running is None else running.kubeconfig


def ask(
    where: Where,
    asking: Callable[[Client], Awaitable[T]],
    *,
    interrupted: int = _BY_SIGNAL + signal.SIGINT,
) -> T:
    """Ask the cluster; what was foreseen ends the command in one line, or in none.

    Args:
        where: the cluster.
        asking: does it.
        interrupted: the exit code of Ctrl-C.
    """
    server = "the cluster"
    try:
        config = where.config()
        server = config.server
        found = asyncio.run(_asked(config, asking))
        sys.stdout.flush()  # Here, so that a reader who has gone is met here.
    except KubernetesError as error:
        fail(described(error, server))
    except BrokenPipeError:
        # Who reads has seen enough. What is still buffered must not be written at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BY_SIGNAL + signal.SIGPIPE) from None
    except KeyboardInterrupt:
        raise typer.Exit(interrupted) from None
    return found


async def _asked(config: ClientConfig, asking: Callable[[Client], Awaitable[T]]) -> T:
    async with Client(
        config, field_manager=FIELD_MANAGER, timeout=_SECONDS, retry_for=_RETRY_SECONDS
    ) as client:
        return await asking(client)


def described(error: KubernetesError, server: str) -> str:
    """An error in words, and what to do about it where that is known."""
    match error:
        case TransportError():
            return f"no answer from {server}: {error}; does the cluster run?"
        case NotServedError():
            return (
                f"{server} does not know WorkflowExecutions: kubernaut operator crd | kubectl apply"
                " -f -"
            )
        case UnauthorizedError():
            return f"{server} does not accept who you are: {error.message}"
        case ForbiddenError():
            return f"not allowed: {error.message}"
        case ApiError():
            return error.message
    return str(error)


async def read(client: Client, name: str, namespace: str) -> WorkflowExecution:
    """One WorkflowExecution; if there is none, the command ends and names similar ones."""
    try:
        found = await client.get(WORKFLOW_EXECUTIONS, name, namespace)
    except NotFoundError:
        fail(await _not_found(client, name, namespace))
    return found


async def _not_found(client: Client, name: str, namespace: str) -> str:
    """Say so, and where it may be instead."""
    line = f"there is no WorkflowExecution {name} in namespace {namespace}"
    try:
        all_of_them = await everything(client, None)
    except ForbiddenError:
        all_of_them = await everything(client, namespace)
    elsewhere = [one.metadata.namespace for one in all_of_them if one.metadata.name == name]
    here = [one.metadata.name for one in all_of_them if one.metadata.namespace == namespace]
    similar = difflib.get_close_matches(name, here, _SIMILAR)
    if elsewhere:
        line += f"; it is in {', '.join(elsewhere)}: -n {elsewhere[0]}"
    elif similar:
        line += f"; similar: {', '.join(similar)}"
    return line


async def everything(
    client: Client, namespace: str | None, **wanted: Any
) -> list[WorkflowExecution]:
    """All WorkflowExecutions of a namespace, or of all, by namespace and name.

    Args:
        client: of the cluster.
        namespace: None for all.
        wanted: selectors, as of `Client.list`.
    """
    pages = client.list(WORKFLOW_EXECUTIONS, namespace=namespace, **wanted)
    found = [one async for page in pages for one in page.items]
    return sorted(found, key=lambda one: (one.metadata.namespace, one.metadata.name))
