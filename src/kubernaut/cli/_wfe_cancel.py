"""`kubernaut wfe cancel`: ask the operator to stop a run."""

import typer

from kubernaut.cli._failure import fail
from kubernaut.cli._printable import printable
from kubernaut.cli._wfe_cluster import Where, ask, read
from kubernaut.kubernetes import Client
from kubernaut.workflowexecution import (
    CANCEL_ANNOTATION,
    WORKFLOW_EXECUTIONS,
    WorkflowExecution,
)


def cancel(where: Where, namespace: str, name: str, reason: str) -> None:
    """Ask for it, and say what happens next."""
    wfe = ask(where, lambda client: _asked(client, namespace, name, reason))
    typer.echo(f"workflowexecution.kubernaut.ai/{name}: asked to be cancelled")
    child = wfe.status.execution_ref
    if wfe.phase == "Running" and child is not None:
        typer.echo(f"The operator stops {child.name}; what the workflow has done stays done.")
    else:
        typer.echo("It has not started, and the operator will not start it.")
    told = reason.strip() or f"the annotation {CANCEL_ANNOTATION} asks for it"
    typer.echo(f'It becomes Failed, with the message "Cancelled: {printable(told)}".')
    where_ = "" if namespace == "default" else f" -n {namespace}"
    typer.echo(f"Follow it: kubernaut wfe watch {name}{where_}")


async def _asked(client: Client, namespace: str, name: str, reason: str) -> WorkflowExecution:
    wfe = await read(client, name, namespace)
    if wfe.is_terminal:
        fail(f"{name} has come to its end already ({wfe.phase}): there is nothing to cancel")
    if CANCEL_ANNOTATION in wfe.annotations:
        told = wfe.annotations[CANCEL_ANNOTATION] or "without a reason"
        fail(f"{name} was asked to be cancelled already: {told}")
    return await client.patch(
        WORKFLOW_EXECUTIONS,
        name,
        {"metadata": {"annotations": {CANCEL_ANNOTATION: reason}}},
        namespace=namespace,
        uid=wfe.metadata.uid,
    )
