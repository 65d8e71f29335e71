"""How journals and the events in them are shown."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec
from rich.filesize import decimal
from rich.text import Text

from kubernaut.audit.spool import JournalStatus, SpooledEvent, State
from kubernaut.cli._audit_show import Output, Shown, chosen, ndjson

_ROWS_AT_ONCE: Final = 200


class StateName(StrEnum):
    """Which events of a journal."""

    PENDING = "pending"
    QUARANTINED = "quarantined"
    ALL = "all"


STATES: Final[dict[StateName, tuple[State, ...]]] = {
    StateName.PENDING: ("pending",),
    StateName.QUARANTINED: ("quarantined",),
    StateName.ALL: (),
}


class JournalLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A journal; without counts if it is damaged."""

    journal: str
    in_use: bool | None = None
    recorded: int | None = None
    delivered: int | None = None
    pending: int | None = None
    quarantined: int | None = None
    bytes: int | None = None
    oldest_seconds: float | None = None
    wrong: list[str] = []


class EventLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event in a journal."""

    journal: str
    state: State
    event_id: str
    correlation_id: str
    event_type: str | None = None
    recorded_at: datetime | None = None
    refusals: int | None = None
    first_refused_at: datetime | None = None
    last_refused_at: datetime | None = None
    reason: str | None = None
    event: msgspec.Raw | None = None


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def line_of(journal: str, event: SpooledEvent, *, whole: bool = False) -> EventLine:
    """An event as a line, with its JSON in it if it is wanted whole."""
    return EventLine(
        journal,
        event.state,
        str(event.event_id),
        event.correlation_id,
        event.event_type,
        _moment(event.recorded_at),
        event.refusals or None,
        _moment(event.first_refused_at),
        _moment(event.last_refused_at),
        event.reason,
        msgspec.Raw(event.body) if whole else None,
    )


class JournalRows:
    """Shows journals, all at once."""

    def __init__(self, output: Output | None) -> None:
        self._as_table = chosen(output) is Output.TABLE
        self._lines: list[JournalLine] = []

    def add(self, name: str, found: JournalStatus, wrong: list[str]) -> None:
        """Show a journal, and what is wrong with it."""
        tally, oldest = found.tally, found.oldest_pending_at
        age = None if oldest is None else max(0.0, datetime.now(UTC).timestamp() - oldest)
        self._lines.append(
            JournalLine(
                name,
                found.in_use,
                tally.recorded,
                tally.delivered,
                tally.pending,
                tally.quarantined,
                found.file_bytes,
                None if age is None else round(age, 3),
                wrong,
            )
        )

    def damaged(self, name: str, why: str) -> None:
        """Show a journal that cannot be read."""
        self._lines.append(JournalLine(name, wrong=[why]))

    def end(self) -> None:
        """Nothing follows."""
        if not self._as_table:
            for line in self._lines:
                ndjson(line)
            return
        table = Shown(
            [
                ("journal", 32, 11),
                ("in use", 7, 7),
                ("recorded", 10, 8),
                ("delivered", 10, 9),
                ("pending", 10, 7),
                ("refused", 10, 7),
                ("size", 9, 9),
                ("oldest", 9, 7),
            ]
        )
        table.rows(map(_journal_row, self._lines))
        if not self._lines:
            table.console.print("no journals")


def _journal_row(line: JournalLine) -> list[str | Text]:
    name = line.journal.removesuffix(".journal")
    if line.in_use is None:
        return [name, Text("damaged", style="red"), *[""] * 6]
    state = Text("damaged", style="red") if line.wrong else Text("yes" if line.in_use else "no")
    counts = (line.recorded, line.delivered, line.pending, line.quarantined)
    size = decimal(line.bytes or 0)
    return [name, state, *map(str, counts), size, _age(line.oldest_seconds)]


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


class EventRows:
    """Shows events as they are found."""

    def __init__(self, output: Output | None) -> None:
        self._rows: list[list[str | Text]] = []
        self._table = (
            Shown(
                [
                    ("state", 11, 11),
                    ("id", 36, 18),
                    ("type", None, None),
                    ("correlation", None, None),
                    ("first", 19, 10),
                    ("last", 19, 10),
                    ("times", 5, 5),
                    ("reason", None, None),
                ]
            )
            if chosen(output) is Output.TABLE
            else None
        )

    def add(self, journal: str, event: SpooledEvent) -> None:
        """Show an event."""
        if self._table is None:
            ndjson(line_of(journal, event))
            return
        self._rows.append(_event_row(event))
        if len(self._rows) == _ROWS_AT_ONCE:
            self.end()

    def end(self) -> None:
        """Show what was not shown yet."""
        if self._table is not None:
            self._table.rows(self._rows)
            self._rows = []


def _event_row(event: SpooledEvent) -> list[str | Text]:
    """First and last: of refusals; of one that waits, when it was recorded."""
    is_refused = event.state == "quarantined"
    return [
        Text(event.state, style="red" if is_refused else "yellow"),
        str(event.event_id),
        event.event_type or "",
        event.correlation_id,
        _shown(event.first_refused_at if is_refused else event.recorded_at),
        _shown(event.last_refused_at),
        str(event.refusals or ""),
        event.reason or "",
    ]


def _shown(seconds: float | None) -> str:
    moment = _moment(seconds)
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")
