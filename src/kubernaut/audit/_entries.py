"""What a journal holds, and how it fails."""

from typing import NamedTuple
from uuid import UUID


class JournalError(Exception):
    """The journal could not be read or written.

    Raised by `record()`: the event may or may not be delivered; recording it again with the same
    id is safe.
    """


class JournalFullError(JournalError):
    """The journal is at its cap, or its disk is full; nothing is evicted to make room."""


class IdReusedError(Exception):
    """An event id that is pending with other content."""


class Entry(NamedTuple):
    """A pending event; `body` is its JSON as it will be sent, `recorded_at` is Unix time.

    `position` is its place in the journal, and never anybody else's.
    """

    position: int
    event_id: UUID
    correlation_id: str
    digest: bytes
    own_id: bool
    recorded_at: float
    body: bytes


class Quarantined(NamedTuple):
    """An event that the server or `record()` refused; times in Unix seconds.

    `times` is how often it was refused, with `reason` the last time.
    """

    event_id: UUID
    correlation_id: str
    own_id: bool
    body: bytes
    reason: str
    times: int
    first_at: float
    last_at: float


class Outcome(NamedTuple):
    """What became of a sent event.

    `counter` is where it is counted: delivered, duplicate, conflict_own, unconfirmed, quarantined.
    The last has a reason.
    """

    entry: Entry
    counter: str
    reason: str | None = None


class Figures(NamedTuple):
    """Counters as they were at one moment, and when the oldest pending event was recorded."""

    counters: dict[str, int]
    oldest_recorded_at: float | None
