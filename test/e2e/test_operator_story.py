"""A workflow's controller tells of one run; it, the server and the database are killed meanwhile.

Five transitions are five events, in order, in a chain that verifies, with payloads that decode.
"""

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from kubernaut.audit import Client
from kubernaut.audit.payloads import ErrorDetails, WorkflowExecutionAuditPayload, decode_payload
from kubernaut.audit.wire import StoredEvent
from kubernaut.local import PostgresServer
from test.datastorage_service import DataStorageProcess
from test.e2e.workflow_operator import RUN, STORY
from test.polling import wait_for

OPERATOR = Path(__file__).with_name("workflow_operator.py")
SECONDS = 90
CORRELATION = RUN["correlation_id"]


class OperatorProcess:
    """The operator, from its start to its SIGKILL."""

    def __init__(self, url: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(OPERATOR), url, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def order(self, order: str) -> dict[str, Any]:
        """Give an order; the counts of its store once it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self._process.stdout], [], [], SECONDS)[0], "no answer"
            part = self._process.stdout.read(2**16)
            assert part, "it ended"
            line += part
        counts: dict[str, Any] = json.loads(line)
        assert counts["recorded"] == sum(
            counts[name] for name in ("delivered", "pending", "quarantined")
        )
        assert counts["quarantined"] == counts["own_conflicts"] == counts["dropped"] == 0
        return counts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def datastorage_away(service: DataStorageProcess, _: PostgresServer) -> Iterator[None]:
    service.kill()
    yield
    service.start()


@contextmanager
def postgresql_away(_: DataStorageProcess, server: PostgresServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def both_away(service: DataStorageProcess, server: PostgresServer) -> Iterator[None]:
    with postgresql_away(service, server), datastorage_away(service, server):
        yield


@pytest.mark.parametrize("away", [datastorage_away, postgresql_away, both_away])
def test_a_run_is_five_events(
    away: Callable[[DataStorageProcess, PostgresServer], Any],
    service: DataStorageProcess,
    postgres_server: PostgresServer,
    tmp_path: Path,
) -> None:
    with OperatorProcess(service.url, tmp_path) as operator:
        operator.order("next")
        operator.order("next")
        assert operator.order("flush")["created"] == 2
        with away(service, postgres_server):
            assert operator.order("next")["pending"] == 1
            operator.order("note")  # On record, and killed before it told of it.
            operator.kill()
            with OperatorProcess(service.url, tmp_path) as second:
                assert second.order("next")["pending"] == 5
    with OperatorProcess(service.url, tmp_path) as third:
        counts = third.order("flush")
        assert (counts["created"], counts["pending"]) == (5, 0)
    assert_five(service.url)


def test_a_run_whose_operator_is_killed_after_every_transition_and_before(
    service: DataStorageProcess, tmp_path: Path
) -> None:
    for order in ("next", "note", "next", "note", "next"):
        with OperatorProcess(service.url, tmp_path) as operator:
            operator.order(order)
        service.kill()
        service.start(wait=False)
    wait_for(lambda: service.client.get("/health/live").is_success, SECONDS, "the service")
    with OperatorProcess(service.url, tmp_path) as operator:
        assert operator.order("flush")["pending"] == 0
    assert_five(service.url)


def test_what_is_told_again_is_not_stored_again(
    service: DataStorageProcess, tmp_path: Path
) -> None:
    with OperatorProcess(service.url, tmp_path) as operator:
        for _ in STORY:
            operator.order("next")
        assert operator.order("flush")["created"] == 5
    with OperatorProcess(service.url, tmp_path) as again:
        counts = again.order("flush")
        assert (counts["created"], counts["duplicates"], counts["pending"]) == (5, 5, 0)
    assert_five(service.url)


def assert_five(url: str) -> None:
    with Client(url) as client:
        events = list(client.query(correlation_id=CORRELATION, order="asc"))
        verified = client.verify_chain(CORRELATION)
    assert [event.chain_seq for event in events] == [1, 2, 3, 4, 5]
    assert [event.event_type for event in events] == [event_type for event_type, _ in STORY]
    assert verified.is_valid
    assert verified.total_events == verified.verified_events == 5
    assert [event.event_outcome for event in events] == [
        "success",
        "success",
        "success",
        "failure",
        "success",
    ]
    assert_payloads(events)


def assert_payloads(events: list[StoredEvent]) -> None:
    payloads: list[WorkflowExecutionAuditPayload] = []
    for event in events:
        payload = decode_payload(event.event_type, event.event_data)
        assert isinstance(payload, WorkflowExecutionAuditPayload)
        assert payload.event_type == event.event_type
        assert payload.execution_name == event.resource_id == RUN["execution_name"]
        assert payload.parameters == RUN["parameters"]
        payloads.append(payload)
    phases = [payload.phase for payload in payloads]
    assert phases == ["Pending", "Pending", "Running", "Failed", "Completed"]
    _, created, started, failed, completed = payloads
    assert created.pipelinerun_name == "wfe-0f3a"
    assert started.started_at == failed.started_at == events[2].event_timestamp
    assert failed.completed_at == completed.started_at == events[3].event_timestamp
    assert isinstance(failed.error_details, ErrorDetails)
    assert failed.error_details.code == events[3].error_code == "ERR_IMAGE_PULL"
    assert isinstance(completed.completed_at, datetime)
    took = events[4].event_timestamp - events[3].event_timestamp
    assert events[4].duration_ms == took // timedelta(milliseconds=1)
