"""What a store tells: callbacks, flush and close, health, quarantine; how it sends; settings."""

import gc
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kubernaut.audit import (
    AuditStore,
    DeliveryLimits,
    Endpoint,
    JournalError,
    Receipt,
    StoreClosedError,
)
from test.audit_events import an_event, identified
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import PASS, Answer, Behaviour, Gate, StallBefore
from test.faults.http_seen import overlapping
from test.faults.proxy import FaultProxy
from test.integration.audit.trail import (
    NOBODY,
    PATIENCE,
    Clock,
    OpenStore,
    assert_accounted,
    assert_delivered,
    pass_on,
    stored,
)
from test.polling import wait_for

# Receipts and subscriptions.


def test_callbacks_and_subscribers_are_told_once(
    proxy: FaultProxy, correlation: str, gate: Gate, open_store: OpenStore
) -> None:
    store = open_store(proxy.url)
    told: list[object] = []
    heard: list[object] = []

    def fail(_: Receipt) -> None:
        raise SystemExit("a callback that fails")

    unsubscribe = store.subscribe(lambda receipt: heard.append(receipt.event_id))
    store.subscribe(fail)

    def record(number: int) -> object:
        receipt = store.record(an_event(number, correlation))
        receipt.add_callback(fail)
        receipt.add_callback(lambda receipt: told.append(receipt.event_id))
        return receipt.event_id

    ids = [record(number) for number in range(10)]
    gc.collect()
    pass_on(proxy, gate)
    assert_delivered(store, 10)
    wait_for(lambda: len(heard) == 10, 30, "all")
    assert told == heard == ids
    unsubscribe()
    store.record(an_event(10, correlation), mode="strict")
    assert heard == ids


