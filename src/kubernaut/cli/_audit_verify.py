"""`kubernaut audit verify`: check chains, one or all, and say what is broken."""

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kubernaut.audit import Client
from kubernaut.audit.wire import Finding, Verification
from kubernaut.cli._audit_server import (
    DEFAULT_SERVER,
    NO_ANSWER,
    SERVER_HELP,
    CaFile,
    Server,
    TokenFile,
    asking,
)
from kubernaut.cli._audit_show import Output, OutputForm, Shown, chosen, ndjson
from kubernaut.cli._failure import FAILED, fail

_PAGE_SIZE: Final = 1000

HELP: Final = f"""Verify chains: that nothing in them was changed, cut out or put in.

Takes correlation ids, or with --all-since every correlation that has an event since then (each
chain is verified from its beginning). A correlation without a chain counts as broken here, for
somebody knows of its events; and so does an event that is in no chain (found with --all-since).
On a terminal: a table of what is broken. Elsewhere: NDJSON, one verification a line.
{SERVER_HELP}
Exit codes: 0 every chain is unbroken; 1 one is broken; 2 the command line is wrong or there was no
answer, one line says why; 130 Ctrl-C; 141 the reader of the output has gone.

\b
Examples:
  kubernaut audit verify rr-7 rr-8
  kubernaut audit verify --all-since 24h"""

CorrelationIds = Annotated[
    list[str] | None, typer.Argument(metavar="CORRELATION_ID...", help="Whose chains.")
]
AllSince = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="All with an event since: a time, or a span like 24h."),
]
Timeout = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="For the verification of one chain.")
]


class _Trail:
    """The correlations of a time, and how many events of each are in no chain."""

    def __init__(self) -> None:
        self.unchained: dict[str, int] = {}

    def read(self, client: Client, since: str, tell: Callable[[int], object]) -> None:
        """Read the events of the time, and tell now and then how many there were."""
        events = client.query(since=since, order="asc", page_size=_PAGE_SIZE)
        for number, event in enumerate(events):
            known = self.unchained.get(event.correlation_id, 0)
            self.unchained[event.correlation_id] = known + (event.chain_seq is None)
            if number % _PAGE_SIZE == 0:
                tell(number)


def _judged(found: Verification, unchained: int) -> Verification:
    """What the server found, and what it cannot: no chain at all, events that are in none."""
    findings = dict(found.findings)
    message = found.message
    if unchained:
        findings["unchained"] = unchained
        message = f"{unchained} events are in no chain"
    if found.total_events == 0:
        findings["no_chain"] = 1
        message = found.message
    if findings == found.findings:
        return found
    return msgspec.structs.replace(found, is_valid=False, findings=findings, message=message)


class _Report:
    """Says what was found, chain by chain."""

    def __init__(self, output: Output | None) -> None:
        self._table: Shown | None = None
        if chosen(output) is Output.TABLE:
            self._table = Shown(
                [
                    ("correlation", None, None),
                    ("verdict", 16, 16),
                    ("seq", 10, 6),
                    ("event", 36, 18),
                    ("what is wrong", None, None),
                ]
            )
        self.broken = 0
        self._chains = 0
        self._events = 0

    def shows(self, found: Verification) -> bool:
        """Whether there is something to show of it: all as NDJSON, in a table what is broken."""
        return self._table is None or not found.is_valid

    def add(self, found: Verification) -> None:
        """Show a verification."""
        self._chains += 1
        self._events += found.verified_events
        self.broken += not found.is_valid
        if self._table is None:
            ndjson(found)
            sys.stdout.buffer.flush()
        elif not found.is_valid:
            self._table.rows(_rows(found))

    def end(self) -> None:
        """Say how many there were."""
        if self._table is None:
            return
        chains = "1 chain" if self._chains == 1 else f"{self._chains} chains"
        events = "1 event" if self._events == 1 else f"{self._events} events"
        if self.broken:
            line, style = f"{self.broken} of {chains} broken; {events} verified", "bold red"
        else:
            line, style = f"{chains} unbroken; {events} verified", "bold green"
        self._table.console.print(line, style=style)


def _rows(found: Verification) -> Iterable[tuple[str, str, str, str, str]]:
    for finding in found.tampered_events:
        yield (
            found.correlation_id,
            finding.verdict,
            _seq(finding),
            finding.event_id or "",
            finding.message,
        )
    listed = len(found.tampered_events)
    for verdict, count in found.findings.items():
        if verdict in ("no_chain", "unchained"):
            yield (found.correlation_id, verdict, "", "", found.message)
            listed += count
    more = sum(found.findings.values()) - listed
    if more > 0:
        yield (found.correlation_id, "", "", "", f"and {more} more")


def _seq(finding: Finding) -> str:
    last = finding.last_chain_seq
    return str(finding.chain_seq) if last is None else f"{finding.chain_seq}-{last}"


def verify(  # noqa: PLR0913  (its options)
    correlation_ids: CorrelationIds = None,
    *,
    all_since: AllSince = None,
    timeout: Timeout = 300.0,
    output: OutputForm = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    if bool(correlation_ids) == (all_since is not None):
        fail("give either correlation ids or --all-since", NO_ANSWER)
    report = _Report(output)
    with asking(server, token_file, ca_file, timeout) as client, _progress() as progress:
        trail = _Trail()
        if all_since is not None:
            reading = progress.add_task("events read", total=None)
            trail.read(client, all_since, lambda n: progress.update(reading, completed=n))
            progress.remove_task(reading)
        wanted = correlation_ids or list(trail.unchained)
        verifying = progress.add_task("chains verified", total=len(wanted))
        for correlation_id in wanted:
            found = client.verify_chain(correlation_id)
            found = _judged(found, trail.unchained.get(correlation_id, 0))
            if report.shows(found):
                progress.stop()  # The bar and the findings may be on one terminal.
                report.add(found)
                progress.start()
            else:
                report.add(found)
            progress.advance(verifying)
        progress.stop()
        report.end()
    if report.broken:
        raise typer.Exit(FAILED)


def _progress() -> Progress:
    """How far it is, on standard error and for a person only; gone at the end."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # It would end up on standard error, even that of a pipe.
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
