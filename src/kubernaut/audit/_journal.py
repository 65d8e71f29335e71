"""The journal: events on disk, from `record()` until the server has said what became of them.

One process owns a journal, by a lock on a file beside it (`_spool.py`), and is the only one to add
and to settle events; the command line may put quarantined ones back.

Invariants, each kept by the transaction that changes anything:
* An event is in one place: pending, in quarantine, or counted as accepted.
* `Tally.recorded` is the sum of the places, over restarts too: the tally is in the file.
* Events of one correlation leave in the order of their positions. A position is the time of
  recording in microseconds, or one more than the last, so that events of several journals can be
  put in order.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import msgspec

from kubernaut.audit._entries import Entry, Outcome, Quarantined, Tally
from kubernaut.audit._errors import InvalidEventError, JournalError, JournalFullError
from kubernaut.audit._group_commit import Command, GroupCommit
from kubernaut.audit._reserve import Reserve
from kubernaut.audit._rows import (
    SCHEMA,
    SCHEMA_VERSION,
    SET_TALLY,
    read_tally_row,
    select_adopted,
    select_pending,
    select_quarantined,
)
from kubernaut.audit._snapshot import Snapshot, digest

_ROW_OVERHEAD: Final = 200
"""Bytes that an event takes in the file beside its body (measured, rounded up)."""
_SHRINK_FROM: Final = 4096
_SHRINK_PAGES: Final = 1024
_SHRINK_STEPS: Final = 16
_ADOPT_AT_ONCE: Final = 1000

Appended = Literal["new", "known", "reused"]


class Journal(GroupCommit):
    """One journal file.

    Args:
        path: the SQLite file; made where it is missing.
        max_bytes: what pending events may take; beyond, `append` raises `JournalFullError`.
        clock: Unix time in seconds.

    Call `open` before changing anything; reading needs no more than the file.

    Attributes:
        tally: the counts as of the last commit here.
    """

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        super().__init__(path)
        self.max_bytes = max_bytes
        self.reserve = Reserve(path.with_suffix(".reserve"))
        self._clock = clock
        self._seen_version: int | None = None
        self._working = Tally()
        self.tally = Tally()

    def _opened(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT")
        elif version != SCHEMA_VERSION:
            raise JournalError(
                f"the journal {self.path} has version {version}, this audit client reads"
                f" {SCHEMA_VERSION}"
            )
        self._seen_version = None
        self.tally = read_tally_row(connection)

    def _beginning(self, connection: sqlite3.Connection) -> None:
        # It changes when another process has written: somebody put events back from quarantine.
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._seen_version:
            self._seen_version = version
            self._working = read_tally_row(connection)
        else:
            self._working = msgspec.structs.replace(self.tally)

    def _committing(self, connection: sqlite3.Connection) -> None:
        if self._working != self.tally:
            connection.execute(SET_TALLY, msgspec.structs.astuple(self._working))

    def _committed(self) -> None:
        self.tally = self._working

    def _filled(self) -> None:
        self.reserve.release()  # What it was set aside for.

    def append(
        self,
        shot: Snapshot,
        *,
        own_id: bool,
        failed: Callable[[BaseException], None] | None = None,
    ) -> Command[Appended]:
        """Queue an event.

        The result is `new`; `known` if the same is pending already; or `reused` if its id is
        pending with other content: then it is put into quarantine, or, with an own id, counted
        as a conflict of the caller's and otherwise let be.

        Args:
            shot: the event.
            own_id: its id was made by the caller as a function of what happened.
            failed: told if the commit failed, for who does not wait for it.

        Raises (from `commit`):
            JournalFullError: no room.
        """

        def work(connection: sqlite3.Connection) -> Appended:
            self._make_sure_of_room(connection, shot)
            entry = Entry(
                self._next_position(),
                shot.event_id,
                shot.correlation_id,
                own_id,
                self._clock(),
                0,
                None,
                shot.body,
            )
            added = self._add(connection, entry)
            if added == "reused":
                if own_id:
                    self._working.own_conflicts += 1
                    return "known"
                reason = "the id is pending with other content"
                self._refuse(connection, _quarantined(entry, reason, self._clock()))
            return added

        return self.submit(work, failed)

    def _make_sure_of_room(self, connection: sqlite3.Connection, shot: Snapshot) -> None:
        """Raises `JournalFullError` if there is none; what is pending already needs none."""
        if self._working.pending_bytes + len(shot.body) + _ROW_OVERHEAD > self.max_bytes:
            full = (
                f"the journal holds {self._working.pending} events in"
                f" {self._working.pending_bytes} bytes, its cap is {self.max_bytes}"
            )
        elif not self.reserve.hold():
            full = f"the disk of the journal {self.path} is full"
        else:
            return
        known = connection.execute(
            "SELECT body FROM pending WHERE event_id = ?", (shot.event_id.bytes,)
        ).fetchone()
        if known is None or known[0] != shot.body:
            raise JournalFullError(full)

    def _next_position(self) -> int:
        return max(self._working.last_position + 1, int(self._clock() * 1e6))

    def _add(self, connection: sqlite3.Connection, entry: Entry) -> Appended:
        """Put an event among the pending ones, unless its id is there."""
        tally = self._working
        tally.last_position = max(tally.last_position, entry.position)
        inserted = connection.execute(
            "INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
            (entry.position, entry.event_id.bytes, *entry[2:]),
        )
        if not inserted.rowcount:
            (body,) = connection.execute(
                "SELECT body FROM pending WHERE event_id = ?", (entry.event_id.bytes,)
            ).fetchone()
            return "known" if body == entry.body else "reused"
        tally.pending += 1
        tally.pending_bytes += len(entry.body) + _ROW_OVERHEAD
        tally.recorded += 1
        self._leave_quarantine(connection, entry)
        return "new"

    def _leave_quarantine(self, connection: sqlite3.Connection, entry: Entry) -> None:
        """If an event that was refused is recorded again, it is one event, and pending."""
        if not self._working.quarantined:
            return
        key = entry.event_id.bytes, digest(entry.body)
        row = connection.execute(
            "DELETE FROM quarantine WHERE event_id = ? AND digest = ? RETURNING times, first_at",
            key,
        ).fetchone()
        if row is None:
            return
        connection.execute(
            "UPDATE pending SET refusals = ?, first_refused_at = ? WHERE position = ?",
            (*row, entry.position),
        )
        self._working.quarantined -= 1
        self._working.recorded -= 1

    def _refuse(self, connection: sqlite3.Connection, event: Quarantined) -> None:
        """Put an event into quarantine; counted as recorded if it is not there yet."""
        key = event.event_id.bytes, digest(event.body)
        known = connection.execute(
            "UPDATE quarantine SET times = times + ?, reason = ?, first_at = min(first_at, ?),"
            " last_at = max(last_at, ?) WHERE event_id = ? AND digest = ?",
            (event.times, event.reason, event.first_at, event.last_at, *key),
        )
        if not known.rowcount:
            connection.execute(
                "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *event[1:])
            )
            self._working.quarantined += 1
            self._working.recorded += 1

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Take sent events out: counted as accepted, or into quarantine, in one transaction.

        Raises:
            JournalError: nothing was taken out; sending again is safe.
        """
        outcomes = list(outcomes)

        def work(connection: sqlite3.Connection) -> None:
            for outcome in outcomes:
                self._settle(connection, outcome)

        try:
            self.run(work)
        except JournalFullError:
            self.run(work)  # With the room that was set aside.

    def _settle(self, connection: sqlite3.Connection, outcome: Outcome) -> None:
        entry, tally = outcome.entry, self._working
        if not self._remove(connection, entry):
            return  # Settled before.
        match outcome.fate:
            case "quarantined":
                event = _quarantined(entry, outcome.reason or "", self._clock())
                tally.recorded -= 1  # `_refuse` counts it again, if it is not there already.
                self._refuse(connection, event)
            case fate:
                setattr(tally, fate, getattr(tally, fate) + 1)
                tally.own_conflicts += outcome.own_conflict

    def _remove(self, connection: sqlite3.Connection, entry: Entry) -> bool:
        gone = connection.execute("DELETE FROM pending WHERE position = ?", (entry.position,))
        if not gone.rowcount:
            return False
        self._working.pending -= 1
        self._working.pending_bytes -= len(entry.body) + _ROW_OVERHEAD
        return True

    def refuse(self, invalid: InvalidEventError) -> None:
        """Keep an event that `record()` refuses: it counts as recorded and quarantined.

        Raises:
            JournalError: it could not be kept.
        """
        now = self._clock()
        event = Quarantined(
            event_id=invalid.event_id,
            correlation_id=invalid.correlation_id,
            own_id=False,
            body=invalid.body,
            reason=f"invalid: {invalid}",
            times=1,
            first_at=now,
            last_at=now,
        )
        self.run(partial(self._refuse, event=event))

    def retry(self, event_ids: Iterable[UUID] | None = None) -> int:
        """Move events from quarantine back to the end of what is pending; None means all.

        An event whose id is pending with other content stays where it is.

        Returns:
            How many were moved.

        Raises:
            JournalError: none were.
        """
        wanted = None if event_ids is None else list(event_ids)

        def work(connection: sqlite3.Connection) -> int:
            moved = 0
            for event in select_quarantined(connection, wanted):
                entry = Entry(
                    self._next_position(),
                    event.event_id,
                    event.correlation_id,
                    event.own_id,
                    self._clock(),
                    event.times,
                    event.first_at,
                    event.body,
                )
                moved += self._add(connection, entry) == "new"
            return moved

        return self.run(work)

    def adopt(self, other: "Journal") -> int:
        """Take over what the journal of a dead process holds; the caller then removes its file.

        In steps, so that a large journal takes no large transaction. A crash between the two
        commits of a step leaves events in both journals: adopting again finds them known here, or
        sends them once more, which the server answers with `duplicate`.

        Returns:
            How many pending events were taken over.

        Raises:
            JournalError: what was not taken over is still in the other journal.
        """
        taken = 0
        while True:
            while entries := other.read(after=None, limit=_ADOPT_AT_ONCE):
                self.run(partial(self._take, entries=entries))
                other.run(partial(other.give_up, entries=entries))
                taken += len(entries)
            if other.run(partial(other.give_up_rest, heir=self)):
                return taken

    def _take(self, connection: sqlite3.Connection, entries: list[Entry]) -> None:
        after = 0
        for entry in entries:
            position = _free_position(connection, max(entry.position, after + 1))
            after = position
            if self._add(connection, entry._replace(position=position)) == "reused":
                reason = "the id is pending with other content, recorded by another process"
                self._refuse(connection, _quarantined(entry, reason, self._clock()))
                continue
            if entry.refusals:
                connection.execute(
                    "UPDATE pending SET refusals = ?, first_refused_at = ? WHERE position = ?",
                    (entry.refusals, entry.first_refused_at, position),
                )

    def give_up(self, connection: sqlite3.Connection, entries: list[Entry]) -> None:
        """Within a transaction: let go of events that another journal has."""
        for entry in entries:
            self._working.recorded -= self._remove(connection, entry)

    def give_up_rest(self, connection: sqlite3.Connection, heir: "Journal") -> bool:
        """Within a transaction: let another journal have the quarantine and the counts.

        Returns:
            False: somebody has put events back from quarantine meanwhile; they come first.
        """
        if self._working.pending:
            return False
        refused = select_quarantined(connection, None)
        names = {self.path.name, *select_adopted(connection)}
        heir.run(partial(heir._take_rest, refused=refused, tally=self._working, names=names))  # noqa: SLF001
        return True

    def _take_rest(
        self,
        connection: sqlite3.Connection,
        refused: list[Quarantined],
        tally: Tally,
        names: set[str],
    ) -> None:
        """The dead process's quarantine and counts, and the note that they were taken."""
        for event in refused:
            self._refuse(connection, event)
        mine = self._working
        mine.recorded += tally.delivered
        mine.created += tally.created
        mine.duplicate += tally.duplicate
        mine.unconfirmed += tally.unconfirmed
        mine.own_conflicts += tally.own_conflicts
        connection.executemany(
            "INSERT INTO adopted VALUES (?) ON CONFLICT DO NOTHING", [(name,) for name in names]
        )

    def read(self, *, after: int | None, limit: int, max_bytes: int = 2**63) -> list[Entry]:
        """Pending events by position.

        Args:
            after: the position after which to begin; None: from the first.
            limit: at most so many.
            max_bytes: stop once their bodies are longer.

        Raises:
            JournalError: the file cannot be read.
        """
        with self.reading() as connection:
            return select_pending(
                connection, -(2**62) if after is None else after, limit, max_bytes
            )

    def oldest(self) -> Entry | None:
        """The pending event that is first in line.

        Raises:
            JournalError: the file cannot be read.
        """
        return next(iter(self.read(after=None, limit=1)), None)

    def quarantined(self, event_ids: Iterable[UUID] | None = None) -> list[Quarantined]:
        """Events in quarantine, the first refused first; None means all.

        Raises:
            JournalError: the file cannot be read.
        """
        wanted = None if event_ids is None else list(event_ids)
        with self.reading() as connection:
            return select_quarantined(connection, wanted)

    def read_tally(self) -> Tally:
        """The counts as they are in the file now.

        Raises:
            JournalError: the file cannot be read.
        """
        with self.reading() as connection:
            return read_tally_row(connection)

    def adopted(self) -> set[str]:
        """The names of journals whose events are in this one.

        Raises:
            JournalError: the file cannot be read.
        """
        with self.reading() as connection:
            return select_adopted(connection)

    def refresh(self) -> None:
        """Look whether another process put events back, and give room back to the disk.

        Raises:
            JournalError: the file cannot be read or written.
        """
        self.run(lambda _: None)
        for _ in range(_SHRINK_STEPS):  # In steps: whoever records meanwhile waits for one.
            with self.alone() as connection:
                (free,) = connection.execute("PRAGMA freelist_count").fetchone()
                if free < _SHRINK_FROM:
                    return
                # As a script: it makes rows without columns, of which `execute` would take one.
                connection.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")

    def check(self) -> list[str]:
        """Count everything anew, and say where the tally differs; an empty list is well.

        Raises:
            JournalError: the file cannot be read, or is damaged.
        """
        with self.reading() as connection:
            tally = read_tally_row(connection)
            pending, size = connection.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0) FROM pending"
            ).fetchone()
            (quarantined,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
            (state,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        counted = {
            "pending": (tally.pending, pending),
            "pending_bytes": (tally.pending_bytes, size + pending * _ROW_OVERHEAD),
            "quarantined": (tally.quarantined, quarantined),
            "unaccounted": (tally.unaccounted, 0),
        }
        found = [
            f"{name}: {told} instead of {real}"
            for name, (told, real) in counted.items()
            if told != real
        ]
        return found if state == "ok" else [*found, str(state)]


def _free_position(connection: sqlite3.Connection, position: int) -> int:
    while connection.execute("SELECT 1 FROM pending WHERE position = ?", (position,)).fetchone():
        position += 1
    return position


def _quarantined(entry: Entry, reason: str, now: float) -> Quarantined:
    first = now if entry.first_refused_at is None else entry.first_refused_at
    return Quarantined(
        entry.event_id,
        entry.correlation_id,
        entry.own_id,
        entry.body,
        reason,
        entry.refusals + 1,
        first,
        now,
    )
