"""`kubernaut audit spool`: what waits or was refused in a directory of journals."""

import os
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer

from kubernaut.audit import JournalError
from kubernaut.audit.spool import JournalGoneError, SpooledEvent
from kubernaut.cli import _spool_retry
from kubernaut.cli._audit_directory import Directory, ending_well
from kubernaut.cli._audit_show import OutputForm
from kubernaut.cli._failure import fail
from kubernaut.cli._printable import printable
from kubernaut.cli._spool_look import CODES, Look
from kubernaut.cli._spool_show import STATES, EventRows, JournalRows, StateName, line_of

app = typer.Typer(
    no_args_is_help=True,
    help="Look at the events that a directory of journals holds, and send refused ones again. "
    "Nothing is ever deleted. It does not matter whether a process has the directory in use.",
)
StateOption = Annotated[StateName, typer.Option(help="Which events.")]


@app.command(
    "status",
    help=f"""Show each journal: whether a process has it in use, counts, size, and the oldest event.

`recorded` is `delivered` + `pending` + `quarantined`, over restarts. Bytes are those of the files.
{CODES}

Example: kubernaut audit spool status --check""",
)
def status(
    *,
    directory: Directory = None,
    check: Annotated[
        bool, typer.Option("--check", help="Count everything anew, and check the files.")
    ] = False,
    output: OutputForm = None,
) -> None:
    with ending_well():
        look = Look(directory)
        rows = JournalRows(output)
        for journal in look.journals:
            try:
                found = journal.status()
                wrong = journal.check() if check else []
            except JournalGoneError:
                continue  # Its counts are in the journal that took it over.
            except JournalError as error:
                rows.damaged(journal.name, str(error))
                look.failed(journal, error)
                continue
            if found.tally.unaccounted and not check:
                wrong = [f"unaccounted: {found.tally.unaccounted} instead of 0"]
            rows.add(journal.name, found, wrong)
            for each in wrong:
                look.failed(journal, JournalError(each))
        rows.end()
    look.end()


@app.command(
    "list",
    help=f"""List the events that wait or were refused.
{CODES}

\b
Examples:
  kubernaut audit spool list --state quarantined
  kubernaut audit spool list --output ndjson | jq -r .reason | sort | uniq -c""",
)
def list_events(
    *, state: StateOption = StateName.ALL, directory: Directory = None, output: OutputForm = None
) -> None:
    with ending_well():
        look = Look(directory)
        rows = EventRows(output)
        for journal in look.journals:
            try:
                for event in journal.events(*STATES[state]):
                    rows.add(journal.name, event)
            except JournalError as error:
                look.failed(journal, error)
        rows.end()
    look.end()


@app.command(
    "show",
    help=f"""Show an event in whole, as JSON: where it is, why it was refused, and itself.
{CODES}

Example: kubernaut audit spool show 01a213b3-8e38-7769-96df-2834873bdfcb""",
)
def show(
    event_id: Annotated[UUID, typer.Argument(metavar="EVENT_ID", show_default=False)],
    *,
    directory: Directory = None,
) -> None:
    with ending_well():
        look = Look(directory)
        found = 0
        for journal in look.journals:
            try:
                events = journal.find(event_id)
            except JournalError as error:
                look.failed(journal, error)
                continue
            for event in events:
                found += 1
                _print_whole(journal.name, event)
        if not found:
            fail(f"no event {event_id} in {look.directory}: it never came here, or was delivered")
    look.end()


def _print_whole(journal: str, event: SpooledEvent) -> None:
    text = msgspec.json.format(msgspec.json.encode(line_of(journal, event, whole=True)), indent=2)
    lines = text.decode(errors="replace").splitlines()
    if sys.stdout.isatty():
        lines = [printable(line) for line in lines]
    sys.stdout.write("\n".join(lines) + "\n")


@app.command(
    "export",
    help=f"""Write whole events as NDJSON, as they are sent; `kubernaut audit record -` takes them.
{CODES}

Example: kubernaut audit spool export --state quarantined --file refused.ndjson""",
)
def export(
    *,
    state: StateOption = StateName.ALL,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A new file, for this user only.",
            show_default="standard output",
        ),
    ] = None,
    directory: Directory = None,
) -> None:
    with ending_well():
        look = Look(directory)
        try:
            if file is None:
                _export(look, state, sys.stdout.fileno())
            else:
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                _export(look, state, fd)
                os.fsync(fd)
        except BrokenPipeError:
            raise
        except OSError as error:
            fail(f"{file or 'standard output'}: {error.strerror}")
    look.end()


def _export(look: Look, state: StateName, fd: int) -> None:
    with os.fdopen(fd, "wb", closefd=False) as out:
        for journal in look.journals:
            try:
                for event in journal.events(*STATES[state]):
                    out.write(event.body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
            except JournalError as error:
                look.failed(journal, error)


app.command("retry", help=_spool_retry.HELP)(_spool_retry.retry)
