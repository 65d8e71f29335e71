"""`kubernaut audit record`: events into the journal of a directory, and on to the server."""

import asyncio
import math
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer

from kubernaut.audit import AuditStore, Endpoint
from kubernaut.cli._audit_directory import (
    DIRECTORY_HELP,
    Directory,
    default_directory,
    ending_well,
    forget_output,
)
from kubernaut.cli._audit_server import DEFAULT_SERVER, SERVER_HELP, CaFile, Server, TokenFile
from kubernaut.cli._audit_show import Output, OutputForm, Shown, chosen, ndjson
from kubernaut.cli._failure import FAILED, fail, tell
from kubernaut.cli._lines import Lines
from kubernaut.cli._recorder import MOST_BYTES, Event, NotKeptError, Recorded, Recorder

_USAGE: Final = 2
_LOOK_SECONDS: Final = 0.05

HELP: Final = f"""Record events so that none is lost: one from options, or many from standard input.

An event is put into the journal of the directory, on disk, and then sent to the server. If the
server is away, the event stays in the journal, and the next `record`, or whatever program uses the
directory, sends it. With - (or no options and a pipe) each line of standard input is an event as
JSON; a line that is none is named on standard error, and the others go on.

One line of output for each event, in their order: its id, and its outcome: created, duplicate,
pending (it waits in the journal), quarantined (it was refused, and is kept). Whatever is shown is
on disk. On a terminal: a table. Elsewhere: NDJSON.
{SERVER_HELP.rstrip()}
{DIRECTORY_HELP.strip(chr(10))}

Exit codes: 0 all events are in the journal at least (with --mode strict: on the server); 1 a line
or event was refused, or the journal took no more; 2 the command line is wrong or the directory
cannot be used; 130 Ctrl-C.

\b
Examples:
  kubernaut audit record --category workflow --action workflow.started --correlation-id rr-7
  kubernaut audit record --category workflow --action step --data '{{"step": 3}}' --outcome failure
  my-program | kubernaut audit record - --timeout 30"""


class RecordMode(StrEnum):
    """How sure to be; best effort is not for a command, whose process ends."""

    DURABLE = "durable"
    STRICT = "strict"


def _text(*names: str, help: str) -> Any:  # noqa: A002  (typer's name for it)
    return typer.Option(*names, metavar="TEXT", help=help)


def record(  # noqa: PLR0913  (its options)
    *,
    source: Annotated[
        str | None,
        typer.Argument(metavar="-", help="-: events from standard input.", show_default=False),
    ] = None,
    category: Annotated[
        str | None, _text("--category", "--event-category", help="Category of the event.")
    ] = None,
    action: Annotated[
        str | None, _text("--action", "--event-action", help="What was done.")
    ] = None,
    event_type: Annotated[
        str | None, _text("--type", "--event-type", help="Its type; made from the action.")
    ] = None,
    outcome: Annotated[
        str | None, _text("--outcome", "--event-outcome", help="success, failure or pending.")
    ] = None,
    correlation_id: Annotated[str | None, _text("--correlation-id", help="Its chain.")] = None,
    resource_type: Annotated[
        str | None, _text("--resource-type", help="Done to what kind.")
    ] = None,
    resource_id: Annotated[str | None, _text("--resource-id", help="Done to which.")] = None,
    namespace: Annotated[str | None, _text("--namespace", help="Of Kubernetes.")] = None,
    cluster_id: Annotated[str | None, _text("--cluster-id", help="Of Kubernetes.")] = None,
    actor_type: Annotated[str | None, _text("--actor-type", help="Done by what kind.")] = None,
    actor_id: Annotated[str | None, _text("--actor-id", help="Done by whom.")] = None,
    severity: Annotated[str | None, _text("--severity", help="How severe.")] = None,
    duration_ms: Annotated[int | None, typer.Option(help="How long it took.")] = None,
    error_code: Annotated[str | None, _text("--error-code", help="What went wrong.")] = None,
    error_message: Annotated[
        str | None, _text("--error-message", help="The same at length.")
    ] = None,
    parent_event_id: Annotated[
        UUID | None, typer.Option(metavar="UUID", help="The event that led to it.")
    ] = None,
    parent_event_date: Annotated[
        str | None, typer.Option(metavar="TIME", help="When that happened (RFC 3339).")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="Its payload, an object.")
    ] = None,
    event_id: Annotated[
        UUID | None,
        typer.Option(metavar="UUID", help="Its id, which makes it safe to record it again."),
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it happened (RFC 3339).")
    ] = None,
    directory: Directory = None,
    mode: Annotated[
        RecordMode, typer.Option(help="strict: wait until the server has the event.")
    ] = RecordMode.DURABLE,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the server.")
    ] = 5.0,
    output: OutputForm = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    given = {
        "event_category": category,
        "event_action": action,
        "event_type": event_type,
        "event_outcome": outcome,
        "correlation_id": correlation_id,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "namespace": namespace,
        "cluster_id": cluster_id,
        "actor_type": actor_type,
        "actor_id": actor_id,
        "severity": severity,
        "duration_ms": duration_ms,
        "error_code": error_code,
        "error_message": error_message,
        "parent_event_id": parent_event_id,
        "parent_event_date": parent_event_date,
        "event_data": data,
        "event_id": event_id,
        "event_timestamp": timestamp,
    }
    event = _event({name: value for name, value in given.items() if value is not None}, source)
    try:
        endpoint = Endpoint(server, token_file, ca_file)
    except ValueError as error:
        fail(str(error), _USAGE)
    where = directory or default_directory()
    with ending_well():
        store = AuditStore(endpoint, where, strict_timeout=timeout)
        _Run(store, where, mode, timeout, _Telling(output)).run(event)


