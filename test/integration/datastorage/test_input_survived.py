"""Rude clients: whatever they do on their connection, others are served."""

import contextlib
import json
import resource
import socket

from test.datastorage_service import BATCH, EVENTS, DataStorageProcess, StartService
from test.polling import wait_for

GOOD = {"event_category": "workflow", "event_action": "started"}
HEAD = f"POST {BATCH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


def connect(service: DataStorageProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def read_to_end(client: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65536):
            answer += chunk
    return answer


def assert_serves(service: DataStorageProcess) -> None:
    assert service.post(EVENTS, GOOD).status_code == 201


def test_a_client_that_hangs_up_in_the_body(shared: DataStorageProcess) -> None:
    before = shared.get(EVENTS, limit=1).json()["pagination"]["total"]
    for _ in range(20):
        with connect(shared) as client:
            client.sendall(HEAD + b'Content-Length: 1000\r\n\r\n[{"event_category":')
    assert_serves(shared)
    assert shared.get(EVENTS, limit=1).json()["pagination"]["total"] == before + 1


def test_a_client_that_hangs_up_before_the_answer(shared: DataStorageProcess) -> None:
    body = json.dumps([GOOD]).encode()
    for _ in range(20):
        with connect(shared) as client:
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert_serves(shared)


def test_a_slow_sender_is_served(shared: DataStorageProcess) -> None:
    body = json.dumps([GOOD]).encode()
    with connect(shared) as client:
        client.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        for byte in body:
            client.sendall(bytes([byte]))
        assert b" 201 " in read_to_end(client)[:20]


def test_pipelined_requests_are_answered_in_order(shared: DataStorageProcess) -> None:
    body = json.dumps([GOOD]).encode()
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(shared) as client:
        client.sendall(one * 5 + last)
        answer = read_to_end(client)
    assert answer.count(b"HTTP/1.1 201 ") == 5
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert answer.rindex(b"HTTP/1.1 201 ") < answer.index(b"HTTP/1.1 200 ")


def test_pipelined_garbage_ends_only_its_connection(shared: DataStorageProcess) -> None:
    with connect(shared) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01\x02 garbage\r\n\r\n")
        assert b" 400 " in read_to_end(client)
    assert_serves(shared)


def test_a_thousand_idle_connections(shared: DataStorageProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1200
    assert hard >= wanted, f"the hard limit of open files must be at least {wanted} (ulimit -Hn)"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with contextlib.ExitStack() as connections:
        for _ in range(1000):
            connections.enter_context(connect(shared))
        assert_serves(shared)


def test_a_head_that_never_ends_is_let_go(start_service: StartService) -> None:
    service = start_service(server={"keep_alive_timeout": 1})
    with connect(service) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")

        def trickle() -> bool:
            try:
                client.sendall(b"x")
            except ConnectionError:
                return True
            client.setblocking(False)
            try:
                return client.recv(1) == b""
            except BlockingIOError:
                return False
            finally:
                client.setblocking(True)

        wait_for(trickle, timeout=15, what="the end of the connection")
    assert_serves(service)