def test_a_subscriber_may_record(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    """Which it does on the thread that sends."""
    store = open_store(shared.url)
    numbers = iter(range(1, 4))

    def follow(_: Receipt) -> None:
        if (number := next(numbers, None)) is not None:
            store.record(an_event(number, correlation))

    store.subscribe(follow)
    store.record(an_event(0, correlation))
    wait_for(lambda: store.stats().delivered == 4, 30, "all")
    assert stored(shared.url, correlation) == [0, 1, 2, 3]


def test_a_subscriber_hears_of_events_of_earlier_processes(
    proxy: FaultProxy, correlation: str, gate: Gate, open_store: OpenStore
) -> None:
    first = open_store(proxy.url)
    event_id = first.record(an_event(0, correlation)).event_id
    first.close(timeout=0)
    heard: list[tuple[object, ...]] = []
    store = open_store(proxy.url)
    store.subscribe(
        lambda receipt: heard.append((receipt.event_id, receipt.correlation_id, receipt.outcome))
    )
    pass_on(proxy, gate)
    assert_delivered(store, 1)
    wait_for(lambda: heard == [(event_id, correlation, "created")], 30, "it")


# Flush and close.


def test_flush_is_about_what_was_recorded_before_it(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    """It does not wait for events that follow from those that it waits for, without end."""
    store = open_store(shared.url)
    flushed = threading.Event()
    numbers = iter(range(1, 3000))

    def follow(_: Receipt) -> None:
        if not flushed.is_set() and (number := next(numbers, None)) is not None:
            store.record(an_event(number, correlation))

    store.subscribe(follow)
    store.record(an_event(0, correlation))
    assert store.flush().delivered >= 1
    flushed.set()
    assert next(numbers, None) is not None, "it came to an end before all of them"
    wait_for(lambda: store.stats().pending == 0, 30, "the rest")


async def test_asynchronous_blocks_close(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    async with open_store(shared.url) as store:
        await store.arecord(an_event(0, correlation), mode="best_effort")
    assert await store.aclose() == (1, 0, 0)
    for use in (store.arecord(an_event(1)), store.aflush(0)):
        with pytest.raises(StoreClosedError):
            await use


def test_a_closed_store_tells_what_it_was(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    with open_store(shared.url) as store:
        store.record(an_event(0, correlation))
    assert (store.stats().delivered, store.health().status) == (1, "healthy")
    assert store.quarantined() == []
    for use in (lambda: store.record(an_event(1)), lambda: store.flush(0)):
        with pytest.raises(StoreClosedError, match="the audit store is closed"):
            use()
    assert store.close() == (1, 0, 0)


# Statistics, health, quarantine.


def test_health_is_of_the_age_and_not_of_the_last_request(
    proxy: FaultProxy, correlation: str, moved_clock: Clock, open_store: OpenStore
) -> None:
    proxy.default = Answer.problem(503, "overloaded")
    store = open_store(proxy.url, clock=moved_clock, degraded_after=60)
    store.record(an_event(0, correlation))
    wait_for(lambda: store.stats().attempts.get("5xx", 0) > 2, 30, "failures")
    moved_clock.now += 60
    assert store.health() == ("healthy", 60, None)
    moved_clock.now += 1
    assert store.health() == ("degraded", 61, "HTTP 503: Service Unavailable")
    moved_clock.now -= 1000
    assert store.health() == ("healthy", 0, None), "a clock that goes back makes nothing old"
    proxy.default = PASS
    assert_delivered(store, 1)
    assert store.stats().last_error is None


def test_a_damaged_journal_is_told_until_it_is_mended(
    shared: DataStorageProcess, correlation: str, spool: Path, open_store: OpenStore
) -> None:
    left = open_store(NOBODY)
    left.record(an_event(0, correlation))
    left.close(timeout=0)
    (path,) = spool.glob("*.journal")
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content))
    store = open_store(shared.url)
    assert store.health().status == "degraded"
    assert "file is not a database" in str(store.health().reason)
    store.record(an_event(1, correlation))
    assert_delivered(store, 1)
    path.write_bytes(content)
    assert store._opened()._chores(), "as it does now and then"
    assert store.health().status == "healthy"


def test_a_directory_that_is_gone_is_told_and_not_raised_by_looking(
    tmp_path: Path, open_store: OpenStore
) -> None:
    directory = tmp_path / "gone"
    store = open_store(NOBODY, directory)
    store.record(an_event(0))
    directory.rename(tmp_path / "elsewhere")
    assert store.stats().pending == 1
    with pytest.raises(JournalError, match="failed"):
        store.flush(0)
    assert_accounted(store)


def test_quarantine_is_listed_and_retried_by_id(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    store = open_store(shared.url)
    ids = [uuid4() for _ in range(3)]
    for number in (1, 2):
        for event_id in ids:
            store.record(identified(str(event_id), number, correlation_id=correlation))
        store.flush(PATIENCE)
    assert [kept.event_id for kept in store.quarantined()] == ids
    assert [kept.event_id for kept in store.quarantined(ids[1:2])] == ids[1:2]
    assert store.quarantined([]) == store.quarantined([uuid4()]) == []
    assert store.retry([uuid4()]) == store.retry([]) == 0
    assert store.retry(ids[:2]) == 2
    assert store.flush(PATIENCE) == (3, 0, 3)
    assert sorted(kept.times for kept in store.quarantined()) == [1, 2, 2]


# Delivery.


def test_a_correlation_has_one_batch_in_flight_and_keeps_its_order(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """With failures between, and requests of other correlations in flight at the same time."""
    limits = DeliveryLimits(batch_events=5, linger=0, backoff_base=0.001, backoff_cap=0.002)
    gate = Gate()
    proxy.times(4, StallBefore(gate))
    store = open_store(proxy.url, limits=limits)
    for number in range(300):
        # The first batches are of one correlation each, so that several can be in flight.
        of = number // 5 % 6 if number < 60 else number * 7 % 6
        store.record(an_event(number, f"{correlation}-{of}"))
    wait_for(lambda: gate.waiting == 4, 30, "four requests at a time")
    failing: list[Behaviour] = [PASS, Answer(500), PASS, PASS, Answer(503), Answer(400)]
    proxy.script(*failing * 5)
    gate.open()
    assert_delivered(store, 300)
    for of in range(6):
        found = stored(proxy.upstream, f"{correlation}-{of}")
        assert found == sorted(found)
        name = f"{correlation}-{of}".encode()
        assert overlapping(proxy.requests, lambda seen: name in seen.body or None) == []  # noqa: B023
    assert overlapping(proxy.requests, lambda _: True)


# Settings.


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"mode": "sure"}, "'sure' is not a mode; modes are best_effort, durable, strict"),
        ({"modes": {"x.*": "never"}}, "'never' is not a mode"),
        ({"limits": DeliveryLimits(batch_events=0)}, "batch_events is 0"),
        ({"limits": DeliveryLimits(backoff_cap=-1)}, "backoff_cap is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    options: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=fault):
        AuditStore(NOBODY, tmp_path / "journals", **options)
    assert not (tmp_path / "journals").exists()


@pytest.mark.parametrize("url", ["datastorage:8080", "http://", "ftp://host", "http://me:x@host"])
def test_an_address_that_cannot_be_one_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the address of DataStorage"):
        AuditStore(url, tmp_path)
    with pytest.raises(ValueError, match="timeout_seconds must be more than 0"):
        Endpoint(NOBODY, timeout_seconds=0)