def _event(given: dict[str, Any], source: str | None) -> Event | None:
    """The event of the options; None: they come from standard input."""
    if source not in (None, "-"):
        fail(
            f"{source!r} is not understood; events come from options or, with -, from a pipe",
            _USAGE,
        )
    if source is None and given:
        for name, option in (("event_category", "--category"), ("event_action", "--action")):
            if name not in given:
                fail(f"{option} is missing: an event needs --category and --action", _USAGE)
        if "event_id" in given and "event_timestamp" not in given:
            fail("--event-id needs --timestamp: recorded again, it must be the same event", _USAGE)
        if "event_data" in given:
            given["event_data"] = _payload(given["event_data"])
        return given
    if given:
        fail("events come from options or from standard input, not from both", _USAGE)
    if source is None and sys.stdin.isatty():
        fail("nothing to record: --category and --action are missing, or events in a pipe", _USAGE)
    return None


def _payload(text: str) -> msgspec.Raw:
    """The payload as it is written, which is how it will be stored."""
    try:
        found = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        msgspec.json.decode(found)
    except OSError as error:
        fail(f"--data: {text[1:]}: {error.strerror}", _USAGE)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        fail(f"--data is not JSON: {error}", _USAGE)
    return msgspec.Raw(found.strip())


class _Telling:
    """Shows what became of events, for as long as somebody reads it."""

    def __init__(self, output: Output | None) -> None:
        self._is_read = True
        self._table = (
            Shown([("line", 7, 5), ("id", 36, 36), ("outcome", 11, 11), ("reason", None, None)])
            if chosen(output) is Output.TABLE
            else None
        )

    def __call__(self, some: Sequence[Recorded]) -> None:
        if not self._is_read:
            return
        try:
            if self._table is not None:
                self._table.rows(
                    (str(each.line), str(each.event_id), each.outcome, each.reason or "")
                    for each in some
                )
                return
            for each in some:
                ndjson(each)
            sys.stdout.flush()
        except OSError:  # Events are not to be lost for that.
            self._is_read = False
            forget_output()


class _Run:
    """One run of the command, on an open store."""

    def __init__(
        self, store: AuditStore, directory: Path, mode: RecordMode, timeout: float, shown: _Telling
    ) -> None:
        self._store = store
        self._directory = directory
        self._mode = mode
        self._timeout = timeout
        self._recorder = Recorder(
            store,
            mode.value,
            timeout,
            tell=shown,
            complain=lambda line, why: tell(f"line {line}: {why}"),
        )

    def run(self, event: Event | None) -> None:
        """Record the event, or those on standard input; then end the command."""
        lost = None
        try:
            with asyncio.Runner() as runner:
                try:
                    if event is None:
                        self._record_input(runner)
                    else:
                        self._recorder.record([(1, event)], runner)
                except NotKeptError as error:
                    lost = error
            deadline = time.monotonic() + self._timeout
            self._recorder.tell_all(deadline)
            self._store.close(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            self._recorder.tell_known(math.inf)
            raise
        finally:
            self._store.close(0)
        self._end(lost)

    def _record_input(self, runner: asyncio.Runner) -> None:
        lines = Lines(sys.stdin.fileno(), MOST_BYTES)
        while True:
            if not lines.ready(_LOOK_SECONDS if self._recorder.waits else None):
                self._recorder.tell_known()
                continue
            some = lines.read()
            if some is None:
                return
            self._recorder.record_lines(some, runner)

    def _end(self, lost: NotKeptError | None) -> None:
        recorder = self._recorder
        if recorder.pending:
            why = self._store.stats().last_error or "the time was up"
            tell(f"{recorder.pending} events wait in {self._directory}: {why}")
        if lost is not None:
            fail(f"not kept: {_lines(lost.lines)}, and nothing after that was read: {lost}")
        if recorder.refused or (recorder.pending and self._mode is RecordMode.STRICT):
            raise typer.Exit(FAILED)


def _lines(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    return f"{len(numbers)} events of lines {numbers[0]} to {numbers[-1]}"
