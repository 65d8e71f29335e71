"""What the Go operator loses, and this one does not: events in an outage, runs in a crash.

DataStorage is the test's own, and so is its database: what is counted there is all that there is.

Cases of the issue (sections 4 and 5): the audit service down for 8 seconds and then SIGKILL;
SIGTERM while it is down; SIGKILLs during many runs, with PipelineRuns and with Jobs. Of section 3.4
of the catalogue: DataStorage down during execution.
"""

import re
import time
from pathlib import Path
from typing import Any, Final

import pytest

from test.datastorage_service import DataStorageProcess
from test.integration.workflowexecution.many_executions import (
    Chains,
    ManyExecutions,
    is_recorded,
)
from test.operator_process import OperatorProcess, StartOperator
from test.polling import wait_for
from test.reporting import Report
from test.workflow_executions import Executions, Object

ALONE: Final = {"leader_election": False}
"""That a killed leader's lease has to run out is another test's matter."""
PENDING: Final = "audit events pending; they are in the journal and will be sent at the next start"
OUTAGE_SECONDS: Final = 8
MOST_WORK: Final = 0.8
"""The last kill is while there is work left."""


@pytest.fixture
def chains(service: DataStorageProcess, migrated_url: str) -> Chains:
    """DataStorage of the test's own."""
    return Chains(service, migrated_url)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A journal directory that no other operator has."""
    return tmp_path / "elsewhere"


def condition(wfe: Object) -> dict[str, Any]:
    """`AuditRecorded`."""
    (found,) = (one for one in wfe["status"]["conditions"] if one["type"] == "AuditRecorded")
    return dict(found)


def owed_count(many: ManyExecutions) -> int:
    return sum(map(len, many.owed.values()))


def test_an_outage_and_then_sigkill_lose_nothing(
    own_executions: Executions,
    start_operator: StartOperator,
    chains: Chains,
    elsewhere: Path,
    report: Report,
) -> None:
    """The next operator has another journal, as on another node: the objects say what is owed."""
    operator = start_operator(controller=ALONE, datastorage=chains.service.url)
    many = ManyExecutions(own_executions, 100)
    with many.creating(), many.finishing():
        many.wait_progress(0.2)
        chains.service.kill()
        began = time.monotonic()
        many.wait_ended()
    wait_for(lambda: time.monotonic() - began >= OUTAGE_SECONDS, 20, "a long outage")
    unknown = [wfe for wfe in many.objects().values() if not is_recorded(wfe)]
    assert {condition(wfe)["reason"] for wfe in unknown} == {"AuditPending"}
    operator.kill()
    chains.service.start()
    missing = owed_count(many) - chains.count()
    assert missing > 0
    assert unknown
    journal = {"datastorage": {"journal_directory": elsewhere}}
    start_operator(controller=ALONE, datastorage=chains.service.url, sections=journal)
    many.wait_recorded()
    many.assert_right(chains)
    report(f"{missing} of {owed_count(many)} events were not stored at the SIGKILL; lost: 0")


def test_sigterm_in_an_outage_says_what_is_pending_and_loses_nothing(
    own_executions: Executions,
    start_operator: StartOperator,
    chains: Chains,
) -> None:
    operator = start_operator(controller=ALONE, datastorage=chains.service.url)
    many = ManyExecutions(own_executions, 100)
    chains.service.kill()
    with many.creating(), many.finishing():
        many.wait_ended()
    # All events are recorded by then: an end that is not told of yet would be told at next start.
    wait_for(
        lambda: (
            operator.metric("audit_buffer_size", service="workflowexecution") == owed_count(many)
        ),
        10,
        "all events in the journal",
    )
    assert operator.stop() == 0
    (line,) = [line for line in operator.log_lines() if line["event"] == PENDING]
    assert line["pending"] == owed_count(many)
    assert Path(line["journal"]) == operator.log_path.parent / "journal"
    chains.service.start()
    assert chains.count() == 0
    start_operator(controller=ALONE, datastorage=chains.service.url)
    many.wait_recorded()
    many.assert_right(chains)


def killed_on_the_way(operator: OperatorProcess, many: ManyExecutions, kills: int) -> None:
    """Kill the operator and start it again, so many times, evenly over the work."""
    for number in range(kills):
        many.wait_progress(MOST_WORK * (number + 1) / kills)
        operator.kill()
        assert many.progress() < 1
        operator.start(wait=False)


def test_20_sigkills_during_200_runs_lose_and_repeat_nothing(
    own_executions: Executions,
    start_operator: StartOperator,
    chains: Chains,
) -> None:
    settings = {"cooldown_period": 2}
    operator = start_operator(execution=settings, controller=ALONE, datastorage=chains.service.url)
    many = ManyExecutions(own_executions, 200)
    with many.creating(), many.finishing():
        killed_on_the_way(operator, many, 20)
        many.wait_recorded(90)
    many.assert_right(chains)


def test_10_sigkills_during_100_jobs_leave_none_without_a_phase(
    own_executions: Executions,
    start_operator: StartOperator,
    chains: Chains,
) -> None:
    settings = {"cooldown_period": 2}
    operator = start_operator(execution=settings, controller=ALONE, datastorage=chains.service.url)
    many = ManyExecutions(own_executions, 100, engine="job")
    with many.creating():
        killed_on_the_way(operator, many, 10)
        many.wait_recorded(90)
    many.assert_right(chains)


def test_datastorage_down_from_before_the_start_delays_nothing_but_audit_recorded(
    own_executions: Executions,
    start_operator: StartOperator,
    chains: Chains,
) -> None:
    service = chains.service
    assert service.stop() == 0
    settings = {"cooldown_period": 2}
    start_operator(execution=settings, controller=ALONE, datastorage=chains.service.url)
    many = ManyExecutions(own_executions, 20)
    began = int(time.time())
    with many.creating():
        many.wait_running(10)
        many.finish(many.names)
        many.wait_ended(10)

    def pending() -> dict[str, Object]:
        return {name: condition(wfe) for name, wfe in many.objects().items()}

    before = pending()
    for told in before.values():
        assert (told["status"], told["reason"]) == ("False", "AuditPending")
        assert re.fullmatch(
            r"Audit events are not acknowledged by DataStorage since [0-9T:-]+Z", told["message"]
        )
        since = told["message"].rpartition(" ")[2]
        assert since == told["lastTransitionTime"]
        assert began <= _seconds(since) <= time.time()
    # Neither the release of the target nor another run on it waits for the trail.
    for name in many.names:
        own_executions.wait_condition(name, "LockReleased", timeout=15)
    again = ManyExecutions(own_executions, 1, first=500)
    own_executions.create(again.names[0], target=own_executions.target(many.names[0]))
    own_executions.wait_phase(again.names[0], "Running", 10)
    assert pending() == before, "written once"
    chains.service.start()
    many.wait_recorded()
    for name, told in pending().items():
        events = len(many.owed[many.correlation(name)])
        assert told["reason"] == "AuditSucceeded"
        assert str(events) in told["message"]
    many.assert_right(chains)


def _seconds(moment: str) -> float:
    return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
