"""The fault proxy, between a real client and a real server."""

import gc
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import psutil
import pytest

from test.faults.http_faults import (
    Answer,
    Behaviour,
    CutAnswer,
    Delay,
    Drip,
    Exchange,
    Gate,
    PassThrough,
    ReplaceAnswer,
    ResetAfter,
    ResetBefore,
    StallAfter,
    StallBefore,
)
from test.faults.http_seen import overlapping
from test.faults.proxy import FaultProxy
from test.polling import wait_for


class Upstream(ThreadingHTTPServer):
    """Answers with what it was sent, and remembers it: as if it were committed."""

    daemon_threads = False

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.name = name
        self.committed: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.committed.append(body)
        answer = json.dumps({"by": self.server.name, "body": body.decode()}).encode()
        self.send_response(201)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(answer), answer))
        else:
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def serving(name: str) -> Iterator[Upstream]:
    with Upstream(name) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving("first") as server:
        yield server


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=proxy.url, trust_env=False, timeout=10) as client:
        yield client


def test_requests_pass_on_one_connection(
    proxy: FaultProxy, client: httpx2.Client, upstream: Upstream
) -> None:
    answers = [client.post("/a", content=b"one"), client.post("/chunked", content=b"two")]
    answers.append(client.post("/c", content=iter([b"thr", b"ee"])))

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert [answer.json()["body"] for answer in answers] == ["one", "two", "three"]
    assert upstream.committed == [b"one", b"two", b"three"]
    assert proxy.connections == 1
    seen = [(s.method, s.path, s.body, s.upstream_status, s.abandoned) for s in proxy.requests]
    assert seen == [
        ("POST", path, body, 201, False)
        for path, body in [("/a", b"one"), ("/chunked", b"two"), ("/c", b"three")]
    ]


@pytest.mark.parametrize(
    ("behaviour", "committed", "error"),
    [
        (ResetBefore(), [], httpx2.ReadError),
        (ResetAfter(), [b"x"], httpx2.ReadError),
        (CutAnswer(), [b"x"], httpx2.RemoteProtocolError),
        (CutAnswer(in_head=True), [b"x"], httpx2.RemoteProtocolError),
        (CutAnswer(reset=True), [b"x"], httpx2.ReadError),
        (CutAnswer(keep=0), [b"x"], httpx2.RemoteProtocolError),
    ],
    ids=repr,
)
def test_an_answer_can_be_lost(
    proxy: FaultProxy,
    client: httpx2.Client,
    upstream: Upstream,
    *,
    behaviour: Behaviour,
    committed: list[bytes],
    error: type[Exception],
) -> None:
    proxy.script(behaviour)

    with pytest.raises(error):
        client.post("/", content=b"x")

    assert upstream.committed == committed
    assert client.post("/", content=b"y").status_code == 201
    assert [seen.behaviour for seen in proxy.requests] == [behaviour, PassThrough()]


def test_a_storm_of_answers_of_its_own(
    proxy: FaultProxy, client: httpx2.Client, upstream: Upstream
) -> None:
    proxy.times(2, Answer(503, b"<h1>no</h1>", "text/html", {"Retry-After": "7"}))
    proxy.script(Answer.problem(429, "/problems/rate", Retry_After="1"), Answer(418), Answer(299))

    answers = [client.post("/", content=b"x") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [503, 503, 429, 418, 299]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].headers["Content-Type"] == "text/html"
    assert answers[2].headers["Retry-After"] == "1"
    assert answers[2].headers["Content-Type"] == "application/problem+json"
    assert answers[2].json()["type"] == "/problems/rate"
    assert "Content-Type" not in answers[3].headers
    assert upstream.committed == []
    assert proxy.unused == 0
    assert proxy.connections == 1


def test_an_answer_can_be_replaced(
    proxy: FaultProxy, client: httpx2.Client, upstream: Upstream
) -> None:
    proxy.default = ReplaceAnswer(Answer(201, b"\xff garbage", "application/json"))

    answer = client.post("/", content=b"x")

    assert (answer.status_code, answer.content) == (201, b"\xff garbage")
    assert upstream.committed == [b"x"]


