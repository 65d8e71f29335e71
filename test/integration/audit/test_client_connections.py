"""Tokens, certificates, addresses and bad answers: the clients against servers that misbehave."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from kubernaut.audit import AsyncClient, Client, Endpoint, ServerProblemError, TransportError
from kubernaut.audit.wire import Health
from test.answering_server import Answer, AnsweringServer, Received
from test.integration.audit.asking import KINDS, asking

HEALTHY = Health("healthy", "connected")
UNAUTHORIZED = Answer(401, b"no")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


# Addresses.


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "must begin with http:// or https://"),
        ("localhost:18100", "must begin with http:// or https://: 'localhost:18100'"),
        ("ftp://host", "must begin with http:// or https://"),
        ("http://", "names no host"),
        ("http://:80", "names no host"),
        ("http://host:port", "is not understood: port could not be cast"),
        ("http://host:70000", "is not understood: port out of range"),
        ("http://[::1", "is not understood: invalid IPv6 URL"),
        (" http://host", "holds white space"),
        ("http://host/\n", "holds white space or control characters"),
        ("http://host?x=1", "must end before a query"),
        ("http://host/#x", "must end before a query or fragment"),
        ("http://me:secret@host", "holds a login"),
        ("me:secret@host", "holds a login"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str, fault: str) -> None:
    for make in (Endpoint, Client, AsyncClient):
        with pytest.raises(ValueError, match="the address of DataStorage ") as refused:
            make(url)
        assert fault in str(refused.value)
        assert "secret" not in str(refused.value)


def test_an_endpoint_needs_time() -> None:
    with pytest.raises(ValueError, match="timeout_seconds must be more than 0"):
        Endpoint("http://host", timeout_seconds=0)


@pytest.mark.parametrize(
    "url", ["http://host", "HTTPS://host:8443/", "http://[::1]:18100", "https://host/audit/"]
)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    assert Endpoint(url).url == url


def test_a_path_goes_before_every_route(kind: str) -> None:
    with AnsweringServer.running() as server:
        for end in ("/prefix", "/prefix/"):
            with asking(kind, server.url + end) as asked:
                assert asked.health() == HEALTHY
        assert [received.path for received in server.received] == ["/prefix/health"] * 2


@pytest.mark.parametrize("host", ["127.0.0.1:1", "host.invalid", "a" * 70, "a..b"])
def test_nobody_there_is_a_transport_error(kind: str, host: str) -> None:
    with asking(kind, f"http://{host}") as asked, pytest.raises(TransportError):
        asked.health()


# Proxies.


def test_the_environment_has_no_say_unless_asked(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with AnsweringServer.running() as server:
        with asking(kind, server.url) as asked:
            assert asked.health() == HEALTHY
        endpoint = Endpoint(server.url, trust_env=True)
        with asking(kind, endpoint) as asked, pytest.raises(TransportError):
            asked.health()


# Answers.


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>"),
        Answer(200, b""),
        Answer(200, b'{"status":"fine"}'),
        Answer(200, b'{"status":"healthy","database":"\xff"}'),
        Answer(200, b"\x1f", {"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_of_somebody_else_is_a_transport_error(kind: str, answer: Answer) -> None:
    with (
        AnsweringServer.always(answer) as server,
        asking(kind, server.url) as asked,
        pytest.raises(TransportError),
    ):
        asked.health()


@pytest.mark.parametrize("status", [302, 404, 429, 500, 502, 503, 504])
def test_an_error_of_somebody_else_keeps_its_text(kind: str, status: int) -> None:
    answer = Answer(status, b"\xff" + b"x" * 1000, {"Location": "/docs", "Retry-After": "soon"})
    with AnsweringServer.always(answer) as server, asking(kind, server.url) as asked:
        for ask in (asked.health, lambda: asked.get("0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4f")):
            with pytest.raises(ServerProblemError) as refused:
                ask()
            assert (refused.value.status, refused.value.type) == (status, "about:blank")
            assert refused.value.detail == "\N{REPLACEMENT CHARACTER}" + "x" * 199
            assert refused.value.retry_after is None


def test_a_server_that_drips_is_left_in_time(kind: str) -> None:
    gone = threading.Event()

    def drops() -> Iterator[bytes]:
        while not gone.wait(0.05):
            yield b" "

    with (
        AnsweringServer.always(Answer(200, drops())) as server,
        asking(kind, Endpoint(server.url, timeout_seconds=0.5)) as asked,
    ):
        try:
            with pytest.raises(TransportError, match=r"no whole answer within 0\.5 s"):
                asked.health()
        finally:
            gone.set()


def test_a_closed_client_asks_nobody(kind: str) -> None:
    with AnsweringServer.running() as server, asking(kind, server.url) as asked:
        assert asked.health() == HEALTHY
        asked.close()
        asked.close()
        with pytest.raises(TransportError, match="the client is closed"):
            asked.health()
        assert len(server.received) == 1


def test_threads_may_share_a_client() -> None:
    with (
        AnsweringServer.running() as server,
        Client(server.url) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        found = list(threads.map(lambda _: client.health(), range(64)))
    assert found == [HEALTHY] * 64


# Tokens.


def bearer(received: Received) -> str | None:
    return received.headers.get("authorization")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return tmp_path / "token"


def test_white_space_around_a_token_does_not_matter(kind: str, token: Path) -> None:
    token.write_text("\n  first \r\n")
    with (
        AnsweringServer.running() as server,
        asking(kind, Endpoint(server.url, token_file=token)) as asked,
    ):
        asked.health()
        assert bearer(server.received[0]) == "Bearer first"


def test_without_a_token_file_there_is_no_token(kind: str) -> None:
    with AnsweringServer.running() as server, asking(kind, server.url) as asked:
        asked.health()
        assert bearer(server.received[0]) is None


@pytest.mark.parametrize("content", [b"", b" \n", b"two tokens", b"a\nb", b"\xff", "ä".encode()])
def test_no_request_goes_out_without_a_token(kind: str, token: Path, content: bytes) -> None:
    with (
        AnsweringServer.running() as server,
        asking(kind, Endpoint(server.url, token_file=token)) as asked,
    ):
        with pytest.raises(TransportError, match="cannot read"):
            asked.health()
        token.write_bytes(content)
        with pytest.raises(TransportError, match="token"):
            asked.health()
        assert server.received == []
        token.write_text("right")
        assert asked.health() == HEALTHY


def test_a_new_token_is_used_and_a_bad_one_is_not(kind: str, token: Path) -> None:
    token.write_text("1")
    with (
        AnsweringServer.running() as server,
        asking(kind, Endpoint(server.url, token_file=token)) as asked,
    ):
        changes: list[tuple[Callable[[], object], str]] = [
            (lambda: None, "Bearer 1"),
            (lambda: token.write_text("2"), "Bearer 2"),
            (lambda: token.write_text(""), "Bearer 2"),
            (lambda: token.write_bytes(b"\xff"), "Bearer 2"),
            (token.unlink, "Bearer 2"),
            (lambda: token.write_text("3"), "Bearer 3"),
            (lambda: replaced(token, "4"), "Bearer 4"),
        ]
        for change, expected in changes:
            change()
            asked.health()
            assert bearer(server.received[-1]) == expected


def replaced(path: Path, content: str) -> None:
    """As an orchestrator does it: another file takes the name."""
    other = path.with_suffix(".new")
    other.write_text(content)
    other.replace(path)


def test_after_a_401_the_token_is_read_anew(kind: str, token: Path) -> None:
    """The token is replaced while a request with the old one is under way."""
    token.write_text("old")

    def decide(received: Received) -> Answer:
        if bearer(received) == "Bearer new":
            return Answer()
        token.write_text("new")
        return UNAUTHORIZED

    with (
        AnsweringServer.running(decide) as server,
        asking(kind, Endpoint(server.url, token_file=token)) as asked,
    ):
        assert asked.health() == HEALTHY
        assert [bearer(received) for received in server.received] == ["Bearer old", "Bearer new"]


def test_a_401_is_told_where_there_is_no_other_token(kind: str, token: Path) -> None:
    token.write_text("old")

    def decide(received: Received) -> Answer:
        if received.path == "/health":
            token.unlink(missing_ok=True)
        return UNAUTHORIZED

    with AnsweringServer.running(decide) as server:
        for endpoint in (Endpoint(server.url), Endpoint(server.url, token_file=token)):
            with asking(kind, endpoint) as asked:
                token.write_text("old")
                for ask in (lambda: asked.verify_chain("x"), asked.health):
                    with pytest.raises(ServerProblemError) as refused:
                        ask()
                    assert refused.value.status == 401
        assert len(server.received) == 4


# Certificates.


class Authority:
    """A certificate authority, and what a server needs of it."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._server = self._authority.issue_cert("localhost")
        self.pem = self._authority.cert_pem.bytes()

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def old() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def new() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(tmp_path: Path, old: Authority) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(old.pem)
    return path


