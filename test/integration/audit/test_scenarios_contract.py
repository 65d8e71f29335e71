"""What the events and the contract may do: S7, S8, S9, S15, S17, S20 and S21."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubernaut.audit import AuditStore, Client, DeliveryLimits, InvalidEventError
from test.answering_server import AnsweringServer
from test.audit_events import an_event
from test.datastorage_service import DataStorageProcess, StartService
from test.faults.http_faults import Gate, StallBefore
from test.faults.proxy import FaultProxy
from test.integration.audit.old_server import OldServer
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


@pytest.fixture
def old() -> OldServer:
    return OldServer()


@pytest.fixture
def old_url(old: OldServer) -> Iterator[str]:
    """The address of a server of the old contract."""
    with AnsweringServer.running(old) as server:
        yield server.url


def numbers(store: AuditStore) -> list[int]:
    """Those of the events in quarantine."""
    return [json.loads(kept.body)["event_data"]["number"] for kept in store.quarantined()]


def test_s07_a_clock_that_jumps_changes_neither_order_nor_delivery(
    proxy: FaultProxy,
    correlation: str,
    moved_clock: Clock,
    open_store: OpenStore,
) -> None:
    """Order is that of recording; pauses are by another clock; an age is never negative."""
    with proxy.refusing():
        store = open_store(proxy.url, clock=moved_clock)
        jumps = (0, 86_400, -7 * 86_400, 1, -3600, 10**9, -(10**9), -(10**9))
        for number, jump in enumerate(jumps):
            moved_clock.now += jump
            store.record(an_event(number, correlation))
            assert store.stats().oldest_pending_seconds >= 0
        store.close(timeout=0)
    again = open_store(proxy.url, clock=moved_clock)
    again.record(an_event(len(jumps), correlation))
    assert_delivered(again, len(jumps) + 1)
    assert stored(proxy.upstream, correlation) == list(range(len(jumps) + 1))


def test_s07_events_keep_their_time_however_late_they_come(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    """Half an hour ahead, a month or six years old: the server takes them as they are."""
    store = open_store(shared.url)
    times = [
        datetime.now(UTC).replace(microsecond=123456) + timedelta(days=days)
        for days in (0, -30, -6 * 365, 0.02)
    ]
    for number, time in enumerate(times):
        store.record(an_event(number, correlation, event_timestamp=time.isoformat()))
    assert_delivered(store, len(times))
    with Client(shared.url) as client:
        events = {event.data["number"]: event for event in client.query(correlation_id=correlation)}
    assert [events[number].event_timestamp for number in range(4)] == times


def test_s07_an_event_of_tomorrow_is_kept_until_tomorrow(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    """The server refuses it, so it is in quarantine, from where it may be sent again."""
    store = open_store(shared.url)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    receipt = store.record(an_event(0, correlation, event_timestamp=tomorrow.isoformat()))
    assert receipt.wait(30) == "quarantined"
    assert "at most 60 minutes ahead of this service's clock" in str(receipt.reason)
    assert numbers(store) == [0]


def test_s08_a_poison_event_harms_no_neighbour_and_is_kept(
    start_service: StartService, correlation: str, open_store: OpenStore
) -> None:
    """It is in quarantine with the reason, and delivered once the server takes it."""
    strict = start_service(limits={"max_payload_bytes": 1000})
    store = open_store(strict.url, limits=DeliveryLimits(linger=1))
    receipts = [
        store.record(
            an_event(number, correlation, event_data={"number": number, "text": "x" * size})
        )
        for number, size in enumerate([1, 2000, 3, 4000, 5])
    ]
    assert store.flush(PATIENCE) == (3, 0, 2)
    assert [receipt.outcome == "created" for receipt in receipts] == [True, False] * 2 + [True]
    assert receipts[1].reason == ("rejected: $.event_data: at most 1000 bytes (this one has 2022)")
    assert stored(strict.url, correlation) == [0, 2, 4]
    assert numbers(store) == [1, 3]

    assert store.retry([receipts[1].event_id]) == 1
    assert store.flush(PATIENCE) == (3, 0, 2)
    twice = store.quarantined([receipts[1].event_id])
    assert [kept.times for kept in twice] == [2], "refused again, and still one event"

    store.close()
    mended = start_service()
    store = open_store(mended.url)
    assert store.retry() == 2
    assert_delivered(store, 5)
    assert stored(mended.url, correlation) == [0, 2, 4, 1, 3]


@pytest.mark.parametrize("refusal", [400, 409, 413, 422])
def test_s08_a_batch_refused_whole_is_halved_until_the_poison_is_alone(
    old: OldServer, old_url: str, refusal: int, open_store: OpenStore
) -> None:
    """As with a server that refuses all for one; and order is kept for those who stay."""
    old.poison, old.refusal = {0, 13, 14, 49}, refusal
    store = open_store(old_url, limits=DeliveryLimits(linger=1))
    for number in range(50):
        store.record(an_event(number))
    assert store.flush(PATIENCE) == (46, 0, 4)
    assert numbers(store) == sorted(old.poison)
    assert old.stored == [number for number in range(50) if number not in old.poison]
    assert len(old.batches) < 50
    for kept in store.quarantined():
        assert ("conflict: " if refusal == 409 else "") + f"HTTP {refusal}: " in kept.reason
        assert kept.reason.endswith("event at index i failed")
    old.poison = set()
    assert store.retry() == 4
    assert_delivered(store, 50)
    assert old.stored[-4:] == [0, 13, 14, 49]


def test_s09_batches_are_bounded_by_count_and_by_bytes(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """And an event that is longer than a batch may be goes alone."""
    limits = DeliveryLimits(batch_events=7, batch_bytes=20_000, linger=0)
    with proxy.refusing():
        store = open_store(proxy.url, limits=limits)
        for number in range(40):
            size = 50_000 if number == 20 else 5000 if number > 25 else 10
            text = {"number": number, "text": "x" * size}
            store.record(an_event(number, correlation, event_data=text))
    assert_delivered(store, 40)
    batches = [json.loads(seen.body) for seen in proxy.requests]
    assert max(len(batch) for batch in batches) == 7
    for seen, batch in zip(proxy.requests, batches, strict=True):
        assert len(seen.body) <= 20_000 or len(batch) == 1
    assert stored(proxy.upstream, correlation) == list(range(40))


@pytest.mark.parametrize("limit", [{"max_batch_events": 20}, {"max_body_bytes": 9000}], ids=str)
def test_s09_the_server_s_limits_are_learnt_from_its_refusals(
    start_service: StartService, correlation: str, limit: dict[str, int], open_store: OpenStore
) -> None:
    """A batch too large is halved, later ones are small from the start, and no event is refused."""
    service = start_service(limits=limit)
    with FaultProxy(service.url) as proxy:
        with proxy.refusing():
            store = open_store(proxy.url, limits=QUICK._replace(batch_events=100))
            for number in range(600):
                store.record(an_event(number, correlation))
        assert_delivered(store, 600)
        assert stored(service.url, correlation) == list(range(600))
        refused = [seen.number for seen in proxy.requests if seen.upstream_status != 201]
        assert 1 <= len(refused) <= 7, "those of the first batch"
        assert max(refused) < 15


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"event_data": {"text": "x" * 300_000}}, "event_data: at most 262144 bytes"),
        ({"event_data": {"a": [[[[[[[[[[1]]]]]]]]]]}}, "nested at most 10 deep"),
        ({"actor_id": "x" * 256}, "actor_id"),
        ({"correlation_id": "x" * 256}, "correlation_id"),
        ({"event_data": {"text": "\0"}}, "a text holds no NUL"),
    ],
)
def test_s09_an_oversize_event_is_refused_where_it_is_recorded(
    members: dict[str, Any], fault: str, open_store: OpenStore
) -> None:
    """The caller is told, nobody else is harmed, and the event is kept to be mended."""
    store = open_store(NOBODY)
    with pytest.raises(InvalidEventError, match=fault):
        store.record(an_event(1) | members)
    (kept,) = store.quarantined()
    assert fault in kept.reason
    assert store.flush(0) == (0, 0, 1)


@pytest.mark.parametrize(
    "members",
    [
        {"event_category": "quantum"},
        {"event_outcome": "perhaps"},
        {"event_data": {"event_type": "workflowexecution.workflow.started", "phase": "New"}},
        {"event_data": "not an object"},
        {"event_timestamp": "yesterday"},
        {"event_id": "1234"},
        {"event_data": {"unknown": object()}},
        {"event_data": {"text": "\ud800"}},
    ],
    ids=str,
)
def test_s15_an_event_the_library_does_not_know_is_kept(
    members: dict[str, Any], open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Its identity and the reason are in quarantine and in the log, and the caller is told."""
    store = open_store(NOBODY)
    with pytest.raises(InvalidEventError) as refused:
        store.record(an_event(1) | members)
    (kept,) = store.quarantined()
    assert (kept.event_id, kept.reason) == (refused.value.event_id, f"invalid: {refused.value}")
    assert str(kept.event_id) in caplog.text
    assert kept.correlation_id in caplog.text
    assert store.stats().recorded == 1


