"""Events that something on the way refuses, each with its own time for the next try."""

import random
from collections.abc import Iterable
from typing import Final

from kubernaut.audit._entries import Entry
from kubernaut.audit._limits import DeliveryLimits

_MOST_DOUBLINGS: Final = 30


class SetAside:
    """At most one event of each correlation: what comes after it in its correlation waits for it.

    Args:
        limits: how long pauses are.
    """

    def __init__(self, limits: DeliveryLimits) -> None:
        self._limits = limits
        self._waiting: dict[str, tuple[float, Entry]] = {}
        self._tries: dict[int, int] = {}

    @property
    def correlations(self) -> set[str]:
        """Those of which an event is here."""
        return set(self._waiting)

    def put(self, entry: Entry, now: float) -> None:
        """Set an event aside, after each try for longer."""
        tries = self._tries[entry.position] = self._tries.get(entry.position, 0) + 1
        ceiling = self._limits.backoff_base * 2 ** min(tries, _MOST_DOUBLINGS)
        pause = random.uniform(0.5, 1) * min(self._limits.backoff_cap, ceiling)  # noqa: S311
        self._waiting[entry.correlation_id] = now + pause, entry

    def take(self, now: float) -> Entry | None:
        """An event whose time has come."""
        for correlation, (due, entry) in self._waiting.items():
            if due <= now:
                del self._waiting[correlation]
                return entry
        return None

    def due(self) -> float:
        """When the next event's time comes."""
        return min((due for due, _ in self._waiting.values()), default=float("inf"))

    def forget(self, entries: Iterable[Entry]) -> None:
        """Their fate is known."""
        for entry in entries:
            self._tries.pop(entry.position, None)

    def clear(self) -> None:
        """Everything will be read from the journal anew."""
        self._waiting.clear()
        self._tries.clear()
