"""What the Go operator lost in an outage, and the opposite: each event is there, once, in order.

The measured failures were: DataStorage away for 8 seconds and then SIGKILL, 273 of 300 events lost;
SIGTERM while it is away, exit code 0 and 298 of 300 lost; 20 SIGKILLs during 200 runs, 19 of 600
missing; the same with Jobs, one run stuck for ever.

Each test has an operator, a DataStorage and a database of its own.
"""

import re
import time
from pathlib import Path
from typing import Any, Final

import pytest

from test.datastorage_service import DataStorageProcess
from test.integration.workflowexecution.crowd import Crowd
from test.operator_process import OperatorProcess, StartOperator
from test.reporting import Report
from test.workflow_executions import COMPLETED, Executions

OUTAGE: Final = 8.0
PENDING: Final = "audit events pending; they are in the journal and will be sent at the next start"
ALONE: Final = {"leader_election": False}
"""Of two that compete for the lease other tests tell; here each kill would cost its duration."""


def assert_nothing_lost(crowd: Crowd, database: str, service: DataStorageProcess) -> None:
    """All Completed with one child each; and every trail is whole, in order, and verified."""
    crowd.assert_completed_once()
    found = crowd.trails(database)
    wrong = {name: found.get(name) for name in crowd.names if found.get(name) != COMPLETED}
    assert not wrong, wrong
    assert found.keys() == set(crowd.names)
    for name in crowd.names[::10]:
        assert service.verify(crowd.correlation_id(name))["is_valid"], name


def stored(crowd: Crowd, database: str) -> int:
    """How many events of theirs DataStorage has."""
    return sum(map(len, crowd.trails(database).values()))


def test_killed_after_eight_seconds_without_datastorage(
    own_executions: Executions,
    start_operator: StartOperator,
    service: DataStorageProcess,
    migrated_url: str,
    report: Report,
) -> None:
    operator = start_operator(datastorage=service.url, controller=ALONE)
    with Crowd(own_executions) as crowd:
        crowd.create(100, at_once=10)
        crowd.wait_ended(20)
        service.kill()
        killed = time.monotonic()
        crowd.wait_ended()
        crowd.wait(lambda: time.monotonic() - killed > OUTAGE, 2 * OUTAGE, "the outage is over")
        missing = 400 - stored(crowd, migrated_url)
        assert missing >= 200, "the outage had nothing to lose"
        audited = crowd.having("AuditRecorded")
        assert audited <= 100 - missing // 4, "acknowledged without being stored"
        operator.kill()
        service.start()
        start_operator(datastorage=service.url, controller=ALONE)
        crowd.wait_audited()
        assert_nothing_lost(crowd, migrated_url, service)
    report(f"killed with {missing} of 400 events not stored; 0 lost")


def test_terminated_while_datastorage_is_away(
    own_executions: Executions,
    start_operator: StartOperator,
    service: DataStorageProcess,
    migrated_url: str,
    report: Report,
) -> None:
    operator = start_operator(datastorage=service.url, controller=ALONE)
    with Crowd(own_executions) as crowd:
        crowd.create(100, at_once=20)
        crowd.wait_ended(10)
        service.kill()
        crowd.wait_ended()
        missing = 400 - stored(crowd, migrated_url)
        assert operator.stop() == 0
        (said,) = (line for line in operator.log_lines() if line["event"] == PENDING)
        assert said["pending"] == missing
        assert Path(said["journal"]).is_dir()
        assert stored(crowd, migrated_url) == 400 - missing
        service.start()
        start_operator(datastorage=service.url, controller=ALONE)
        crowd.wait_audited()
        assert_nothing_lost(crowd, migrated_url, service)
    report(f"terminated with {missing} of 400 events pending, and it said so; 0 lost")


@pytest.mark.parametrize(("engine", "runs", "kills"), [("tekton", 200, 20), ("job", 100, 10)])
def test_killed_again_and_again(
    engine: str,
    runs: int,
    kills: int,
    own_executions: Executions,
    start_operator: StartOperator,
    service: DataStorageProcess,
    migrated_url: str,
    tmp_path: Path,
    report: Report,
) -> None:
    """Every other time the journal is gone too, as with the disk of a lost node."""

    def start(number: int) -> OperatorProcess:
        journal = {"journal_directory": tmp_path / f"journal-{number // 2}"}
        return start_operator(
            datastorage=service.url, controller=ALONE, sections={"datastorage": journal}
        )

    operator = start(0)
    with Crowd(own_executions, engine=engine) as crowd:
        crowd.create(runs, at_once=20)
        for number in range(1, kills + 1):
            crowd.wait_ended(number * runs // (kills + 2))
            operator.kill()
            operator = start(number)
        crowd.wait_audited()
        assert_nothing_lost(crowd, migrated_url, service)
    report(f"{kills} SIGKILLs during {runs} runs ({engine}): none lost, none stuck")


def test_datastorage_is_away_from_the_start(
    own_executions: Executions,
    start_operator: StartOperator,
    service: DataStorageProcess,
    migrated_url: str,
    report: Report,
) -> None:
    """Nothing waits for it but `AuditRecorded`, which says since when."""
    one = own_executions
    service.kill()
    times = {"audit_settle": 0, "cooldown_period": 2}
    start_operator(datastorage=service.url, controller=ALONE, execution=times)
    with Crowd(one) as crowd:
        crowd.hold()
        began = time.monotonic()
        crowd.create(20)
        crowd.wait(lambda: crowd.having("ExecutionCreated") == 20, 30, "all are running")
        running = {name: pending_since(one.get(name)) for name in crowd.names}
        crowd.end()
        crowd.wait_ended(timeout=30)
        took = time.monotonic() - began
        for name in crowd.names:
            obj = one.get(name)
            assert pending_since(obj) == running[name], "written once"
            assert running[name] >= obj["metadata"]["creationTimestamp"]
        crowd.wait(
            lambda: crowd.having("LockReleased") == 20, 30, "locks are released all the same"
        )
        assert crowd.having("AuditRecorded") == 0
        assert stored(crowd, migrated_url) == 0
        service.start()
        crowd.wait_audited()
        assert_nothing_lost(crowd, migrated_url, service)
    report(f"20 runs in {took:.1f} s without DataStorage; all trails made up for")


def pending_since(obj: dict[str, Any]) -> str:
    """Since when its events wait, as its condition says it."""
    (found,) = (each for each in obj["status"]["conditions"] if each["type"] == "AuditRecorded")
    assert (found["status"], found["reason"]) == ("False", "AuditPending")
    match = re.search(r" since (\S+Z)$", found["message"])
    assert match, found
    return match[1]


def test_datastorage_and_postgresql_come_and_go(
    own_executions: Executions,
    start_operator: StartOperator,
    service: DataStorageProcess,
    migrated_url: str,
    postgres_server: Any,
) -> None:
    """Both are taken away in the midst of runs, and come back."""
    start_operator(datastorage=service.url, controller=ALONE)
    with Crowd(own_executions) as crowd:
        crowd.create(120, at_once=15)
        crowd.wait_ended(20)
        service.kill()
        crowd.wait_ended(50)
        service.start()
        crowd.wait_ended(70)
        postgres_server.stop()
        crowd.wait_ended(100)
        postgres_server.start()
        crowd.wait_audited()
        assert_nothing_lost(crowd, migrated_url, service)
