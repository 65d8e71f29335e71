"""`kubernaut audit query`: stored events by filters."""

from contextlib import closing
from itertools import islice
from typing import Annotated, Any, Final

import typer

from kubernaut.audit import EventFilter
from kubernaut.cli._audit_server import (
    DEFAULT_SERVER,
    SERVER_HELP,
    CaFile,
    CorrelationId,
    DetailKey,
    DetailValue,
    EventCategory,
    EventOutcome,
    EventType,
    Server,
    Severity,
    TokenFile,
    asking,
)
from kubernaut.cli._audit_show import Events, OutputForm

_PAGE_SIZE: Final = 500

HELP: Final = f"""Find stored events, and show all that match.

Filters are joined by "and". Times are RFC 3339 (2026-11-24T09:30:00Z), a UTC date, or a span before
now (24h, 7d); both ends count. On a terminal: a table with times in UTC. Elsewhere: NDJSON, one
stored event a line, its payload byte for byte but for line breaks in white space, which are spaces.
{SERVER_HELP}
Exit codes: 0 done, whether or not something was found; 2 the command line is wrong or there was no
answer, one line says why; 130 Ctrl-C; 141 the reader of the output has gone.

\b
Examples:
  kubernaut audit query --correlation-id rr-7 --order asc
  kubernaut audit query --event-outcome failure --since 24h --limit 20
  kubernaut audit query --since 7d > events.ndjson"""

Since = Annotated[str | None, typer.Option(metavar="TIME", help="Not before this time.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Not after this time.")]
Order = Annotated[str, typer.Option(metavar="asc|desc", help="Oldest first, or newest first.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=1, help="How many at most.", show_default="all"),
]


def filters(**wanted: Any) -> EventFilter:
    """The filters of options, whose values the server judges."""
    found: EventFilter = {}
    found.update(wanted)  # type: ignore[typeddict-item]  # their names are those of options
    return found


def query(  # noqa: PLR0913  (its options)
    *,
    correlation_id: CorrelationId = None,
    event_type: EventType = None,
    event_category: EventCategory = None,
    event_outcome: EventOutcome = None,
    severity: Severity = None,
    since: Since = None,
    until: Until = None,
    detail_key: DetailKey = None,
    detail_value: DetailValue = None,
    order: Order = "desc",
    limit: Limit = None,
    output: OutputForm = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    wanted = filters(
        correlation_id=correlation_id,
        event_type=event_type,
        event_category=event_category,
        event_outcome=event_outcome,
        severity=severity,
        since=since,
        until=until,
        detail_key=detail_key,
        detail_value=detail_value,
        order=order,
        page_size=_PAGE_SIZE if limit is None else min(limit, _PAGE_SIZE),
    )
    with asking(server, token_file, ca_file) as client, closing(client.query(**wanted)) as found:
        Events(output).show(islice(found, limit))
