"""How events are gathered into requests, and how failures are met."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from kubernaut.audit._entries import Entry


class DeliveryLimits(NamedTuple):
    """How batches are made and retried; times in seconds.

    Attributes:
        batch_events: events in a request at most.
        batch_bytes: bytes in a request at most; an event that is longer goes alone.
        in_flight: requests at a time at most; of one correlation there is one.
        linger: how long a batch that is not full waits for more: a request for each event would
            cost the recording process more than the recording.
        backoff_base: after the first failure the pause is a random time up to this, and up to
            twice as much after each further one ("full jitter").
        backoff_cap: and never longer than this.
    """

    batch_events: int = 500
    batch_bytes: int = 1024 * 1024
    in_flight: int = 4
    linger: float = 0.05
    backoff_base: float = 0.2
    backoff_cap: float = 30.0

    def checked(self) -> Self:
        """These limits, if they make sense.

        Raises:
            ValueError: they do not; the text says which.
        """
        for name in ("batch_events", "batch_bytes", "in_flight"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be at least 1")
        for name in ("linger", "backoff_base", "backoff_cap"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, and must not be negative")
        return self


class Caps:
    """The size of batches: as configured, or smaller if the server turned out to take less."""

    def __init__(self, limits: DeliveryLimits) -> None:
        self.events = limits.batch_events
        self.bytes = limits.batch_bytes

    def too_many(self, batch: Sequence[Entry]) -> None:
        """A batch of so many events was refused for their number."""
        self.events = max(1, min(self.events, len(batch) // 2))

    def too_long(self, batch: Sequence[Entry]) -> None:
        """A batch of so many bytes was refused for its length."""
        self.bytes = max(1, min(self.bytes, sum(len(entry.body) for entry in batch) // 2))
