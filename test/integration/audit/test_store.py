"""Recording: from threads, tasks and loops; modes; ids that come again; waiting for room."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from kubernaut.audit import (
    IdReusedError,
    JournalFullError,
    NotDeliveredError,
    StoreClosedError,
)
from test.audit_events import an_event, identified
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import Gate
from test.faults.proxy import FaultProxy
from test.integration.audit.trail import (
    NOBODY,
    PATIENCE,
    OpenStore,
    assert_delivered,
    pass_on,
    stored,
)
from test.polling import wait_for

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
