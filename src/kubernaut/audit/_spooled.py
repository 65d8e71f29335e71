"""What is seen of a journal from outside."""

from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from kubernaut.audit._entries import Entry, Quarantined, Tally

State = Literal["pending", "quarantined"]


class JournalStatus(NamedTuple):
    """A journal at one moment.

    Attributes:
        in_use: a process has it open.
        tally: its counts.
        oldest_pending_at: when the event that is first in line was recorded, in Unix seconds.
        file_bytes: what its files take on the disk.
    """

    in_use: bool
    tally: Tally
    oldest_pending_at: float | None
    file_bytes: int


class SpooledEvent(NamedTuple):
    """An event in a journal; times in Unix seconds.

    Attributes:
        state: where it is.
        body: its JSON.
        recorded_at: when it was recorded or put back from quarantine; None in quarantine.
        refusals: how often it was refused.
        reason: why it was refused the last time; None while it is pending.
    """

    state: State
    event_id: UUID
    correlation_id: str
    body: bytes
    recorded_at: float | None
    refusals: int
    first_refused_at: float | None
    last_refused_at: float | None
    reason: str | None

    @property
    def event_type(self) -> str | None:
        """Its type, or its action where it names none; None if it has neither."""
        try:
            named = _decode_type(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        name = named.event_type or named.event_action
        return name if isinstance(name, str) else None


class _Type(msgspec.Struct):
    event_type: Any = None
    event_action: Any = None


_decode_type: Final = msgspec.json.Decoder(_Type).decode


def of_pending(entry: Entry) -> SpooledEvent:
    """A pending event."""
    return SpooledEvent(
        "pending",
        entry.event_id,
        entry.correlation_id,
        entry.body,
        entry.recorded_at,
        entry.refusals,
        entry.first_refused_at,
        None,
        None,
    )


def of_quarantined(event: Quarantined) -> SpooledEvent:
    """An event in quarantine."""
    return SpooledEvent(
        "quarantined",
        event.event_id,
        event.correlation_id,
        event.body,
        None,
        event.times,
        event.first_at,
        event.last_at,
        event.reason,
    )
