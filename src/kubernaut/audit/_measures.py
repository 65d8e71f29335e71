"""Counts of durations, cheap enough to keep always, for whoever wants to see them."""

import threading
from bisect import bisect_left
from typing import Final

BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds of the buckets, in seconds."""


class Buckets:
    """How many durations were at most so long; one count for each of `BOUNDS`, and one for more.

    Any thread may observe.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        with self._lock:
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._total += seconds

    def snapshot(self) -> tuple[list[int], float]:
        """The counts and the sum of all durations in seconds, of one moment."""
        with self._lock:
            return list(self._counts), self._total
