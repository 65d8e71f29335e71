"""The first pending events, in memory; the rest waits on disk."""

from collections import deque
from collections.abc import Container
from typing import Final

from kubernaut.audit._entries import Entry
from kubernaut.audit._journal import Journal

_EVENTS: Final = 4000
_BYTES: Final = 8 * 2**20
_READ_EVENTS: Final = 1000


class Window:
    """Events in the order of the journal, bounded by count and bytes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._read_to: int | None = None

    def fill(self) -> None:
        """Read on from the journal, while there is room.

        Raises:
            JournalError: it cannot be read.
        """
        while len(self._waiting) < _EVENTS // 2 and self._bytes < _BYTES:
            entries = self._journal.read(
                after=self._read_to, limit=_READ_EVENTS, max_bytes=_BYTES - self._bytes
            )
            if not entries:
                return
            self._waiting.extend(entries)
            self._bytes += sum(len(entry.body) for entry in entries)
            self._read_to = entries[-1].position

    def rewind(self) -> None:
        """Forget everything, and read from the beginning next time."""
        self._waiting.clear()
        self._bytes = 0
        self._read_to = None

    def take(self, busy: Container[str], max_events: int, max_bytes: int) -> list[Entry]:
        """The next batch: first come, first sent, but nothing of a busy correlation.

        Args:
            busy: correlations that have a batch in flight.
            max_events: how long the batch may be.
            max_bytes: how long its JSON may be; one event is taken however long it is.
        """
        batch: list[Entry] = []
        passed: list[Entry] = []
        size = 2
        while self._waiting:
            entry = self._waiting.popleft()
            if entry.correlation_id in busy:
                passed.append(entry)
                continue
            if batch and (size + len(entry.body) + 1 > max_bytes or len(batch) >= max_events):
                passed.append(entry)
                break
            batch.append(entry)
            size += len(entry.body) + 1
        self._waiting.extendleft(reversed(passed))
        self._bytes -= sum(len(entry.body) for entry in batch)
        return batch
