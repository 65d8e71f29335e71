"""What a server and the way to it may do: S2, S3, S4, S6, S13, S14 and S18."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx2
import pytest
import trustme

from kubernaut.audit import AuditStore, DeliveryLimits, Endpoint
from test import answering_server
from test.answering_server import AnsweringServer, Received
from test.audit_events import an_event, identified
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import (
    PASS,
    Answer,
    Behaviour,
    CutAnswer,
    Drip,
    Exchange,
    Gate,
    ReplaceAnswer,
    ResetAfter,
    ResetBefore,
    StallAfter,
    StallBefore,
)
from test.faults.http_seen import overlapping
from test.faults.proxy import FaultProxy
from test.integration.audit.trail import Clock, OpenStore, assert_delivered, stored
from test.polling import wait_for

HTML: Final = b"<html><body><h1>Something between us</h1></body></html>"
BRIEF: Final = 0.3


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open once the test is over."""
    gate = Gate()
    yield gate
    gate.open()


def page(status: int) -> Answer:
    return Answer(status, HTML, "text/html; charset=utf-8")


def test_s02_an_outage_of_hours_loses_nothing(
    proxy: FaultProxy,
    correlation: str,
    moved_clock: Clock,
    open_store: OpenStore,
) -> None:
    """Events wait for as long as it takes, and the store says for how long they have."""
    store = open_store(proxy.url, clock=moved_clock)
    with proxy.refusing():
        for number in range(10):
            store.record(an_event(number, correlation))
        wait_for(lambda: store.stats().attempts.get("network", 0) > 30, 30, "many attempts")
        assert store.health().status == "healthy", "as long as nothing waits for long"
        moved_clock.now += 6 * 3600
        assert store.health() == ("degraded", 6 * 3600, store.stats().last_error)
        assert store.flush(0).pending == 10
    assert_delivered(store, 10)
    assert store.health() == ("healthy", 0, None)
    assert stored(proxy.upstream, correlation) == list(range(10))


STORM: Final = [
    Answer.problem(500, "internal-error"),
    Answer.problem(503, "overloaded", Retry_After="0"),
    Answer.problem(429, "rate-limited"),
    Answer.problem(408, "request-timeout"),
    Answer.problem(425),
    Answer.problem(404, "not-found"),
    page(500),
    page(429),
    Answer(503),
    Answer(500, b'{"type":', "application/problem+json"),
]


