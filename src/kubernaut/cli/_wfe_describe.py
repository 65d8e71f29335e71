"""`kubernaut wfe describe`: everything about one, in the form of `kubectl describe`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from kubernaut.cli import _wfe_show as show
from kubernaut.cli._printable import printable
from kubernaut.cli._wfe_cluster import Where, ask, read
from kubernaut.cli._wfe_next import next_steps
from kubernaut.kubernetes import EVENTS, Client, Event, ForbiddenError
from kubernaut.workflowexecution import WorkflowExecution

_COLUMN: Final = 15
"""Where values begin, as far as names leave room."""
_RESOURCES: Final = {"tekton": "PipelineRun", "job": "Job", "ansible": "AWX job"}


def describe(where: Where, namespace: str, name: str) -> None:
    """Show one WorkflowExecution and its Events."""
    wfe, events = ask(where, lambda client: _looked(client, namespace, name))
    for line in described(wfe, events):
        typer.echo(line)


async def _looked(
    client: Client, namespace: str, name: str
) -> tuple[WorkflowExecution, list[Event] | None]:
    wfe = await read(client, name, namespace)
    try:
        return wfe, await events_of(client, wfe)
    except ForbiddenError:
        return wfe, None


async def events_of(client: Client, wfe: WorkflowExecution) -> list[Event]:
    """The Events about an object, the oldest first."""
    pages = client.list(
        EVENTS,
        namespace=wfe.metadata.namespace,
        field_selector=f"regarding.uid={wfe.metadata.uid}",
    )
    found = [event async for page in pages for event in page.items]
    return sorted(found, key=_first_seen)


def described(wfe: WorkflowExecution, events: Sequence[Event] | None) -> Iterator[str]:
    """The lines about one; events None: they may not be read."""
    meta = wfe.metadata
    yield from _pairs([("Name", meta.name), ("Namespace", meta.namespace)])
    yield from _map("Labels", meta.labels)
    yield from _map("Annotations", meta.annotations)
    yield from _pairs(
        [("Created", _time(meta.creation_timestamp)), ("Deleted", _time(meta.deletion_timestamp))]
    )
    yield "Spec:"
    yield from _spec(wfe)
    yield "Status:"
    yield from _status(wfe)
    if wfe.status.failure_details is not None:
        yield "Failure:"
        yield from _failure(wfe)
    yield from _conditions(wfe)
    yield from _events(events)
    steps = next_steps(wfe)
    if steps:
        yield "Next:"
        yield from (f"  {printable(step)}" for step in steps)


def _spec(wfe: WorkflowExecution) -> Iterator[str]:
    spec, reference = wfe.spec, wfe.spec.workflow_ref
    workflow = f"{reference.workflow_id} {reference.version}"
    if reference.workflow_name:
        workflow = f"{reference.workflow_name} {reference.version} ({reference.workflow_id})"
    yield from _pairs(
        [
            ("Remediation", spec.remediation_request_ref.name),
            ("Workflow", workflow),
            ("Action", reference.action_type),
            ("Engine", reference.execution_engine or ""),
            ("Bundle", reference.execution_bundle or reference.container_image),
            ("Digest", reference.execution_bundle_digest or reference.container_digest),
            ("Service account", reference.service_account_name or ""),
            ("Target", spec.target_resource),
            ("Cluster", spec.cluster_id),
            ("Times out at", _time(spec.times_out_at)),
            ("Confidence", "" if spec.confidence is None else f"{spec.confidence:g}"),
            ("Rationale", spec.rationale),
        ],
        "  ",
    )
    yield from _map("Parameters", spec.parameters, "  ")


def _status(wfe: WorkflowExecution) -> Iterator[str]:
    status = wfe.status
    engine = wfe.spec.workflow_ref.execution_engine or "tekton"
    child = f"{_RESOURCES[engine]} {status.execution_ref.name}" if status.execution_ref else ""
    said = status.execution_status
    progress = ""
    if said is not None:
        progress = f"{said.completed_tasks} of {said.total_tasks} tasks done; {said.reason}"
        progress += f": {said.message}" if said.message else ""
    yield from _pairs(
        [
            ("Phase", wfe.phase),
            ("Started", _time(status.start_time)),
            ("Ended", _time(status.completion_time)),
            ("Duration", status.duration),
            ("Execution", child),
            ("Engine says", progress),
            ("Deduplicated", f"by {status.deduplicated_by}" if status.deduplicated_by else ""),
            ("Chain", status.correlation_id),
        ],
        "  ",
    )


def _failure(wfe: WorkflowExecution) -> Iterator[str]:
    failure = wfe.status.failure_details
    if failure is None:
        return
    acted = "the workflow may have" if failure.was_execution_failure else "the workflow has not"
    yield from _pairs(
        [
            ("Reason", failure.reason),
            ("Task", failure.failed_task_name),
            ("Step", failure.failed_step_name),
            ("Exit code", "" if failure.exit_code is None else str(failure.exit_code)),
            ("Acted", f"{acted} acted on the target"),
            ("Message", failure.message),
        ],
        "  ",
    )
    if failure.natural_language_summary:
        yield "  Summary:"
        for line in failure.natural_language_summary.splitlines():
            yield f"    {printable(line)}"


def _conditions(wfe: WorkflowExecution) -> Iterator[str]:
    if not wfe.status.conditions:
        yield from _pairs([("Conditions", show.NONE)])
        return
    yield "Conditions:"
    rows = [["Type", "Status", "Reason", "Age", "Message"]]
    rows += [
        [one.type, one.status, one.reason, show.since(one.last_transition_time), one.message]
        for one in wfe.status.conditions
    ]
    yield from show.table(rows, "  ")


def _events(events: Sequence[Event] | None) -> Iterator[str]:
    if not events:
        yield from _pairs([("Events", "<may not be read>" if events is None else show.NONE)])
        return
    yield "Events:"
    rows = [["Type", "Reason", "Age", "From", "Message"]]
    rows += [
        [one.type, one.reason, _event_age(one), one.reporting_controller, one.note]
        for one in events
    ]
    yield from show.table(rows, "  ")


def _event_age(event: Event) -> str:
    """As kubectl: `5s`, or `5s (x3 over 2m)`."""
    first = show.since(event.event_time)
    if event.series is None:
        return first
    last = show.since(event.series.last_observed_time)
    return f"{last} (x{event.series.count} over {first})"


def _first_seen(event: Event) -> tuple[datetime, str]:
    moment = event.event_time or event.metadata.creation_timestamp
    return moment or datetime.min.replace(tzinfo=UTC), event.metadata.name


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%a, %d %b %Y %H:%M:%S} +0000"


def _pairs(pairs: Sequence[tuple[str, str]], indent: str = "") -> Iterator[str]:
    """Names and values, one a line; what has no value is left out."""
    for name, value in pairs:
        if value:
            head = f"{indent}{name}:"
            yield f"{head.ljust(_COLUMN + len(indent))} {printable(value)}".rstrip()


def _map(name: str, members: "dict[str, str]", indent: str = "") -> Iterator[str]:
    """A map, one member a line."""
    head = f"{indent}{name}:".ljust(_COLUMN + len(indent))
    for member, value in members.items():
        yield f"{head} {printable(f'{member}: {value}')}"
        head = " " * len(head)
    if not members:
        yield f"{head} {show.NONE}"
