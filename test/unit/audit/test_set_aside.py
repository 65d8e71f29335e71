"""Events set aside: one of a correlation, later after each try."""

from uuid import uuid4

from kubernaut.audit._entries import Entry
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._set_aside import SetAside

LIMITS = DeliveryLimits(backoff_base=1.0, backoff_cap=60.0)


def entry(position: int, correlation: str) -> Entry:
    return Entry(position, uuid4(), correlation, False, 0.0, 0, None, b"{}")


def test_an_event_comes_back_in_its_time_and_later_after_each_try() -> None:
    aside = SetAside(LIMITS)
    one = entry(1, "a")
    now = 0.0
    pauses = []
    for _ in range(8):
        aside.put(one, now)
        assert aside.correlations == {"a"}
        assert aside.take(now) is None
        pauses.append(aside.due() - now)
        now = aside.due()
        assert aside.take(now) is one
        assert aside.correlations == set()
    assert all(2**n <= pause <= 2 ** (n + 1) for n, pause in enumerate(pauses[:5]))
    assert all(30 <= pause <= 60 for pause in pauses[6:])


def test_what_was_settled_begins_anew() -> None:
    aside = SetAside(LIMITS)
    one = entry(1, "a")
    for _ in range(5):
        aside.put(one, 0.0)
        aside.take(aside.due())
    aside.forget([one])
    aside.put(one, 0.0)
    assert aside.due() <= 2.0


def test_the_first_that_is_due_is_taken() -> None:
    aside = SetAside(LIMITS)
    aside.put(entry(1, "a"), 100.0)
    early = entry(2, "b")
    aside.put(early, 0.0)
    assert aside.take(10.0) is early
    assert aside.take(10.0) is None
    aside.clear()
    assert aside.due() == float("inf")
