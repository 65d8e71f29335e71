"""How events are gathered into requests, and how failures are met."""

from typing import NamedTuple


class DeliveryLimits(NamedTuple):
    """How batches are made and retried; times in seconds.

    `linger` is how long a batch that is not full waits for more: a request for each event would
    cost the recording process more than the recording.
    """

    batch_events: int = 500
    batch_bytes: int = 1024 * 1024
    in_flight: int = 4
    linger: float = 0.05
    backoff_base: float = 0.2
    backoff_cap: float = 30.0
