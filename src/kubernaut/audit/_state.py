"""What a store tells of itself."""

from typing import Literal, NamedTuple


class Flushed(NamedTuple):
    """What `flush` and `close` found when they returned.

    Events accepted by the server (counted over restarts), still in the journal, and in quarantine.
    """

    delivered: int
    pending: int
    quarantined: int


class StoreStats(NamedTuple):
    """Counts of a journal; they survive restarts, but for `dropped`, `attempts` and `last_error`.

    `recorded = delivered + pending + quarantined` always, where `delivered` is
    `created + duplicates + unconfirmed`.

    Attributes:
        recorded: events that `record` took, and those it refused and put into quarantine.
        delivered: events that a server has accepted.
        pending: events in the journal.
        quarantined: events that were refused.
        created: stored by the server the first time they were sent.
        duplicates: found stored already.
        own_conflicts: how often the server, or the journal, had other content under an id of the
            caller's own; such an event counts as stored, or is the pending one.
        unconfirmed: answered 202 by a server of the old contract.
        dropped: events that were given to this store and not kept: `record` raised for lack of
            room or because the disk failed, or a `best_effort` commit failed.
        pending_bytes: what the pending ones take in the file.
        max_bytes: the cap of that.
        oldest_pending_seconds: age of the pending event that is first in line, by the wall clock.
        attempts: requests by outcome: `2xx`, `4xx`, `5xx` ..., or `network`.
        last_error: why the last request failed; None once one succeeds.
    """

    recorded: int
    delivered: int
    pending: int
    quarantined: int
    created: int
    duplicates: int
    own_conflicts: int
    unconfirmed: int
    dropped: int
    pending_bytes: int
    max_bytes: int
    oldest_pending_seconds: float
    attempts: dict[str, int]
    last_error: str | None


class StoreHealth(NamedTuple):
    """`healthy`, or `degraded` with the reason: events wait too long, or the disk fails."""

    status: Literal["healthy", "degraded"]
    oldest_pending_seconds: float
    reason: str | None