def test_only_the_authority_of_the_file_is_trusted(
    kind: str, ca_file: Path, old: Authority, new: Authority
) -> None:
    with AnsweringServer.running(context=old.context()) as server:
        with asking(kind, Endpoint(server.url, ca_file=ca_file)) as asked:
            assert asked.health() == HEALTHY
        ca_file.write_bytes(new.pem)
        for endpoint in (Endpoint(server.url, ca_file=ca_file), Endpoint(server.url)):
            with (
                asking(kind, endpoint) as asked,
                pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"),
            ):
                asked.health()


def test_a_new_authority_is_trusted_as_soon_as_it_is_in_the_file(
    kind: str, ca_file: Path, old: Authority, new: Authority
) -> None:
    with (
        AnsweringServer.running(context=old.context()) as server,
        asking(kind, Endpoint(server.url, ca_file=ca_file)) as asked,
    ):
        assert asked.health() == HEALTHY
        server.context = new.context()
        with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
            asked.health()
        ca_file.write_bytes(new.pem)
        assert asked.health() == HEALTHY


def test_a_half_written_file_keeps_what_was_trusted(
    kind: str, ca_file: Path, old: Authority, new: Authority
) -> None:
    both = old.pem + new.pem
    with (
        AnsweringServer.running(context=old.context()) as server,
        asking(kind, Endpoint(server.url, ca_file=ca_file)) as asked,
    ):
        assert asked.health() == HEALTHY
        for half in (b"", b"\n", new.pem[: len(new.pem) // 2], both[: len(both) - 50], b"\xff"):
            ca_file.write_bytes(half)
            assert asked.health() == HEALTHY
        ca_file.unlink()
        assert asked.health() == HEALTHY
        ca_file.write_bytes(new.pem)
        server.context = new.context()
        assert asked.health() == HEALTHY


@pytest.mark.parametrize("content", [b"", b"\n", b"no certificate", b"\xff"])
def test_a_file_without_certificates_trusts_nobody(
    kind: str, ca_file: Path, content: bytes
) -> None:
    """An empty one above all: the library would take it for "those of the system"."""
    ca_file.write_bytes(content)
    endpoint = Endpoint("https://localhost:1", ca_file=ca_file)
    with asking(kind, endpoint) as asked, pytest.raises(TransportError, match=r"cert|ca\.pem"):
        asked.health()


def test_comments_in_any_language_do_not_matter(kind: str, ca_file: Path, old: Authority) -> None:
    ca_file.write_bytes("# Főtanúsítvány\n".encode() + old.pem)
    with (
        AnsweringServer.running(context=old.context()) as server,
        asking(kind, Endpoint(server.url, ca_file=ca_file)) as asked,
    ):
        assert asked.health() == HEALTHY


class Held:
    """A server's decision that lets `/api` requests wait until they are released."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._go_on = threading.Event()

    def __call__(self, received: Received) -> Answer:
        if received.path != "/health":
            self.arrived.set()
            assert self._go_on.wait(30)
            return Answer(404, b"late")
        return Answer()

    def release(self) -> None:
        self._go_on.set()


def test_a_request_under_way_ends_well_while_certificates_change(
    ca_file: Path, old: Authority, new: Authority
) -> None:
    held = Held()
    with (
        AnsweringServer.running(held, old.context()) as server,
        Client(Endpoint(server.url, ca_file=ca_file)) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        under_way = thread.submit(client.verify_chain, "x")
        assert held.arrived.wait(30)
        ca_file.write_bytes(old.pem + new.pem)
        assert client.health() == HEALTHY
        assert not under_way.done()
        held.release()
        with pytest.raises(ServerProblemError, match="late"):
            under_way.result(30)


async def test_a_request_under_way_ends_well_while_certificates_change_in_asyncio(
    ca_file: Path, old: Authority, new: Authority
) -> None:
    held = Held()
    with AnsweringServer.running(held, old.context()) as server:
        async with AsyncClient(Endpoint(server.url, ca_file=ca_file)) as client:
            under_way = asyncio.create_task(client.verify_chain("x"))
            assert await asyncio.to_thread(held.arrived.wait, 30)
            ca_file.write_bytes(old.pem + new.pem)  # noqa: ASYNC240  (two kilobytes)
            found = await asyncio.gather(*(client.health() for _ in range(5)))
            assert found == [HEALTHY] * 5
            assert not under_way.done()
            held.release()
            with pytest.raises(ServerProblemError, match="late"):
                await under_way