def test_s03_a_storm_of_failures_loses_nothing_and_is_not_amplified(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """While the server fails, one request at a time asks, and the same events are in it."""
    proxy.script(*STORM * 3)
    store = open_store(proxy.url)
    for number in range(5):
        store.record(an_event(number, f"{correlation}-{number % 2}"))
    assert_delivered(store, 5)
    assert proxy.unused == 0
    failed = [seen for seen in proxy.requests if not seen.forwarded]
    assert overlapping(failed[4:], lambda _: True) == []
    assert store.stats().created == 5
    assert stored(proxy.upstream, f"{correlation}-0") == [0, 2, 4]
    assert stored(proxy.upstream, f"{correlation}-1") == [1, 3]


def test_s03_retry_after_is_honoured(
    proxy: FaultProxy, correlation: str, tmp_path: Path, open_store: OpenStore
) -> None:
    """Who is told when to come again does not come before; another, who is not told, does."""
    at_once = DeliveryLimits(linger=0, backoff_base=0, backoff_cap=0)
    asked = FaultProxy(proxy.upstream, Answer.problem(503, "overloaded", Retry_After="3600"))
    proxy.default = Answer.problem(503, "overloaded")
    with asked:
        patient = open_store(asked.url, limits=at_once)
        patient.record(an_event(0, correlation))
        wait_for(lambda: patient.stats().attempts, 30, "the first attempt")
        eager = open_store(proxy.url, tmp_path / "other", limits=at_once)
        eager.record(an_event(1, correlation))
        wait_for(lambda: len(proxy.requests) > 100, 30, "a hundred attempts of the other one")
        patient.record(an_event(2, correlation), mode="durable")
        assert patient.flush(0.1).pending == 2
        assert len(asked.requests) == 1


def test_s03_what_was_told_to_come_again_comes_again(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """The time the server asks for counts, and not the pause there would be without it."""
    proxy.script(Answer.problem(503, "overloaded", Retry_After="1"))
    never = DeliveryLimits(linger=0, backoff_base=10**9, backoff_cap=10**9)
    store = open_store(proxy.url, limits=never)
    store.record(an_event(0, correlation))
    assert_delivered(store, 1)
    assert stored(proxy.upstream, correlation) == [0]


@pytest.mark.parametrize("kind", [StallBefore, StallAfter])
def test_s04_a_server_that_hangs_holds_nobody_up(
    proxy: FaultProxy,
    correlation: str,
    kind: type[StallBefore | StallAfter],
    gate: Gate,
    open_store: OpenStore,
) -> None:
    """Recording goes on, `flush` tells the truth, and each request has an end."""
    proxy.default = kind(gate)
    store = open_store(Endpoint(proxy.url, timeout_seconds=BRIEF))
    for number in range(100):
        store.record(an_event(number, correlation))
    assert store.flush(0.05).pending == 100
    wait_for(lambda: store.stats().attempts.get("network", 0) > 2, 30, "requests given up")
    assert "no whole answer within 0.3 s" in str(store.stats().last_error)
    proxy.default = PASS
    gate.open()
    assert_delivered(store, 100)
    assert stored(proxy.upstream, correlation) == list(range(100))


def test_s04_an_answer_in_drops_is_given_up(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """The time is for the whole request, and not for each byte of its answer."""
    proxy.script(Drip(0.02), Drip(0.02))
    store = open_store(Endpoint(proxy.url, timeout_seconds=BRIEF))
    store.record(an_event(0, correlation))
    assert_delivered(store, 1)
    assert store.stats().attempts == {"network": 2, "2xx": 1}
    assert store.stats().duplicates == 1
    assert stored(proxy.upstream, correlation) == [0]


LOST: Final[list[Behaviour]] = [
    ResetAfter(),
    CutAnswer(0.5, in_head=True),
    CutAnswer(0.0),
    CutAnswer(0.5),
    CutAnswer(0.9, reset=True),
    ReplaceAnswer(page(502)),
    ReplaceAnswer(Answer(504)),
    ReplaceAnswer(Answer(201, b"")),
    ReplaceAnswer(Answer(201, b'{"event_ids":[null],"results":[]}', "application/json")),
    ReplaceAnswer(Answer(200, HTML, "text/html")),
    ReplaceAnswer(page(202)),
    ReplaceAnswer(Answer(204)),
    ReplaceAnswer(Answer(307, headers={"Location": "/elsewhere"})),
]


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_s06_an_answer_lost_after_commit_makes_one_row(
    proxy: FaultProxy,
    correlation: str,
    lost: Behaviour,
    open_store: OpenStore,
) -> None:
    """The id is made once, so that what is sent again is a duplicate and no second row."""
    proxy.script(ResetBefore(), lost, lost)
    store = open_store(proxy.url)
    receipts = [store.record(an_event(number, correlation)) for number in range(20)]
    assert_delivered(store, 20)
    assert {receipt.outcome for receipt in receipts} <= {"created", "duplicate"}
    assert store.stats().duplicates >= 1
    assert stored(proxy.upstream, correlation) == list(range(20))


def test_s06_the_same_id_with_other_content_is_kept_and_said(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    """What the server has under this id is another event; this one is not lost either."""
    store = open_store(shared.url)
    event_id = str(uuid4())
    store.record(identified(event_id, 1, correlation_id=correlation))
    assert_delivered(store, 1)
    receipt = store.record(identified(event_id, 2, correlation_id=correlation))
    assert receipt.wait(30) == "quarantined"
    assert receipt.reason == "conflict: the server has this event_id with other content"
    (kept,) = store.quarantined()
    assert json.loads(kept.body)["event_data"] == {"number": 2}
    assert stored(shared.url, correlation) == [1]


def test_s13_a_token_that_expired_is_waited_for(
    shared: DataStorageProcess, correlation: str, tmp_path: Path, open_store: OpenStore
) -> None:
    """401 and 403 say nothing of the events; the token is read again until one is good."""
    token = tmp_path / "token"
    token.write_text("expired")

    def decide(received: Received) -> answering_server.Answer:
        match received.headers.get("authorization"):
            case "Bearer renewed":
                return passed_on(received, shared.url)
            case "Bearer unbound":
                return answering_server.Answer(403, b'{"type":"forbidden"}', PROBLEM)
        return answering_server.Answer(401, b'{"type":"unauthorized"}', PROBLEM)

    with AnsweringServer.running(decide) as server:
        store = open_store(Endpoint(server.url, token_file=token))
        for number, content in enumerate(["", "unbound", "still expired", "unbound"]):
            store.record(an_event(number, correlation))
            enough = attempts(store) + 3
            wait_for(lambda: attempts(store) >= enough, 30, "further attempts")  # noqa: B023
            token.write_text(content)
        assert store.flush(0).pending == 4
        token.write_text("renewed")
        assert_delivered(store, 4)
    assert stored(shared.url, correlation) == [0, 1, 2, 3]


def attempts(store: AuditStore) -> int:
    return sum(store.stats().attempts.values())


PROBLEM: Final = {"Content-Type": "application/problem+json"}


def passed_on(received: Received, url: str) -> answering_server.Answer:
    """What DataStorage answers."""
    headers = {
        name: value
        for name, value in received.headers.items()
        if name in {"content-type", "prefer"}
    }
    with httpx2.Client(base_url=url, trust_env=False) as client:
        answer = client.request(
            received.method, received.path, content=received.body, headers=headers
        )
    kept = {"Content-Type": answer.headers["content-type"]}
    return answering_server.Answer(answer.status_code, answer.content, kept)


def test_s14_a_rotated_ca_is_trusted_without_a_restart(
    shared: DataStorageProcess, correlation: str, tmp_path: Path, open_store: OpenStore
) -> None:
    """Neither authority is trusted longer or sooner than the file says; events wait meanwhile."""
    old, new = trustme.CA(), trustme.CA()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(old.cert_pem.bytes())

    def context(authority: trustme.CA) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(made)
        return made

    with AnsweringServer.running(
        lambda received: passed_on(received, shared.url), context(old)
    ) as server:
        store = open_store(Endpoint(server.url, ca_file=ca_file))
        store.record(an_event(0, correlation))
        assert_delivered(store, 1)
        server.context = context(new)
        store.record(an_event(1, correlation))
        wait_for(
            lambda: "CERTIFICATE_VERIFY_FAILED" in (store.stats().last_error or ""), 30, "distrust"
        )
        ca_file.write_bytes(new.cert_pem.bytes())
        assert_delivered(store, 2)
    assert stored(shared.url, correlation) == [0, 1]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422, 502])
def test_s18_a_page_of_a_proxy_condemns_nothing(
    proxy: FaultProxy,
    correlation: str,
    status: int,
    open_store: OpenStore,
) -> None:
    """Only a problem document of the server's own tells of an event."""
    proxy.times(5, page(status))
    proxy.script(Answer(status, HTML), Answer(status, b'{"type":"x"}', "application/json"))
    store = open_store(proxy.url)
    for number in range(3):
        store.record(an_event(number, correlation))
    assert_delivered(store, 3)
    assert proxy.unused == 0
    assert store.quarantined() == []
    assert stored(proxy.upstream, correlation) == [0, 1, 2]


def test_s18_an_event_that_a_firewall_dislikes_holds_up_its_own_correlation_alone(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """It is not condemned, and arrives, in order, once the firewall is mended."""

    async def firewall(exchange: Exchange) -> None:
        await (page(403) if b"<script>" in exchange.body else PASS)(exchange)

    proxy.default = firewall
    store = open_store(proxy.url)
    others = [f"{correlation}-{number}" for number in range(20)]
    for number in range(100):
        store.record(an_event(number, others[number % 20]))
        if number == 50:
            store.record(an_event(0, correlation, event_data={"number": 0, "text": "<script>"}))
            store.record(an_event(1, correlation))
    wait_for(lambda: store.stats().created == 100, 60, "the others")
    assert store.stats().pending == 2
    proxy.default = PASS
    assert_delivered(store, 102)
    assert stored(proxy.upstream, correlation) == [0, 1]
    for number, other in enumerate(others):
        assert stored(proxy.upstream, other) == list(range(number, 100, 20))