def test_s15_an_event_the_server_does_not_know_waits_for_a_newer_server(
    old: OldServer, old_url: str, open_store: OpenStore
) -> None:
    """A type that came later than the server: in quarantine, not lost, until it is upgraded."""
    old.poison, old.refusal = {1}, 422
    store = open_store(old_url)
    receipts = [store.record(an_event(number)) for number in range(3)]
    assert store.flush(PATIENCE) == (2, 0, 1)
    store.close()
    old.poison = set()
    upgraded = open_store(old_url)
    assert upgraded.retry([receipts[1].event_id]) == 1
    assert_delivered(upgraded, 3)
    assert sorted(old.stored) == [0, 1, 2]


def test_s17_an_old_server_that_queues_is_not_asked_again_nor_believed(
    old: OldServer, old_url: str, open_store: OpenStore
) -> None:
    """202 ends the sending, as sending again makes duplicates; the count says "unconfirmed"."""
    old.database_away = True
    store = open_store(old_url)
    receipt = store.record(an_event(0))
    assert receipt.wait(30) == "unconfirmed"
    old.database_away = False
    assert store.record(an_event(1)).wait(30) == "created"
    assert_delivered(store, 2)
    assert (old.queued, old.stored) == ([0], [1])
    assert (store.stats().unconfirmed, store.stats().created) == (1, 1)


