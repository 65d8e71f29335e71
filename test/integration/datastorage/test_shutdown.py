"""The end of a service: what was taken is answered, and a restart finds it."""

import signal
import socket
import threading
from uuid import uuid4

import httpx2
import psycopg

from kubernaut.audit import uuid7
from test.datastorage_service import EVENTS, DataStorageProcess, StartService
from test.polling import wait_for


def event(name: str) -> dict[str, str]:
    return {
        "event_id": str(uuid7()),
        "event_timestamp": "2026-11-01T00:00:00Z",
        "event_category": "workflow",
        "event_action": "progressed",
        "correlation_id": name,
    }


class Waiting:
    """Requests that the service has taken and cannot commit, because a test holds their lock."""

    def __init__(self, service: DataStorageProcess, url: str, count: int) -> None:
        self.name = f"rr-{uuid4()}"
        assert service.post(EVENTS, event(self.name)).status_code == 201
        self._lock = psycopg.connect(url)
        self._lock.execute(
            "SELECT FROM chain_head WHERE correlation_id = %s FOR UPDATE", [self.name]
        )
        self.statuses: list[int | str] = []
        self._threads = [
            threading.Thread(target=self._post, args=(service.url,)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()
        wait_for(
            lambda: f"inflight_requests {count}.0" in service.get("/metrics").text, 20, "requests"
        )

    def _post(self, url: str) -> None:
        try:
            answer = httpx2.post(url + EVENTS, json=event(self.name), timeout=60, trust_env=False)
            self.statuses.append(answer.status_code)
        except httpx2.TransportError as error:
            self.statuses.append(type(error).__name__)

    def release(self) -> None:
        self._lock.close()
        for thread in self._threads:
            thread.join()


def test_sigterm_finishes_what_was_taken(start_service: StartService, migrated_url: str) -> None:
    service = start_service()
    waiting = Waiting(service, migrated_url, count=5)
    kept = service.client.get("/readyz")
    assert kept.status_code == 200
    service.signal(signal.SIGTERM)
    wait_for(lambda: not accepts(service), 10, "the end of accepting")
    assert waiting.statuses == []
    waiting.release()
    assert waiting.statuses == [201] * 5
    assert service.wait() == 0
    again = start_service()
    assert again.verify(waiting.name)["total_events"] == 6


def accepts(service: DataStorageProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", service.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_an_idle_service_stops_with_code_0(start_service: StartService) -> None:
    assert start_service().stop() == 0


def test_a_second_sigterm_ends_it_at_once(start_service: StartService, migrated_url: str) -> None:
    service = start_service()
    waiting = Waiting(service, migrated_url, count=1)
    service.signal(signal.SIGTERM)
    wait_for(lambda: '"stopping"' in service.log(), 10, "the first signal to arrive")
    service.signal(signal.SIGTERM)
    assert service.wait(timeout=5) != 0
    waiting.release()
    assert waiting.statuses != [201]


def test_a_grace_period_that_is_over_ends_it(
    start_service: StartService, migrated_url: str
) -> None:
    service = start_service(server={"shutdown_timeout": 1})
    waiting = Waiting(service, migrated_url, count=1)
    service.signal(signal.SIGTERM)
    assert service.wait(timeout=8) == 0
    waiting.release()
    assert waiting.statuses != [201]


def test_a_port_in_use_is_one_clear_line(
    service: DataStorageProcess, start_service: StartService
) -> None:
    second = start_service(wait=False, server={"port": service.port})
    assert second.wait() == 1
    lines = [line for line in second.log().splitlines() if not line.startswith("{")]
    (line,) = lines
    assert f"cannot listen on 127.0.0.1:{service.port}: Address already in use" in line
