"""`kubernaut wfe list`: what there is, in a table or whole."""

import json
from collections.abc import Iterator, Sequence

import typer
import yaml

from kubernaut.cli import _wfe_show as show
from kubernaut.cli._wfe_cluster import Where, ask, everything
from kubernaut.workflowexecution import WorkflowExecution


def list_(where: Where, namespace: str | None, selector: str | None, form: str | None) -> None:
    """Show all of a namespace, or of all namespaces, in a table or as `json`, `yaml` or `name`."""
    found = ask(where, lambda client: everything(client, namespace, label_selector=selector))
    if form is None:
        _table(found, namespace)
    elif form == "name":
        for wfe in found:
            typer.echo(f"workflowexecution.kubernaut.ai/{wfe.metadata.name}")
    else:
        whole = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [show.document(wfe) for wfe in found],
        }
        if form == "json":
            typer.echo(json.dumps(whole, indent=2, ensure_ascii=False))
        else:
            typer.echo(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), nl=False)


def _table(found: Sequence[WorkflowExecution], namespace: str | None) -> None:
    if not found:
        where = "in any namespace" if namespace is None else f"in namespace {namespace}"
        typer.echo(f"there are no WorkflowExecutions {where}", err=True)
        return
    for line in show.table(_rows(found, with_namespace=namespace is None)):
        typer.echo(line)


def _rows(found: Sequence[WorkflowExecution], *, with_namespace: bool) -> Iterator[list[str]]:
    first = ["NAMESPACE"] if with_namespace else []
    yield [*first, "NAME", "PHASE", "WORKFLOW", "TARGET", "DURATION", "REASON", "AGE"]
    for wfe in found:
        first = [wfe.metadata.namespace] if with_namespace else []
        yield [
            *first,
            wfe.metadata.name,
            wfe.phase,
            show.workflow(wfe),
            wfe.spec.target_resource,
            wfe.status.duration,
            show.reason(wfe),
            show.since(wfe.metadata.creation_timestamp),
        ]
