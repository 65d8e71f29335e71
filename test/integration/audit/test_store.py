"""The store's interface: modes, flush and close, statistics and health, quarantine."""

import asyncio
import gc
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kubernaut.audit import (
    AuditStore,
    DeliveryLimits,
    Endpoint,
    IdReusedError,
    JournalError,
    JournalFullError,
    NotDeliveredError,
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
    QUICK,
    Clock,
    OpenStore,
    assert_accounted,
    assert_delivered,
    stored,
)
from test.polling import wait_for


@pytest.fixture
def gate(proxy: FaultProxy) -> Iterator[Gate]:
    """What the proxy's requests wait for."""
    gate = Gate()
    proxy.default = StallBefore(gate)
    yield gate
    gate.open()


def pass_on(proxy: FaultProxy, gate: Gate) -> None:
    proxy.default = PASS
    gate.open()


# Recording.


def test_many_threads_record(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    store = open_store(shared.url)
    with ThreadPoolExecutor(8) as threads:
        receipts = list(
            threads.map(
                lambda number: store.record(an_event(number, f"{correlation}-{number % 8}")),
                range(400),
            )
        )
    assert_delivered(store, 400)
    assert {receipt.outcome for receipt in receipts} == {"created"}
    assert sum(len(stored(shared.url, f"{correlation}-{each}")) for each in range(8)) == 400


async def test_many_tasks_record(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    store = open_store(shared.url)
    before = sum(store.durations()["commit"][0])
    receipts = await asyncio.gather(
        *(store.arecord(an_event(number, correlation)) for number in range(400))
    )
    assert sum(store.durations()["commit"][0]) - before < 200, "commits are shared"
    assert {await receipt.wait_async(PATIENCE) for receipt in receipts} == {"created"}
    assert await store.aflush(PATIENCE) == (400, 0, 0)
    assert sorted(stored(shared.url, correlation)) == list(range(400))


def test_several_event_loops_share_a_store(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    store = open_store(shared.url)

    async def record(first: int) -> list[str | None]:
        receipts = [
            await store.arecord(an_event(number, f"{correlation}-{first}"))
            for number in range(first, first + 20)
        ]
        await store.aflush(PATIENCE)
        return [await receipt.wait_async(PATIENCE) for receipt in receipts]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda first: asyncio.run(record(first)), range(0, 80, 20)))
    assert found == [["created"] * 20] * 4
    for first in range(0, 80, 20):
        assert stored(shared.url, f"{correlation}-{first}") == list(range(first, first + 20))


async def test_the_loop_goes_on_while_the_disk_works(open_store: OpenStore) -> None:
    """The journal is held up by somebody else, and the loop does other things meanwhile."""
    store = open_store(NOBODY)
    journal = store._opened().journal
    with journal._lock:
        recording = asyncio.create_task(store.arecord(an_event(1)))
        done, _ = await asyncio.wait([recording], timeout=0.1)
        assert not done
    assert (await recording).outcome is None


def test_the_same_event_has_the_same_receipt_while_it_is_pending(open_store: OpenStore) -> None:
    store = open_store(NOBODY)
    event = identified(str(uuid4()))
    receipt = store.record(event)
    assert store.record(event) is receipt
    assert store.record(event, mode="best_effort") is receipt
    assert store.flush(0).pending == store.stats().recorded == 1


def test_a_failed_repetition_leaves_the_receipt_of_the_first_one(
    proxy: FaultProxy, correlation: str, gate: Gate, open_store: OpenStore
) -> None:
    """There is no room for another content of the same id; the first waits, and is delivered."""
    store = open_store(proxy.url, max_bytes=1000, full_timeout=0)
    event_id = str(uuid4())
    receipt = store.record(identified(event_id, 1, correlation_id=correlation))
    with pytest.raises(JournalFullError):
        store.record(
            identified(event_id, correlation_id=correlation, event_data={"text": "x" * 1000}),
            own_id=True,
        )
    pass_on(proxy, gate)
    assert receipt.wait(30) == "created"


def test_an_id_that_is_pending_with_other_content_is_refused(open_store: OpenStore) -> None:
    store = open_store(NOBODY)
    event_id = str(uuid4())
    store.record(identified(event_id, 1))
    with pytest.raises(IdReusedError, match="is pending with other content") as refused:
        store.record(identified(event_id, 2))
    assert str(refused.value.event_id) == event_id
    assert store.flush(0) == (0, 1, 1)


@pytest.mark.parametrize("pending", [True, False])
def test_an_own_id_with_other_content_is_the_event_that_is_there(
    proxy: FaultProxy,
    correlation: str,
    gate: Gate,
    pending: bool,  # noqa: FBT001  (a parameter of the test)
    open_store: OpenStore,
) -> None:
    """Whether it is in the journal or with the server: it is one event, and counted."""
    store = open_store(proxy.url)
    event_id = str(uuid4())
    store.record(identified(event_id, 1, correlation_id=correlation), own_id=True)
    if not pending:
        pass_on(proxy, gate)
        assert_delivered(store, 1)
    receipt = store.record(identified(event_id, 2, correlation_id=correlation), own_id=True)
    pass_on(proxy, gate)
    assert receipt.wait(30) == ("created" if pending else "duplicate")
    assert store.flush(PATIENCE)[1:] == (0, 0)
    assert store.stats().own_conflicts == 1
    assert stored(proxy.upstream, correlation) == [1]


# Modes.


def test_modes_by_class_of_event(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    modes = {"workflow.sure*": "strict", "*.whatever": "best_effort"}
    store = open_store(shared.url, modes=modes)
    strict = store.record(an_event(0, correlation, event_action="workflow.sure.thing"))
    assert strict.outcome == "created", "known when `record` returns"
    store.record(an_event(1, correlation, event_action="workflow.whatever"))
    also_strict = store.record(an_event(2, correlation), mode="strict")
    assert also_strict.outcome == "created"
    assert_delivered(store, 3)
    with pytest.raises(ValueError, match="'sure' is not a mode"):
        store.record(an_event(3), mode="sure")  # type: ignore[arg-type]  # That is the point.


async def test_strict_for_asyncio(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    store = open_store(shared.url, mode="strict")
    receipts = await asyncio.gather(
        *(store.arecord(an_event(number, f"{correlation}-{number}")) for number in range(20))
    )
    assert {receipt.outcome for receipt in receipts} == {"created"}


def test_a_strict_event_that_is_not_acknowledged_in_time_is_kept(
    proxy: FaultProxy,
    correlation: str,
    gate: Gate,
    open_store: OpenStore,
) -> None:
    store = open_store(proxy.url, strict_timeout=0.1)
    with pytest.raises(NotDeliveredError, match=r"within 0\.1 s; it stays in the") as late:
        store.record(an_event(0, correlation), mode="strict")
    with pytest.raises(NotDeliveredError):
        asyncio.run(store.arecord(an_event(1, correlation), mode="strict"))
    assert late.value.receipt.wait(0) is None
    pass_on(proxy, gate)
    assert_delivered(store, 2)
    assert late.value.receipt.outcome == "created"
    assert stored(proxy.upstream, correlation) == [0, 1]


def test_a_strict_event_that_is_refused_is_in_quarantine(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    store = open_store(shared.url)
    event_id = str(uuid4())
    store.record(identified(event_id, 1, correlation_id=correlation), mode="strict")
    with pytest.raises(NotDeliveredError, match="is in quarantine: conflict") as refused:
        store.record(identified(event_id, 2, correlation_id=correlation), mode="strict")
    assert refused.value.receipt.outcome == "quarantined"
    assert store.flush(0) == (1, 0, 1)


async def test_many_tasks_wait_for_room_together(
    proxy: FaultProxy,
    correlation: str,
    gate: Gate,
    open_store: OpenStore,
) -> None:
    """One after another they would take the timeout each, and hold up who has room."""
    store = open_store(proxy.url, max_bytes=5000, full_timeout=PATIENCE)
    tasks = [
        asyncio.create_task(store.arecord(an_event(number, f"{correlation}-{number}")))
        for number in range(60)
    ]
    await asyncio.wait(tasks, timeout=0.3)
    kept = sum(task.done() for task in tasks)
    assert 5 < kept == store.stats().pending < 20
    pass_on(proxy, gate)
    await asyncio.gather(*tasks)
    assert await store.aflush(PATIENCE) == (60, 0, 0)
    assert store.stats().dropped == 0


def test_who_waits_for_room_while_the_store_closes_is_told(open_store: OpenStore) -> None:
    store = open_store(NOBODY, max_bytes=1000, full_timeout=PATIENCE)
    kept = 0
    ended = threading.Event()

    def record() -> None:
        nonlocal kept
        try:
            while True:
                store.record(an_event(kept))
                kept += 1
        except (JournalFullError, StoreClosedError):
            ended.set()

    thread = threading.Thread(target=record)
    thread.start()
    wait_for(lambda: store.stats().pending_bytes > 600, 30, "a full journal")
    assert store.close(timeout=0).pending == kept
    assert ended.wait(30)
    thread.join()


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
    proxy: FaultProxy, correlation: str, gate: Gate, open_store: OpenStore
) -> None:
    store = open_store(proxy.url, limits=QUICK._replace(batch_events=10))
    for number in range(10):
        store.record(an_event(number, correlation), mode="best_effort")
    with ThreadPoolExecutor(1) as thread:
        flushed = thread.submit(store.flush, PATIENCE)
        wait_for(lambda: gate.waiting, 30, "a request")
        proxy.script(PASS)
        proxy.default = StallBefore(Gate())
        later = store.record(an_event(10, correlation))
        gate.open()
        assert flushed.result(PATIENCE).delivered == 10
    assert later.outcome in (None, "created")
    proxy.default = PASS
    proxy.drop()
    assert store.flush(PATIENCE).pending == 0


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
    shutil.rmtree(directory)
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
