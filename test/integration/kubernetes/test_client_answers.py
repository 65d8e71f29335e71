"""What the client does with answers that no healthy API server gives, over real HTTP."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from kubernaut.kubernetes import (
    ApiError,
    Client,
    ClientConfig,
    DecodeError,
    GoneError,
    ObjectMeta,
    Reflector,
    Request,
    ServerUnavailableError,
    Store,
    TooManyRequestsError,
    TransportError,
)
from kubernaut.kubernetes.testing import VirtualClock
from test.answering_server import Answer, AnsweringServer, Received
from test.polling import async_wait_for
from test.unit.kubernetes.widgets import WIDGETS, Widget

WIDGET = b'{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"5"}}'
TOO_MANY = Answer(429, b"slow down", {"Retry-After": "0"})
BROKEN = Answer(500, b"oops")


def script(*answers: Answer) -> Any:
    """Each answer once, the last one for ever."""
    left = list(answers)
    lock = threading.Lock()

    def decide(_request: Received) -> Answer:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return decide


def connected(server: AnsweringServer, **settings: Any) -> Client:
    return Client(ClientConfig(server.url), field_manager="test", **settings)


async def make(client: Client) -> Widget:
    return await client.create(WIDGETS, Widget(metadata=ObjectMeta(name="a", namespace="n")))


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json; charset=utf-8"}])
async def test_errors_whatever_the_content_type(headers: dict[str, str]) -> None:
    status = b'{"kind":"Status","code":410,"reason":"Expired","message":"old"}'
    with AnsweringServer.always(Answer(410, status, headers)) as server:
        async with connected(server) as client:
            with pytest.raises(GoneError, match="old"):
                await client.get(WIDGETS, "a", "n")


async def test_too_many_requests_are_repeated_also_for_writes() -> None:
    with AnsweringServer.running(script(TOO_MANY, TOO_MANY, Answer(201, WIDGET))) as server:
        async with connected(server) as client:
            assert (await make(client)).metadata.uid == "u"
        assert [request.method for request in server.received] == ["POST"] * 3


async def test_retry_after_is_waited_for_and_patience_ends() -> None:
    clock = VirtualClock()
    with AnsweringServer.always(Answer(429, b"", {"Retry-After": "7"})) as server:
        async with connected(server, clock=clock, retry_for=30) as client:
            asking = asyncio.create_task(client.get(WIDGETS, "a", "n"))

            async def over() -> bool:
                await clock.advance(2)
                return asking.done()

            await async_wait_for(over, 30, "the client gives up")
            with pytest.raises(TooManyRequestsError) as error:
                await asking
        assert error.value.retry_after == 7.0
        assert 7 * (len(server.received) - 1) <= clock.monotonic() <= 33
        assert 3 <= len(server.received) <= 5


async def test_a_lost_write_is_the_callers_to_judge() -> None:
    with AnsweringServer.always(Answer(503, b"", {"Retry-After": "0"})) as server:
        async with connected(server) as client:
            with pytest.raises(ServerUnavailableError) as error:
                await make(client)
        assert error.value.retryable
        assert len(server.received) == 1


async def test_a_read_is_repeated_when_the_server_says_when() -> None:
    later = Answer(503, b"", {"Retry-After": "0"})
    with AnsweringServer.running(script(later, Answer(200, WIDGET))) as server:
        async with connected(server) as client:
            await client.get(WIDGETS, "a", "n")
        assert len(server.received) == 2


async def test_an_error_without_a_time_is_not_repeated() -> None:
    with AnsweringServer.always(BROKEN) as server:
        async with connected(server) as client:
            with pytest.raises(ServerUnavailableError, match="oops"):
                await client.get(WIDGETS, "a", "n")
        assert len(server.received) == 1


async def test_a_redirect_is_not_followed() -> None:
    with AnsweringServer.always(Answer(307, b"", {"Location": "http://127.0.0.1:1/"})) as server:
        async with connected(server) as client:
            with pytest.raises(ApiError) as error:
                await client.get(WIDGETS, "a", "n")
        assert error.value.status == 307


async def test_an_object_that_does_not_fit() -> None:
    with AnsweringServer.always(Answer(200, b'{"spec":{"size":"big"}}')) as server:
        async with connected(server) as client:
            with pytest.raises(DecodeError, match=r"Widget.*size"):
                await client.get(WIDGETS, "a", "n")


async def test_a_hook_sees_each_attempt_and_may_forbid_it() -> None:
    seen: list[tuple[str, bool, int]] = []

    def hook(request: Request) -> None:
        seen.append((request.method, request.writes, request.attempt))
        if request.attempt == 2:
            raise PermissionError("the lease is over")

    with AnsweringServer.always(TOO_MANY) as server:
        async with connected(server, before_request=hook) as client:
            with pytest.raises(PermissionError):
                await make(client)
        assert len(server.received) == 2
    assert seen == [("POST", True, 0), ("POST", True, 1), ("POST", True, 2)]


async def test_a_hook_may_shorten_the_time() -> None:
    answered = threading.Event()

    def slow(_request: Received) -> Answer:
        answered.wait(10)
        return Answer(200, WIDGET)

    def hook(request: Request) -> None:
        request.timeout = 0.2

    with AnsweringServer.running(slow) as server:
        async with connected(server, before_request=hook, retry_for=0) as client:
            with pytest.raises(TransportError) as error:
                await client.get(WIDGETS, "a", "n")
            answered.set()
    assert error.value.sent


async def test_an_attempt_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, int | None]] = []

    def after(request: Request, status: int | None, seconds: float) -> None:
        assert 0 <= seconds < 10
        seen.append((request.method, status))

    token = tmp_path / "token"
    token.write_text("first")
    with AnsweringServer.running(script(TOO_MANY, Answer(200, WIDGET))) as server:
        config = ClientConfig(server.url, token_file=str(token))
        async with Client(config, field_manager="me", after_attempt=after) as client:
            await client.get(WIDGETS, "a", "n")
            token.write_text("second one")
            await client.get(WIDGETS, "a", "n")
        headers = [request.headers for request in server.received]
    assert seen == [("GET", 429), ("GET", 200), ("GET", 200)]
    tokens = [found["authorization"] for found in headers]
    assert tokens == ["Bearer first", "Bearer first", "Bearer second one"]
    assert headers[0]["user-agent"].startswith("me kubernaut-py/")
    assert headers[0]["accept-encoding"] == "identity"


async def test_what_never_left_is_repeated_and_known() -> None:
    async with Client(
        ClientConfig("http://127.0.0.1:1"), field_manager="test", retry_for=0.5
    ) as client:
        with pytest.raises(TransportError) as error:
            await make(client)
    assert not error.value.sent


async def test_a_certificate_of_somebody_else_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with AnsweringServer.running(context=context) as server:
        async with connected(server) as client:
            with pytest.raises(TransportError, match="certificate") as error:
                await client.get(WIDGETS, "a", "n")
        assert not error.value.retryable
        assert not server.received


async def test_the_rate_is_kept() -> None:
    clock = VirtualClock()
    with AnsweringServer.always(Answer(200, WIDGET)) as server:
        async with connected(server, qps=10, burst=2, clock=clock) as client:
            asking = [asyncio.create_task(client.get(WIDGETS, "a", "n")) for _ in range(12)]

            async def over() -> bool:
                await clock.advance(0.1)
                return all(task.done() for task in asking)

            started = clock.monotonic()
            await async_wait_for(over, 30, "all are answered")
            await asyncio.gather(*asking)
        assert clock.monotonic() - started >= 0.99


def list_of(*names: str, version: str = "10") -> bytes:
    items = [{"metadata": {"name": name, "uid": name, "resourceVersion": "5"}} for name in names]
    return json.dumps({"metadata": {"resourceVersion": version}, "items": items}).encode()


def event(kind: str, name: str, version: str) -> bytes:
    metadata = {"name": name, "uid": name, "resourceVersion": version}
    return json.dumps({"type": kind, "object": {"metadata": metadata}}).encode() + b"\n"


def ended(*parts: bytes) -> Iterator[bytes]:
    yield from parts


async def follow(decide: Any, until: Any) -> tuple[Reflector[Widget], list[Received]]:
    with AnsweringServer.running(decide) as server:
        async with connected(server) as client:
            reflector = Reflector(client, WIDGETS, Store[Widget]())
            running = asyncio.create_task(reflector.run())

            async def reached() -> bool:
                return bool(until(reflector))

            try:
                await async_wait_for(reached, 30, "what is waited for")
            finally:
                running.cancel()
                await asyncio.wait({running})
        return reflector, list(server.received)


async def test_a_watch_that_ends_within_an_event_goes_on_from_the_one_before() -> None:
    half = event("ADDED", "c", "12")

    def decide(request: Received) -> Answer:
        match request.params.get("resourceVersion"):
            case None:
                return Answer(200, list_of("a"))
            case "10":
                return Answer(200, ended(event("ADDED", "b", "11"), half[:20]))
            case _:
                return Answer(200, ended(half, event("DELETED", "a", "13")))

    reflector, received = await follow(
        decide, lambda reflector: sorted(reflector.store.keys()) == ["b", "c"]
    )
    assert [request.params.get("resourceVersion") for request in received[:3]] == [None, "10", "11"]
    assert reflector.lists == 1


@pytest.mark.parametrize(
    "gone",
    [
        Answer(410, b""),
        Answer(200, b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'),
    ],
)
async def test_a_version_that_is_gone_leads_to_a_list_and_deletions_are_seen(gone: Answer) -> None:
    lists = iter([list_of("a", "b"), list_of("b", version="20")])
    told: list[str] = []

    def decide(request: Received) -> Answer:
        match request.params.get("resourceVersion"):
            case None:
                return Answer(200, next(lists))
            case "10":
                return gone
            case _:
                return Answer(200, ended(event("BOOKMARK", "", "30")))

    def synced_again(reflector: Reflector[Widget]) -> bool:
        if reflector.lists == 1 and not told:
            told.extend(reflector.store.keys())
        return reflector.lists == 2 and reflector.watches > 3

    reflector, received = await follow(decide, synced_again)
    assert reflector.store.keys() == ["b"]
    versions = [request.params.get("resourceVersion") for request in received]
    assert versions[:4] == [None, "10", None, "20"]
    assert versions[4] == "30"  # The bookmark's.


@pytest.mark.parametrize("answer", [Answer(410, b""), Answer(200, ended()), Answer(200, b"")])
async def test_a_watch_that_always_ends_at_once_does_not_spin(answer: Answer) -> None:
    begun = asyncio.get_running_loop().time()
    many = 5

    def decide(request: Received) -> Answer:
        return answer if "watch" in request.params else Answer(200, list_of("a"))

    reflector, received = await follow(decide, lambda reflector: reflector.watches == many)
    took = asyncio.get_running_loop().time() - begun
    assert len(received) <= 2 * many
    assert took > 0.2
    assert reflector.store.keys() == ["a"]


async def test_paging_that_is_too_slow_for_the_server_is_given_up() -> None:
    page = json.dumps({"metadata": {"continue": "more"}, "items": []}).encode()

    def decide(request: Received) -> Answer:
        if "watch" in request.params:
            return Answer(200, ended())
        if "continue" in request.params:
            return Answer(410, b"")
        return Answer(200, list_of("a") if request.params["limit"] == "0" else page)

    reflector, _ = await follow(decide, lambda reflector: reflector.synced.is_set())
    assert reflector.store.keys() == ["a"]
