"""How long to wait: per-key exponential backoff, and token buckets.

The rules are client-go's `util/workqueue/default_rate_limiters.go` and `golang.org/x/time/rate`.
"""

from typing import Final, Protocol

from kubernaut.kubernetes._clock import Clock

BASE_DELAY: Final = 0.005
"""Seconds before the first retry (client-go: 5 ms)."""
MAX_DELAY: Final = 1000.0
"""Seconds that no retry waits longer than (client-go: 1000 s)."""
_MAX_EXPONENT: Final = 64
"""Beyond it every delay is the longest one; a float would overflow at 1024."""


class Tokens:
    """`burst` tokens at most, `rate` new ones a second.

    Args:
        rate: tokens a second.
        burst: how many may be taken at once; the bucket starts full.
        clock: where the time comes from.
    """

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a token bucket needs a rate above 0 and a burst of 1 or more")
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock.monotonic()

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now

    def reserve(self) -> float:
        """Take a token, of the future if need be, and return the seconds until it is there."""
        self._refill()
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    def take(self) -> bool:
        """Take a token where there is one."""
        self._refill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class KeyBackoff(Protocol):
    """Decides how long a key waits before it is tried again."""

    def delay(self, key: str) -> float:
        """Count a failure of `key` and return the seconds to wait."""

    def forget(self, key: str) -> None:
        """Start from the beginning with the next failure of `key`."""

    def failures(self, key: str) -> int:
        """How many failures of `key` were counted since it was last forgotten."""


class ExponentialBackoff:
    """`base · 2ⁿ` seconds after n earlier failures of a key, never more than `longest`.

    Args:
        base: seconds after the first failure.
        longest: seconds, the cap.
        bucket: limits the retries of all keys together; the longer wait of the two counts.
    """

    def __init__(
        self,
        base: float = BASE_DELAY,
        longest: float = MAX_DELAY,
        bucket: Tokens | None = None,
    ) -> None:
        if not 0 < base <= longest:
            raise ValueError("the backoff needs 0 < base <= longest")
        self._base = base
        self._longest = longest
        self._bucket = bucket
        self._failures: dict[str, int] = {}

    def delay(self, key: str) -> float:
        """Count a failure of `key` and return the seconds to wait."""
        before = self._failures.get(key, 0)
        self._failures[key] = before + 1
        wait = min(self._longest, self._base * 2.0 ** min(before, _MAX_EXPONENT))
        return wait if self._bucket is None else max(wait, self._bucket.reserve())

    def forget(self, key: str) -> None:
        """Start from the beginning with the next failure of `key`."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """How many failures of `key` were counted since it was last forgotten."""
        return self._failures.get(key, 0)