def test_s20_an_event_changed_after_record_is_sent_as_it_was(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """What counts is what the event was when it was recorded."""
    gate = Gate()
    proxy.default = StallBefore(gate)
    store = open_store(proxy.url)
    event = an_event(0, correlation, event_data={"number": 0, "list": [1]})
    for number in range(3):
        store.record(event)
        event["event_data"]["number"] = number + 1
        event["event_data"]["list"].append(object())
        del event["event_data"]["list"][-1]
    event.clear()
    gate.open()
    assert_delivered(store, 3)
    assert stored(proxy.upstream, correlation) == [0, 1, 2]


def test_s21_every_event_is_accounted_for_and_every_refusal_has_a_name(
    start_service: StartService,
    correlation: str,
    open_store: OpenStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Delivered, pending or in quarantine, at any moment; and no refusal is only a count."""
    service = start_service(limits={"max_payload_bytes": 1000})
    caplog.set_level(logging.INFO)
    store = open_store(service.url)
    refused = []
    for number in range(60):
        event = an_event(number, correlation)
        if number % 6 == 1:
            event["event_data"]["text"] = "x" * 2000
        if number % 6 == 2:
            event["event_category"] = "unheard of"
            with pytest.raises(InvalidEventError) as invalid:
                store.record(event)
            refused.append(invalid.value.event_id)
        else:
            receipt = store.record(event)
            if number % 6 == 1:
                refused.append(receipt.event_id)
        assert_accounted(store)
    assert store.flush(PATIENCE) == (40, 0, 20)
    assert store.stats().recorded == 60
    kept = store.quarantined()
    assert sorted(event.event_id for event in kept) == sorted(refused)
    for each in kept:
        assert f"audit event {each.event_id} of correlation {each.correlation_id}" in caplog.text
        assert each.reason.removeprefix("invalid: ") in caplog.text
