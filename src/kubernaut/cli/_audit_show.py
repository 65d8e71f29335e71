"""How events and findings are shown: a table for a person, NDJSON for a program."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from enum import StrEnum
from itertools import islice
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kubernaut.audit import ServerProblemError, TransportError
from kubernaut.audit.wire import StoredEvent
from kubernaut.cli._printable import printable

_ROWS_AT_ONCE: Final = 200
_WIDE: Final = 140
_STYLES: Final = {"success": "green", "failure": "red", "pending": "yellow"}
_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


class Output(StrEnum):
    """A form of the output."""

    TABLE = "table"
    NDJSON = "ndjson"


OutputForm = Annotated[
    Output | None,
    typer.Option(help="The form of the output.", show_default="table on a terminal, else ndjson"),
]


def chosen(output: Output | None) -> Output:
    """The form that was asked for, or the one that fits where the output goes."""
    if output is not None:
        return output
    return Output.TABLE if sys.stdout.isatty() else Output.NDJSON


def ndjson(document: msgspec.Struct) -> None:
    """Write a document as one line of JSON, with payloads as they are stored.

    A line break can stand in a payload's white space only, where a space means the same.
    """
    line = msgspec.json.encode(document).translate(_LINE_BREAKS)
    sys.stdout.buffer.write(line + b"\n")


class _Console(Console):
    """A console whose reader may go, as everywhere else in the command."""

    def on_broken_pipe(self) -> None:
        """Go on with the exception, in place of ending the process."""
        raise  # noqa: PLE0704  (called while it is handled)


class Shown:
    """A table that goes on: rows below rows, with columns of the same width, headed once."""

    def __init__(self, columns: Sequence[tuple[str, int | None, int | None]]) -> None:
        """Take the columns: heading, width where the terminal is wide, width where it is not.

        A column without a width shares the room that the others leave.
        """
        self.console = _Console(highlight=False, markup=False, emoji=False)
        wide = self.console.width >= _WIDE
        self._columns = [(name, broad if wide else narrow) for name, broad, narrow in columns]
        self._headed = False

    def rows(self, rows: Iterable[Sequence[str | Text]]) -> None:
        """Print rows; nothing is cut off, long values go on in the next line."""
        table = Table(box=None, expand=True, pad_edge=False, show_header=not self._headed)
        for name, width in self._columns:
            ratio = 1 if width is None else None
            table.add_column(name, width=width, ratio=ratio, overflow="fold")
        for row in rows:
            table.add_row(
                *(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row)
            )
        if table.row_count:
            self._headed = True
            self.console.print(table)
            self.console.file.flush()


class EventTable(Shown):
    """Events, one a row."""

    def __init__(self) -> None:
        super().__init__(
            [
                ("time", 23, 12),
                ("type", None, None),
                ("outcome", 7, 7),
                ("resource", None, None),
                ("correlation", None, None),
                ("id", 36, 18),
            ]
        )

    def events(self, events: Iterable[StoredEvent]) -> None:
        """Print events."""
        self.rows(_row(event) for event in events)


def _row(event: StoredEvent) -> Sequence[str | Text]:
    moment = event.event_timestamp.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    outcome = Text(printable(event.event_outcome), style=_STYLES.get(event.event_outcome, ""))
    resource = f"{event.resource_type}/{event.resource_id}"
    return (
        moment,
        event.event_type,
        outcome,
        resource,
        event.correlation_id,
        str(event.event_id),
    )


class Events:
    """Shows events as they come."""

    def __init__(self, output: Output | None) -> None:
        self._table = EventTable() if chosen(output) is Output.TABLE else None

    def show(self, events: Iterable[StoredEvent]) -> int:
        """Show events; how many there were."""
        count = 0
        for some in _portions(events):
            count += len(some)
            if self._table is not None:
                self._table.events(some)
                continue
            for event in some:
                ndjson(event)
            sys.stdout.buffer.flush()
        return count


def _portions(events: Iterable[StoredEvent]) -> Iterator[list[StoredEvent]]:
    """The events by the hundred; those that came before a failure too, and then the failure."""
    remaining = iter(events)
    failure: Exception | None = None
    while failure is None:
        some: list[StoredEvent] = []
        try:
            some.extend(islice(remaining, _ROWS_AT_ONCE))
        except (ServerProblemError, TransportError) as error:
            failure = error
        if some:
            yield some
        if failure is None and len(some) < _ROWS_AT_ONCE:
            return
    raise failure
