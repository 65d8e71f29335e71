"""`kubernaut audit spool retry`: refused events are sent again."""

from typing import Annotated, Final
from uuid import UUID

import typer

from kubernaut.audit import AuditStore, Endpoint, JournalError
from kubernaut.audit.spool import JournalFile, journals
from kubernaut.cli._audit_directory import Directory, ending_well
from kubernaut.cli._audit_server import CaFile, TokenFile
from kubernaut.cli._failure import fail, tell
from kubernaut.cli._spool_look import CODES, Look

_USAGE: Final = 2

HELP: Final = f"""Put events from quarantine back to those that wait; they are sent again.

By the process that has their journal in use; if there is none, by the next store on the directory,
or at once where a server is given. An event that is refused again is in quarantine again.
{CODES}

\b
Examples:
  kubernaut audit spool retry 01a213b3-8e38-7769-96df-2834873bdfcb
  kubernaut audit spool retry --all --server https://datastorage:8080"""


def retry(  # noqa: PLR0913  (its options)
    event_ids: Annotated[
        list[UUID] | None, typer.Argument(metavar="EVENT_ID...", show_default=False)
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that is in quarantine.")] = False,
    directory: Directory = None,
    server: Annotated[
        str | None,
        typer.Option(
            envvar="KUBERNAUT_AUDIT_SERVER", metavar="URL", help="Deliver now, to this server."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to deliver at most.")
    ] = 5.0,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    if bool(event_ids) == everything:
        fail("name the events to send again, or --all", _USAGE)
    try:
        endpoint = None if server is None else Endpoint(server, token_file, ca_file)
    except ValueError as error:
        fail(str(error), _USAGE)
    with ending_well():
        look = Look(directory)
        _retry(look, event_ids or None)
        if endpoint is not None:
            _deliver(look, endpoint, timeout)
    look.end()


def _retry(look: Look, wanted: list[UUID] | None) -> None:
    missing = dict.fromkeys(wanted or ())
    moved = 0
    for journal in look.journals:
        try:
            here = None if wanted is None else _in_quarantine(journal, wanted)
            if here is None or here:
                moved += journal.retry(here)
        except JournalError as error:
            look.failed(journal, error)
            continue
        for event_id in here or ():
            missing.pop(event_id, None)
    for event_id in missing:
        tell(f"no event {event_id} is in quarantine in {look.directory}")
        look.is_whole = False
    typer.echo(f"{moved} of the events in quarantine will be sent again")


def _in_quarantine(journal: JournalFile, wanted: list[UUID]) -> list[UUID]:
    return [
        event_id
        for event_id in dict.fromkeys(wanted)
        if any(event.state == "quarantined" for event in journal.find(event_id))
    ]


def _deliver(look: Look, endpoint: Endpoint, timeout: float) -> None:
    """Deliver what no process is there to deliver."""
    waiting = in_use = 0
    for journal in journals(look.directory):
        try:
            found = journal.status()
        except JournalError:
            continue  # Told of before.
        if found.in_use:
            in_use += found.tally.pending
        else:
            waiting += found.tally.pending
    if in_use:
        typer.echo(f"{in_use} events are sent by the processes that have their journals in use")
    if waiting:
        store = AuditStore(endpoint, look.directory)
        try:
            store.flush(timeout)
        finally:
            flushed = store.close(0)
        typer.echo(f"{flushed.pending} events are pending, {flushed.quarantined} in quarantine")
        if flushed.pending:
            tell(f"not delivered: {store.stats().last_error or 'the time was up'}")
            look.is_whole = False
