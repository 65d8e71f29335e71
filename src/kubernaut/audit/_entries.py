"""What a journal holds."""

from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

Fate = Literal["created", "duplicate", "unconfirmed", "quarantined"]
"""What became of an event.

`created` and `duplicate`: the server has it. `unconfirmed`: a server of the old contract took it
with 202 and may or may not store it. `quarantined`: it was refused and is kept here.
"""


class Entry(NamedTuple):
    """A pending event; `body` is its JSON as it will be sent, `recorded_at` is Unix time.

    `position` orders the events of a journal, and is never used twice. `refusals` and
    `first_refused_at` tell of earlier stays in quarantine.
    """

    position: int
    event_id: UUID
    correlation_id: str
    own_id: bool
    recorded_at: float
    refusals: int
    first_refused_at: float | None
    body: bytes


class Quarantined(NamedTuple):
    """An event that the server or `record()` refused; times in Unix seconds.

    `times` is how often it was refused, with `reason` the last time. `own_id`: its id was made by
    the caller as a function of what happened.
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

    `reason` is set where it goes into quarantine. `own_conflict`: the server has the id with other
    content, and it is one that the caller makes from what happened, so the event counts as stored.
    """

    entry: Entry
    fate: Fate
    reason: str | None = None
    own_conflict: bool = False


class Tally(msgspec.Struct):
    """A journal's counts, kept in the file and changed in the transaction they count.

    `recorded = created + duplicate + unconfirmed + pending + quarantined`, always. `own_conflicts`
    tells how often an own id had other content. `last_position` is the newest ever given.
    """

    recorded: int = 0
    created: int = 0
    duplicate: int = 0
    unconfirmed: int = 0
    own_conflicts: int = 0
    pending: int = 0
    pending_bytes: int = 0
    quarantined: int = 0
    last_position: int = 0

    @property
    def delivered(self) -> int:
        """Events that a server has accepted."""
        return self.created + self.duplicate + self.unconfirmed

    @property
    def unaccounted(self) -> int:
        """Events recorded and not to be found; 0, or there is a defect."""
        return self.recorded - self.delivered - self.pending - self.quarantined