def test_refused_connections_and_the_same_port_again(
    proxy: FaultProxy, client: httpx2.Client
) -> None:
    client.post("/", content=b"x")

    for _ in range(3):
        with proxy.refusing(), pytest.raises(httpx2.ConnectError):
            client.post("/", content=b"x")
        assert client.post("/", content=b"x").status_code == 201

    assert proxy.connections == 4


def test_an_upstream_that_is_away_is_a_reset(proxy: FaultProxy, client: httpx2.Client) -> None:
    with serving("second") as second:
        proxy.upstream = second.url
        assert client.post("/", content=b"x").json()["by"] == "second"

    with pytest.raises(httpx2.ReadError):
        client.post("/", content=b"x")


def test_a_request_waits_before_upstream(
    proxy: FaultProxy, client: httpx2.Client, upstream: Upstream
) -> None:
    gate = Gate()
    proxy.script(StallBefore(gate))

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/", content=b"x")
        wait_for(lambda: gate.waiting == 1, 10, "the request at the gate")
        assert upstream.committed == []
        assert proxy.requests[0].ended is None
        gate.open()
        assert answer.result(10).status_code == 201


def test_a_client_leaves_and_its_request_arrives_all_the_same(
    proxy: FaultProxy, client: httpx2.Client, upstream: Upstream
) -> None:
    gate = Gate()
    proxy.script(StallBefore(gate))

    with pytest.raises(httpx2.ReadTimeout):
        client.post("/", content=b"late", timeout=0.1)
    wait_for(lambda: proxy.requests[0].abandoned, 10, "the client to leave")
    client.post("/", content=b"again")
    gate.open()

    wait_for(lambda: upstream.committed == [b"again", b"late"], 10, "the late request")
    assert overlapping(proxy.requests, key=lambda seen: seen.path) == []


def test_an_answer_waits_after_upstream(
    proxy: FaultProxy, client: httpx2.Client, upstream: Upstream
) -> None:
    gate = Gate()
    proxy.times(3, StallAfter(gate))

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.post, path, content=path[1:]) for path in ("/a", "/a", "/b")]
        wait_for(lambda: gate.waiting == 3, 10, "the answers at the gate")
        assert sorted(upstream.committed) == [b"a", b"a", b"b"]
        gate.open()
        assert [answer.result(10).status_code for answer in answers] == [201, 201, 201]

    (pair,) = overlapping(proxy.requests, key=lambda seen: seen.path)
    assert [seen.path for seen in pair] == ["/a", "/a"]


def test_slow_answers_are_whole(proxy: FaultProxy, client: httpx2.Client) -> None:
    proxy.script(Drip(0.001), Delay(0.05, Drip(0.001, size=50)))

    answers = [client.post("/", content=b"x" * 50) for _ in range(2)]

    assert [answer.json()["body"] for answer in answers] == ["x" * 50] * 2
    assert answers[1].elapsed.total_seconds() >= 0.05


def test_nothing_is_left_behind(upstream: Upstream) -> None:
    process = psutil.Process()
    before = process.num_fds(), threading.active_count()
    gate = Gate()
    with (
        FaultProxy(upstream.url, StallBefore(gate)) as proxy,
        ThreadPoolExecutor(1) as pool,
        httpx2.Client(base_url=proxy.url, trust_env=False) as client,
    ):
        for end in (proxy.drop, proxy.end):
            answer = pool.submit(client.post, "/", content=b"x")
            wait_for(lambda: gate.waiting == 1, 10, "the request at the gate")
            end()
            assert isinstance(answer.exception(10), httpx2.ReadError)
    gc.collect()  # A ResourceWarning would be an error.
    assert (process.num_fds(), threading.active_count()) == before
    assert upstream.committed == []


def test_an_error_of_a_behaviour_is_not_hidden(upstream: Upstream) -> None:
    async def broken(exchange: Exchange) -> None:  # noqa: ARG001  (a behaviour)
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        FaultProxy(upstream.url, broken) as proxy,
        httpx2.Client(trust_env=False) as client,
        pytest.raises(httpx2.ReadError),
    ):
        client.post(proxy.url, content=b"x")
