"""What people can ask of the operator: cancel, suspend, resume, force a reconcile. All is audited.

Rules of ours, beyond the catalogue; docs/how-to tell how people ask for them.
"""

import os
import subprocess
import sys

from test.operator_process import StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, STARTED, Executions, Trails

CANCEL = "kubernaut.ai/cancel"
FORCE = "kubernaut.ai/force-reconcile"
CANCELLED = [*STARTED, "cancel.requested", "workflow.failed"]


# Cancel


def test_cancel_ends_a_running_run(executions: Executions, trails: Trails) -> None:
    target = executions.begin()
    executions.annotate("wfe", {CANCEL: "wrong cluster"})
    status = executions.wait_phase("wfe", "Failed")
    details = status["failureDetails"]
    assert (details["reason"], details["message"]) == ("Unknown", "Cancelled: wrong cluster")
    assert details["wasExecutionFailure"] is True, "its tasks had begun"
    assert executions.wait_child(target)["spec"]["status"] == "Cancelled"
    *_, cancelled, failed = trails.wait_types(f"rr-{executions.namespace}-wfe", CANCELLED)
    assert cancelled["event_data"]["reason"] == "wrong cluster"
    assert "event_type" not in cancelled["event_data"], "it is free in form"
    assert failed["event_data"]["failure_message"] == "Cancelled: wrong cluster"
    executions.wait_condition("wfe", "AuditRecorded")


def test_cancel_without_a_reason_ends_a_run_that_has_not_begun(
    executions: Executions, trails: Trails
) -> None:
    executions.create()
    executions.wait_phase("wfe", "Running")
    executions.annotate("wfe", {CANCEL: ""})
    details = executions.wait_phase("wfe", "Failed")["failureDetails"]
    assert details["message"].startswith("Cancelled: ")
    assert details.get("wasExecutionFailure", False) is False
    trails.wait_types(f"rr-{executions.namespace}-wfe", CANCELLED)


def test_cancel_ends_a_pending_run(executions: Executions, trails: Trails) -> None:
    target = executions.begin("first")
    executions.succeed(target)
    executions.wait_phase("first", "Completed")
    uid = executions.wait_child(target)["metadata"]["uid"]
    executions.create("waiting", target=target)
    executions.wait("waiting", lambda seen: seen.get("status", {}).get("phase") == "Pending", 5, "")
    executions.annotate("waiting", {CANCEL: "not needed any more"})
    status = executions.wait_phase("waiting", "Failed", 5)
    assert status["failureDetails"]["message"] == "Cancelled: not needed any more"
    assert "startTime" not in status
    assert executions.wait_child(target)["metadata"]["uid"] == uid
    trails.wait_types(
        f"rr-{executions.namespace}-waiting",
        ["selection.completed", "cancel.requested", "workflow.failed"],
    )


def test_cancel_of_a_run_that_has_ended_changes_nothing(quick: Executions, trails: Trails) -> None:
    target = quick.begin()
    quick.succeed(target)
    before = quick.wait_phase("wfe", "Completed")
    quick.annotate("wfe", {CANCEL: "too late"})
    quick.wait_condition("wfe", "LockReleased")
    after = quick.status()
    assert (after["phase"], after["completionTime"]) == ("Completed", before["completionTime"])
    trails.wait_types(f"rr-{quick.namespace}-wfe", COMPLETED)


# Suspend and resume


def command(executions: Executions, *arguments: str) -> str:
    """Run `kubernaut operator ...` as the cluster's administrator; gives what it says."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kubernaut", "operator", *arguments),
            *("--kubeconfig", str(executions.cluster.kubeconfig_path)),
        ],
        env=os.environ
        | {"KUBERNAUT_OPERATOR_CONTROLLER__NAMESPACE": f"{executions.namespace}-operator"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def told_of(trails: Trails, executions: Executions) -> list[tuple[str, str]]:
    """What the trail says of suspensions of the operator of this test, each with its reason."""
    place = f"{executions.namespace}-operator/workflowexecution-operator"
    return [
        (event["event_type"].removeprefix("workflowexecution."), event["event_data"]["reason"])
        for event in trails.events("workflowexecution-operator")
        if event["event_data"]["config_map"] == place
    ]


def test_suspended_it_follows_what_runs_and_starts_nothing(
    own_executions: Executions, start_operator: StartOperator, trails: Trails
) -> None:
    one = own_executions
    operator = start_operator(execution={"cooldown_period": 1})
    target = one.begin("running")
    assert "suspended" in command(one, "suspend", "--reason", "a change of the network")
    wait_for(lambda: operator.metric("workflowexecution_suspended") == 1, 10, "suspended")
    one.create("waiting")
    one.create("unwanted")
    for name in ("waiting", "unwanted"):
        one.wait(name, lambda seen: seen.get("status", {}).get("phase") == "Pending", 10, "")
    one.annotate("unwanted", {CANCEL: "not any more"})
    one.wait_phase("unwanted", "Failed", 10)
    # Meanwhile what runs goes its way, to the release of its lock.
    one.succeed(target)
    one.wait_phase("running", "Completed")
    one.wait_condition("running", "LockReleased")
    assert one.status("waiting")["phase"] == "Pending"
    assert one.child(one.target("waiting")) is None
    # It is stored in the cluster, so that a restart does not forget it.
    operator.kill()
    operator = start_operator(execution={"cooldown_period": 1})
    wait_for(lambda: operator.metric("workflowexecution_suspended") == 1, 10, "still suspended")
    assert one.child(one.target("waiting")) is None
    assert "resumed" in command(one, "resume", "--reason", "it is done")
    one.wait_phase("waiting", "Running", 10)
    assert operator.metric("workflowexecution_suspended") == 0
    told = [("suspended", "a change of the network"), ("resumed", "it is done")]
    wait_for(lambda: told_of(trails, one) == told, 15, "both changes, each told once")
    trails.wait_types(f"rr-{one.namespace}-running", COMPLETED)


# Force a reconcile


def tokens(trails: Trails, correlation_id: str) -> list[str]:
    """The tokens of the forced reconciles in the trail, in their order."""
    return [
        event["event_data"]["token"]
        for event in trails.events(correlation_id)
        if event["event_type"] == "workflowexecution.reconcile.forced"
    ]


def test_a_forced_reconcile_is_audited_once_for_each_token(
    quick: Executions, trails: Trails
) -> None:
    target, trail = quick.begin(), f"rr-{quick.namespace}-wfe"
    for token in ("first", "second"):
        quick.annotate("wfe", {FORCE: token})
        quick.wait(
            "wfe",
            lambda seen: seen["status"].get("reconcileForced", {}).get("token") == token,  # noqa: B023
            10,
            "the token is heard",
        )
        wait_for(lambda: tokens(trails, trail)[-1:] == [token], 10, "it is told")  # noqa: B023
    at = quick.status()["reconcileForced"]["at"]
    quick.annotate("wfe", {FORCE: "second", "unrelated": "change"})
    quick.succeed(target)
    quick.wait_phase("wfe", "Completed")
    quick.annotate("wfe", {FORCE: "third"})
    expected = [*STARTED, *["reconcile.forced"] * 2, "workflow.completed", "reconcile.forced"]
    trails.wait_types(trail, expected)
    assert tokens(trails, trail) == ["first", "second", "third"]
    quick.wait_condition("wfe", "AuditRecorded")
    quick.annotate("wfe", {FORCE: None})
    quick.wait_condition("wfe", "LockReleased")
    trails.wait_types(trail, expected)
    assert quick.status()["reconcileForced"]["at"] >= at
