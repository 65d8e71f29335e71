"""How a journal's file is laid out, and how its rows are read."""

import sqlite3
from typing import Any, Final
from uuid import UUID

from kubernaut.audit._entries import Entry, Quarantined, Tally

SCHEMA_VERSION: Final = 2
"""Version 1 was never released."""
SCHEMA: Final = """
CREATE TABLE pending (
    position INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL UNIQUE,
    correlation_id TEXT NOT NULL,
    own_id INTEGER NOT NULL,
    recorded_at REAL NOT NULL,
    refusals INTEGER NOT NULL,
    first_refused_at REAL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE quarantine (
    event_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    correlation_id TEXT NOT NULL,
    own_id INTEGER NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    times INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    PRIMARY KEY (event_id, digest)
) STRICT;
CREATE TABLE adopted (name TEXT PRIMARY KEY) STRICT;
CREATE TABLE tally (
    recorded INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL DEFAULT 0,
    duplicate INTEGER NOT NULL DEFAULT 0,
    unconfirmed INTEGER NOT NULL DEFAULT 0,
    own_conflicts INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    pending_bytes INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    last_position INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO tally DEFAULT VALUES;
PRAGMA user_version = 2;
"""
_BEFORE_ALL: Final = -1
_COLUMNS: Final = Tally.__struct_fields__
SET_TALLY: Final = "UPDATE tally SET " + ", ".join(f"{name} = ?" for name in _COLUMNS)  # noqa: S608
_GET_TALLY: Final = f"SELECT {', '.join(_COLUMNS)} FROM tally"  # noqa: S608
_PENDING: Final = (
    f"SELECT {', '.join(Entry._fields)} FROM pending"  # noqa: S608
    " WHERE position > ? ORDER BY position LIMIT ?"
)
_PENDING_WITH_ID: Final = f"SELECT {', '.join(Entry._fields)} FROM pending WHERE event_id = ?"  # noqa: S608
_QUARANTINED: Final = f"SELECT {', '.join(Quarantined._fields)} FROM quarantine"  # noqa: S608
_QUARANTINE_PAGE: Final = (
    f"SELECT rowid, {', '.join(Quarantined._fields)} FROM quarantine"  # noqa: S608
    " WHERE rowid > ? ORDER BY rowid LIMIT ?"
)


def read_tally_row(connection: sqlite3.Connection) -> Tally:
    """The counts."""
    return Tally(*connection.execute(_GET_TALLY).fetchone())


def select_adopted(connection: sqlite3.Connection) -> set[str]:
    """The names of journals whose events are in this one."""
    return {name for (name,) in connection.execute("SELECT name FROM adopted")}


def select_pending(
    connection: sqlite3.Connection, after: int | None, limit: int, max_bytes: int
) -> list[Entry]:
    """Pending events by position; see `Journal.read`."""
    entries: list[Entry] = []
    size = 0
    for row in connection.execute(_PENDING, (_BEFORE_ALL if after is None else after, limit)):
        entry = _entry(row)
        entries.append(entry)
        size += len(entry.body)
        if size > max_bytes:
            break
    return entries


def select_quarantined(
    connection: sqlite3.Connection, event_ids: list[UUID] | None
) -> list[Quarantined]:
    """Events in quarantine; see `Journal.quarantined`."""
    rows: list[tuple[Any, ...]] = []
    if event_ids is None:
        rows = connection.execute(f"{_QUARANTINED} ORDER BY first_at, rowid").fetchall()
    for event_id in event_ids or ():
        rows += connection.execute(
            f"{_QUARANTINED} WHERE event_id = ?", (event_id.bytes,)
        ).fetchall()
    return [_quarantined(row) for row in rows]


def select_pending_with_id(connection: sqlite3.Connection, event_id: UUID) -> list[Entry]:
    """The pending event with an id, if there is one."""
    return [_entry(row) for row in connection.execute(_PENDING_WITH_ID, (event_id.bytes,))]


def select_quarantine_page(
    connection: sqlite3.Connection, after: int, limit: int, max_bytes: int
) -> list[tuple[int, Quarantined]]:
    """Events in quarantine by the order in which they came there, each with its place in it."""
    found: list[tuple[int, Quarantined]] = []
    size = 0
    for row in connection.execute(_QUARANTINE_PAGE, (after, limit)):
        event = _quarantined(row[1:])
        found.append((row[0], event))
        size += len(event.body)
        if size > max_bytes:
            break
    return found


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(row[0], UUID(bytes=row[1]), row[2], bool(row[3]), *row[4:])


def _quarantined(row: tuple[Any, ...]) -> Quarantined:
    return Quarantined(UUID(bytes=row[0]), row[1], bool(row[2]), *row[3:])
