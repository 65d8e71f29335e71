"""The lifecycle cases of the report (catalogue 2.10)."""

from test.workflow_executions import COMPLETED, Executions, Trails


def test_first(executions: Executions, trails: Trails) -> None:
    created = executions.create("one")
    target = executions.target("one")
    executions.wait_phase("one", "Running", 10)
    executions.succeed(target)
    status = executions.wait_phase("one", "Completed")
    correlation = created["spec"]["remediationRequestRef"]["name"]
    trails.wait_types(correlation, COMPLETED)
    print(executions.reasons("one"), executions.get("one"))
    executions.wait_condition("one", "AuditRecorded")
    assert status == 1
