"""`kubernaut wfe trail`: the stored events of one, in the order of their chain, and its verdict."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import typer

from kubernaut.audit import Client
from kubernaut.audit.wire import StoredEvent
from kubernaut.cli import _wfe_show as show
from kubernaut.cli._audit_server import asking
from kubernaut.cli._failure import FAILED
from kubernaut.cli._wfe_cluster import Where, ask, read
from kubernaut.workflowexecution import WorkflowExecution, correlation_id_of

_OURS = "workflowexecution."
_PAGE_SIZE = 500


def trail(  # noqa: PLR0913  (the options of a command)
    where: Where,
    namespace: str,
    name: str,
    *,
    whole_chain: bool,
    server: str,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Show it; exit code 1 if the chain is broken, or lacks what the cluster says is stored."""
    wfe = ask(where, lambda client: read(client, name, namespace))
    with asking(server, token_file, ca_file) as client:
        good = tell_trail(client, wfe, typer.echo, whole_chain=whole_chain)
    if not good:
        raise typer.Exit(FAILED)


def tell_trail(
    client: Client,
    wfe: WorkflowExecution,
    say: Callable[[str], object],
    *,
    whole_chain: bool = False,
) -> bool:
    """Tell the trail of one, line by line; whether it is as it should be.

    Args:
        client: of DataStorage.
        wfe: whose.
        say: told each line.
        whole_chain: tell also the events of others in its chain.

    Raises:
        ServerProblemError: DataStorage cannot answer now.
        TransportError: DataStorage does not answer.
    """
    correlation_id = correlation_id_of(wfe)
    found = list(client.query(correlation_id=correlation_id, order="asc", page_size=_PAGE_SIZE))
    found.sort(key=lambda event: (event.chain_seq is None, event.chain_seq or 0))
    own = [event for event in found if _is_of(event, wfe)]
    shown = found if whole_chain else own
    if shown:
        for line in show.table(_rows(shown, whole_chain=whole_chain)):
            say(line)
    complete = bool(own) or not show.is_audited(wfe)
    if not complete:
        say(f"BROKEN: no event of {wfe.metadata.name}, and AuditRecorded says that all are stored")
    verdict = client.verify_chain(correlation_id)
    if verdict.total_events == 0:
        if complete:
            say(f"no event in the chain {correlation_id} yet")
    elif verdict.is_valid:
        say(f"chain verified: {_events(verdict.verified_events)} ({correlation_id})")
    else:
        say(f"chain BROKEN: {verdict.message}: kubernaut audit verify {correlation_id}")
    if not show.is_audited(wfe):
        say(_pending(wfe))
    return complete and verdict.is_valid


def _is_of(event: StoredEvent, wfe: WorkflowExecution) -> bool:
    """Whether an event is about this object, and not about another in its chain."""
    named = (event.resource_type, event.resource_id)
    same_place = event.namespace in (None, wfe.metadata.namespace)
    return named == ("WorkflowExecution", wfe.metadata.name) and same_place


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"


def _pending(wfe: WorkflowExecution) -> str:
    for condition in wfe.status.conditions:
        if condition.type == "AuditRecorded":
            return f"not complete yet: {condition.message}"
    return "not complete yet: it has not come to its end"


def _rows(events: Sequence[StoredEvent], *, whole_chain: bool) -> Iterator[list[str]]:
    head = ["SEQ", "TIME", "EVENT", "OUTCOME", "FACTS"]
    yield [*head[:3], "RESOURCE", *head[3:]] if whole_chain else head
    for event in events:
        row = [
            "" if event.chain_seq is None else str(event.chain_seq),
            f"{event.event_timestamp.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            event.event_type if whole_chain else event.event_type.removeprefix(_OURS),
            event.event_outcome,
            _facts(event),
        ]
        if whole_chain:
            row.insert(3, f"{event.resource_type}/{event.resource_id}")
        yield row


def _facts(event: StoredEvent) -> str:
    """What the payload tells beyond the type, in a few words."""
    data = event.data

    def told(member: str) -> str:
        value: Any = data.get(member)
        return "" if value is None else str(value)

    match event.event_type.removeprefix(_OURS):
        case "selection.completed":
            workflow = told("workflow_name") or told("workflow_id")
            return f"{workflow} {told('workflow_version')} for {told('target_resource')}"
        case "execution.started" | "workflow.started":
            return told("pipelinerun_name")
        case "workflow.completed":
            return f"after {told('duration')}" if told("duration") else ""
        case "workflow.failed":
            word = f"{told('failure_reason')}: ".removeprefix("Unknown: ")
            return show.short(f"{word}{told('failure_message')}")
    return show.short(told("reason") or told("token"))
