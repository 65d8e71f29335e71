"""Receipts: whoever asked is told, once; whoever did not, costs no memory."""

import asyncio
import gc
import threading
import weakref
from uuid import UUID, uuid4

import pytest

from kubernaut.audit import Receipt
from kubernaut.audit._entries import Entry, Fate, Outcome
from kubernaut.audit._receipt import Receipts


def outcome(event_id: UUID, fate: Fate = "created", reason: str | None = None) -> Outcome:
    return Outcome(Entry(0, event_id, "rr-1", False, 0.0, 0, None, b""), fate, reason)


@pytest.fixture
def receipts() -> Receipts:
    return Receipts()


@pytest.fixture
def receipt(receipts: Receipts) -> Receipt:
    return receipts.get(uuid4(), "rr-1")


def test_an_outcome_is_set_once(receipt: Receipt) -> None:
    assert (receipt.outcome, receipt.reason) == (None, None)
    assert repr(receipt) == f"Receipt({receipt.event_id}, pending)"
    receipt.resolve("quarantined", "no")
    receipt.resolve("created", None)
    assert (receipt.outcome, receipt.reason) == ("quarantined", "no")
    assert repr(receipt) == f"Receipt({receipt.event_id}, quarantined)"
    assert receipt.wait() == receipt.wait(0) == "quarantined"


def test_a_pending_event_has_one_receipt(receipts: Receipts, receipt: Receipt) -> None:
    assert receipts.get(receipt.event_id, "rr-1") is receipt
    receipts.settle([outcome(receipt.event_id)])
    assert receipts.get(receipt.event_id, "rr-1") is not receipt


def test_a_receipt_that_nobody_holds_is_forgotten(receipts: Receipts) -> None:
    gone = weakref.ref(receipts.get(uuid4(), "rr-1"))
    gc.collect()
    assert gone() is None


def test_a_callback_is_called_though_nobody_holds_the_receipt(receipts: Receipts) -> None:
    told: list[Fate | None] = []
    event_id = uuid4()
    receipts.get(event_id, "rr-1").add_callback(lambda receipt: told.append(receipt.outcome))
    gc.collect()
    receipts.settle([outcome(event_id, "duplicate")])
    receipts.settle([outcome(event_id, "created")])
    assert told == ["duplicate"]


def test_a_callback_that_comes_late_is_called_at_once(receipts: Receipts, receipt: Receipt) -> None:
    receipts.settle([outcome(receipt.event_id)])
    told: list[Receipt] = []
    receipt.add_callback(told.append)
    assert told == [receipt]
    gone = weakref.ref(receipt)
    assert receipts.get(receipt.event_id, "rr-1") is not gone()


def test_what_is_forgotten_is_not_kept(receipts: Receipts) -> None:
    receipt = receipts.get(uuid4(), "rr-1")
    receipt.add_callback(lambda _: None)
    gone = weakref.ref(receipt)
    event_id = receipt.event_id
    del receipt
    receipts.forget(event_id)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_harms_nobody(
    receipts: Receipts,
    receipt: Receipt,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even the thread that sends, which is the one that calls it."""
    told: list[str] = []

    def fail(_: Receipt) -> None:
        raise error

    receipt.add_callback(fail)
    receipt.add_callback(lambda _: told.append("callback"))
    receipts.subscribe(fail)
    receipts.subscribe(lambda _: told.append("subscriber"))
    receipts.settle([outcome(receipt.event_id)])
    assert told == ["callback", "subscriber"]
    assert caplog.text.count(f"a callback for audit event {receipt.event_id} failed") == 2


def test_a_subscriber_hears_of_all_until_it_has_enough(receipts: Receipts) -> None:
    heard: list[UUID] = []
    unsubscribe = receipts.subscribe(lambda receipt: heard.append(receipt.event_id))
    ids = [uuid4() for _ in range(3)]
    receipts.settle([outcome(event_id) for event_id in ids])
    unsubscribe()
    unsubscribe()
    receipts.settle([outcome(uuid4())])
    assert heard == ids


def test_waiting_ends_with_the_time_and_leaves_nothing_behind(receipt: Receipt) -> None:
    assert receipt.wait(0.01) is None
    assert asyncio.run(receipt.wait_async(0.01)) is None
    assert receipt._callbacks == []


def test_many_threads_wait_for_one_receipt(receipts: Receipts, receipt: Receipt) -> None:
    seen: list[Fate | None] = []
    threads = [threading.Thread(target=lambda: seen.append(receipt.wait(30))) for _ in range(8)]
    for thread in threads:
        thread.start()
    receipts.settle([outcome(receipt.event_id)])
    for thread in threads:
        thread.join()
    assert seen == ["created"] * 8


async def test_many_tasks_wait_for_one_receipt(receipts: Receipts, receipt: Receipt) -> None:
    waiting = [asyncio.create_task(receipt.wait_async(30)) for _ in range(8)]
    given_up = asyncio.create_task(receipt.wait_async())
    await asyncio.wait([given_up], timeout=0.01)
    given_up.cancel()
    threading.Thread(target=receipts.settle, args=([outcome(receipt.event_id)],)).start()
    assert await asyncio.gather(*waiting) == ["created"] * 8
    assert given_up.cancelled() or given_up.done()


def test_a_loop_that_has_ended_is_not_told(receipts: Receipts, receipt: Receipt) -> None:
    told: list[Receipt] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(receipt.wait_async())
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    receipt.add_callback(told.append)
    callbacks = list(receipt._callbacks)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    callbacks[0](receipt)
    receipts.settle([outcome(receipt.event_id)])
    assert told == [receipt]
