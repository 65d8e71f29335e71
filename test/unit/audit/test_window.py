"""The window: whatever is taken when, nothing is lost, overtakes its own, or comes twice."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from kubernaut.audit._entries import Entry
from kubernaut.audit._window import Window


@dataclass
class Shelf:
    """Entries by position, read as a journal is."""

    entries: list[Entry] = field(default_factory=list)

    def read(self, *, after: int | None, limit: int, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        for entry in self.entries:
            if after is not None and entry.position <= after:
                continue
            found.append(entry)
            size += len(entry.body)
            if len(found) == limit or size > max_bytes:
                break
        return found

    def add(self, correlation: str, length: int) -> None:
        position = len(self.entries)
        body = b"x" * length
        self.entries.append(Entry(position, uuid4(), correlation, False, 0.0, 0, None, body))


def a_window(shelf: Shelf) -> Window:
    window = Window(shelf)  # type: ignore[arg-type]  # All that it asks of a journal is `read`.
    window.fill()
    return window


Events = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 60)), max_size=60)


@given(
    events=Events,
    busy=st.lists(st.sets(st.sampled_from("abcd")), max_size=40),
    max_events=st.integers(1, 10),
    max_bytes=st.integers(1, 200),
)
def test_batches_keep_the_order_within_a_correlation_and_the_limits(
    events: list[tuple[str, int]], busy: list[set[str]], max_events: int, max_bytes: int
) -> None:
    shelf = Shelf()
    for correlation, length in events:
        shelf.add(correlation, length)
    window = a_window(shelf)
    taken: list[Entry] = []
    for held in [*busy, *[set[str]()] * (len(events) + 1)]:
        batch = window.take(held, max_events, max_bytes)
        assert len(batch) <= max_events
        length = sum(len(entry.body) + 1 for entry in batch) + 1  # Commas and brackets.
        assert len(batch) <= 1 or length <= max_bytes
        assert not {entry.correlation_id for entry in batch} & held
        waits = [entry for entry in shelf.entries if entry not in taken]
        free = [entry for entry in waits if entry.correlation_id not in held]
        assert batch == free[: len(batch)], "first come, first sent"
        assert bool(batch) == bool(free)
        taken += batch
    assert Counter(entry.position for entry in taken) == Counter(range(len(events)))


@given(first=Events, later=Events, taken=st.integers(0, 100))
def test_reading_anew_gives_what_is_still_in_the_journal(
    first: list[tuple[str, int]], later: list[tuple[str, int]], taken: int
) -> None:
    shelf = Shelf()
    for correlation, length in first:
        shelf.add(correlation, length)
    window = a_window(shelf)
    gone = window.take((), max(1, taken), 10**6) if taken else []
    for correlation, length in later:
        shelf.add(correlation, length)
    shelf.entries = [entry for entry in shelf.entries if entry not in gone]
    window.rewind()
    window.fill()
    assert window.take((), 10**6, 10**9) == shelf.entries


def test_what_is_held_in_memory_is_bounded_by_count_and_bytes() -> None:
    for length, most in ((10, 4000), (100_000, 90)):
        shelf = Shelf()
        for _ in range(6000 if length == 10 else 400):
            shelf.add("a", length)
        window = a_window(shelf)
        window.fill()
        held = window.take((), 10**6, 10**12)
        assert 1 < len(held) <= most
        seen = len(held)
        while held:
            window.fill()
            held = window.take((), 10**6, 10**12)
            seen += len(held)
        assert seen == len(shelf.entries)


def test_an_event_longer_than_a_batch_goes_alone() -> None:
    shelf = Shelf()
    for length in (5, 500, 5):
        shelf.add("a", length)
    window = a_window(shelf)
    assert [len(window.take((), 10, 100)) for _ in range(4)] == [1, 1, 1, 0]
