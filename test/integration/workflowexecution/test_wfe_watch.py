"""`kubernaut wfe watch`, `trail` and `cancel`: a real API server and a real DataStorage."""

import json
import re
import signal
from typing import Any, Final

from kubernaut import audit
from kubernaut.workflowexecution import (
    WORKFLOW_EXECUTIONS,
    owed_events,
)
from test.datastorage_service import DataStorageProcess
from test.integration.workflowexecution.wfe_command import (
    COMPLETED,
    FAILED,
    RUNNING,
    SECONDS,
    Wfe,
    cluster,
    executions,
    start,
    wfe,
)
from test.workflow_executions import Executions

NOBODY: Final = "http://127.0.0.1:1"
__all__ = ["cluster", "executions", "wfe"]  # Fixtures, found by name.


def test_each_change_is_told_until_the_end(wfe: Wfe, executions: Executions) -> None:
    executions.create("one")
    executions.create("unseen")
    running = start(wfe, "watch", "one", "-n", executions.namespace)
    assert running.stdout is not None
    assert re.fullmatch(r"\d\d:\d\d:\d\d  one  Pending\n", running.stdout.readline())
    executions.patch_status("unseen", FAILED)
    executions.patch_status("one", RUNNING)
    said = running.stdout.readline() + running.stdout.readline()
    assert "  one  Running as wfe-0123456789abcdef\n" in said
    assert "  one  ExecutionRunning=True (ExecutionStarted): it runs\n" in said
    executions.patch_status("one", FAILED)
    said, errors = running.communicate(timeout=SECONDS)
    assert (running.returncode, errors) == (1, "")
    assert "  one  Failed, TaskFailed: task drain, step evict, exit code 1\n" in said
    assert "  one  ExecutionComplete=False (TaskFailed): a task failed\n" in said
    assert "unseen" not in said


def test_one_that_has_ended_well_and_one_that_is_deleted(wfe: Wfe, executions: Executions) -> None:
    executions.create("good")
    executions.patch_status("good", COMPLETED)
    assert "Completed in 45s" in wfe.says("watch", "good")
    executions.create("gone")
    running = start(wfe, "watch", "good", "gone", "-n", executions.namespace)
    assert running.stdout is not None
    seen = ""
    while "gone  Pending" not in seen:
        seen = running.stdout.readline()
        assert seen
    executions.delete("gone")
    said, errors = running.communicate(timeout=SECONDS)
    assert (running.returncode, errors) == (1, "")
    assert said.endswith("gone  deleted\n")


def test_all_are_watched_until_ctrl_c(wfe: Wfe, executions: Executions) -> None:
    executions.create("old")
    running = start(wfe, "watch", "-A")
    assert running.stdout is not None
    seen = ""
    while f"{executions.namespace}/old  Pending" not in seen:
        seen = running.stdout.readline()
        assert seen
    executions.create("new")
    while f"{executions.namespace}/new  Pending" not in seen:
        seen = running.stdout.readline()
        assert seen
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=SECONDS)
    assert (running.returncode, errors) == (0, "")


def stored(service: DataStorageProcess, executions: Executions, name: str) -> list[Any]:
    """Record the trail that a status owes, as the operator does."""
    wfe = WORKFLOW_EXECUTIONS.decoder.decode(json.dumps(executions.get(name)))
    events = owed_events(wfe)
    with audit.Client(service.url) as client:
        client.write_batch(events)
    return events


def test_a_trail_is_in_the_order_of_its_chain_and_verified(
    wfe: Wfe, executions: Executions, shared: DataStorageProcess
) -> None:
    request = f"rr-{executions.namespace}"
    for name, status in (("good", COMPLETED), ("bad", FAILED)):
        executions.create(name, request=request)
        executions.patch_status(name, status)
    server = ["--server", shared.url]
    said = wfe.says("trail", "bad", *server)
    assert f"no event in the chain {request} yet\n" in said
    assert said.endswith("not complete yet: not acknowledged since 09:32\n")
    stored(shared, executions, "good")
    stored(shared, executions, "bad")
    head, *rows = wfe.says("trail", "good", *server).splitlines()
    assert head.split() == ["SEQ", "TIME", "EVENT", "OUTCOME", "FACTS"]
    assert rows.pop() == f"chain verified: 8 events ({request})"
    found = [re.split(r" {3,}", row) for row in rows]
    assert [row[0] for row in found] == ["1", "2", "3", "4"]
    assert [row[2] for row in found] == [
        "selection.completed",
        "execution.started",
        "workflow.started",
        "workflow.completed",
    ]
    assert found[0][4] == f"Restart a deployment 1.0.0 for {executions.target('good')}"
    assert found[1][4] == "wfe-0123456789abcdef"
    assert found[3][1:] == ["2026-11-24 09:30:45", "workflow.completed", "success", "after 45s"]
    bad = wfe.says("trail", "bad", *server)
    assert "failure   TaskFailed: step evict exited with code 1\n" in bad
    whole = wfe.says("trail", "bad", "--all", *server).splitlines()
    assert len(whole) == 1 + 8 + 2
    assert "WorkflowExecution/good" in whole[1]
    assert "workflowexecution.workflow.failed" in whole[8]


def test_a_trail_that_should_be_there_and_is_not_is_told(
    wfe: Wfe, executions: Executions, shared: DataStorageProcess
) -> None:
    executions.create("good")
    executions.patch_status("good", COMPLETED)
    said = wfe.says("trail", "good", "--server", shared.url, code=1)
    assert "BROKEN: no event of good, and AuditRecorded says that all are stored\n" in said


def test_the_chain_of_a_trail_is_that_of_label_or_status(
    wfe: Wfe, executions: Executions, shared: DataStorageProcess
) -> None:
    chain = f"chain-{executions.namespace}"
    executions.create("good", labels={"kubernaut.ai/correlation-id": chain})
    executions.patch_status("good", COMPLETED)
    stored(shared, executions, "good")
    said = wfe.says("trail", "good", "--server", shared.url)
    assert said.endswith(f"chain verified: 4 events ({chain})\n")


def test_without_datastorage_a_trail_is_exit_code_2(wfe: Wfe, executions: Executions) -> None:
    executions.create("good")
    line = wfe.complains("trail", "good", "--server", NOBODY, code=2)
    assert line.startswith(f"no answer from {NOBODY}: ")


def test_cancel_asks_the_operator_and_says_what_happens(wfe: Wfe, executions: Executions) -> None:
    executions.create("one")
    executions.patch_status("one", RUNNING)
    said = wfe.says("cancel", "one", "--reason", "the node is well again")
    assert executions.get("one")["metadata"]["annotations"] == {
        "kubernaut.ai/cancel": "the node is well again"
    }
    assert "The operator stops wfe-0123456789abcdef" in said
    assert 'It becomes Failed, with the message "Cancelled: the node is well again".' in said
    assert f"kubernaut wfe watch one -n {executions.namespace}\n" in said
    assert wfe.complains("cancel", "one") == (
        "one was asked to be cancelled already: the node is well again"
    )


def test_one_that_has_not_started_and_one_that_has_ended(wfe: Wfe, executions: Executions) -> None:
    executions.create("new")
    assert "It has not started, and the operator will not start it." in wfe.says("cancel", "new")
    assert executions.get("new")["metadata"]["annotations"] == {"kubernaut.ai/cancel": ""}
    executions.create("good")
    executions.patch_status("good", COMPLETED)
    assert wfe.complains("cancel", "good") == (
        "good has come to its end already (Completed): there is nothing to cancel"
    )
    assert "annotations" not in executions.get("good")["metadata"]
