"""How long to wait after failures, so that many who failed do not come back together."""

import random
from typing import Final

_MOST_DOUBLINGS: Final = 32


class JitteredBackoff:
    """Seconds to wait after the nth failure in a row: exponential, with full jitter.

    Args:
        first: the longest wait after one failure.
        cap: the longest wait at all.
    """

    def __init__(self, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap
        self.failures = 0

    def reset(self) -> None:
        """Forget the failures."""
        self.failures = 0

    def next(self) -> float:
        """Count one more failure and give the wait after it."""
        span = min(self._cap, self._first * 2.0 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        return random.uniform(0, span)  # noqa: S311  (spreads load, keeps no secret)
