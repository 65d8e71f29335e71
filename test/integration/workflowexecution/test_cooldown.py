"""How long a target stays locked after a run: catalogue 2.6, lock_release 375-002, and 3.4.

That a run waits is shown by the time at which it started, which is never before the release of the
lock. So no test waits for nothing to happen.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from kubernaut.workflowexecution import lock_name
from test.operator_process import StartOperator
from test.polling import wait_for
from test.workflow_executions import COMPLETED, Executions, Object, Trails

FINALIZER = "workflowexecution.kubernaut.ai/workflowexecution-cleanup"


def moment(text: str) -> datetime:
    """A time as the API writes it."""
    return datetime.fromisoformat(text)


def text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def waited(first: Object, second: Object) -> float:
    """Seconds from the end of a run to the start of the next."""
    return (moment(second["startTime"]) - moment(first["completionTime"])).total_seconds()


def releases(executions: Executions, name: str) -> list[Object]:
    return [one for one in executions.events(name) if one["reason"] == "LockReleased"]


def stored(
    executions: Executions,
    name: str,
    target: str,
    ended: datetime,
    *,
    finalizers: Sequence[str] = (FINALIZER,),
) -> None:
    """A run that has ended, as an operator before left it."""
    executions.create(name, target=target, finalizers=finalizers)
    executions.patch_status(
        name,
        {
            "phase": "Completed",
            "startTime": text(ended - timedelta(seconds=60)),
            "completionTime": text(ended),
            "executionRef": {"name": lock_name(target)},
        },
    )


@pytest.mark.parametrize("outcome", ["Completed", "Failed"])
def test_the_next_run_waits_for_the_cooldown_and_then_runs(
    own_executions: Executions, start_operator: StartOperator, trails: Trails, outcome: str
) -> None:
    one = own_executions
    start_operator(execution={"cooldown_period": 3})
    target = one.target()
    one.create("first", target=target)
    one.wait_phase("first", "Running")
    old = one.wait_child(target)["metadata"]["uid"]
    one.succeed(target) if outcome == "Completed" else one.fail(target)
    first = one.wait_phase("first", outcome)
    one.create("second", target=target)
    one.wait("second", lambda seen: seen.get("status", {}).get("phase") == "Pending", 3, "Pending")
    second = one.wait_phase("second", "Running")
    assert 3 <= waited(first, second) < 8
    assert one.wait_child(target)["metadata"]["uid"] != old
    one.wait_condition("first", "LockReleased")
    (released,) = releases(one, "first")
    assert released["note"] == f"Lock released for {target} after cooldown"
    (deferred,) = [found for found in one.events("second") if found["reason"] == "CooldownActive"]
    assert f"cooldown active for {target} (remaining: " in deferred["note"]
    one.succeed(target)
    one.wait_phase("second", "Completed")
    trails.wait_types(f"rr-{one.namespace}-second", COMPLETED)


def test_another_target_is_not_blocked(executions: Executions) -> None:
    executions.create("first")
    executions.wait_phase("first", "Running")
    executions.succeed(executions.target("first"))
    first = executions.wait_phase("first", "Completed")
    executions.create("second")
    second = executions.wait_phase("second", "Running", 5)
    assert waited(first, second) < 10, "the cooldown of the first was over; too slow to tell"
    assert "CooldownActive" not in executions.reasons("second")


def test_the_longest_remaining_cooldown_counts(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    one = own_executions
    now = datetime.now(UTC)
    newest = {"first": (0, 15, 15), "middle": (15, 0, 15), "last": (15, 15, 0)}
    for place, ages in newest.items():
        for number, age in enumerate(ages):
            name = f"{place}-{number}"
            stored(one, name, one.target(place), now - timedelta(seconds=age))
        one.create(f"{place}-next", target=one.target(place))
    start_operator(execution={"cooldown_period": 10})
    for place, ages in newest.items():
        status = one.wait_phase(f"{place}-next", "Running", 30)
        assert 10 <= waited(one.status(f"{place}-{ages.index(0)}"), status) < 20
        events = one.events(f"{place}-next")
        (deferred,) = [found["note"] for found in events if found["reason"] == "CooldownActive"]
        remaining = re.search(r"remaining: (\d+)s", deferred)
        assert remaining is not None
        assert int(remaining[1]) > 1, "that of the newest; the others have none"


def test_a_terminal_run_without_finalizer_does_not_lock_for_ever(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    one = own_executions
    target = one.target()
    stored(one, "former", target, datetime.now(UTC), finalizers=())
    one.create("next", target=target)
    start_operator(execution={"cooldown_period": 2})
    assert waited(one.status("former"), one.wait_phase("next", "Running", 20)) >= 2
    one.wait_condition("former", "LockReleased")


def test_what_never_started_has_no_cooldown(executions: Executions) -> None:
    target = executions.target()
    executions.create("wrong", target=target, workflow={"executionBundle": ""})
    wrong = executions.wait_phase("wrong", "Failed")
    assert wrong["failureDetails"]["reason"] == "ConfigurationError"
    executions.create("first", target=target)
    first = executions.wait_phase("first", "Running", 5)
    assert waited(wrong, first) < 10
    executions.create("loser", target=target)
    loser = executions.wait_phase("loser", "Failed")
    assert loser["failureDetails"]["reason"] == "Deduplicated"
    executions.delete("first")
    executions.wait_no_child(target)
    executions.create("second", target=target)
    second = executions.wait_phase("second", "Running", 5)
    assert waited(loser, second) < 10
    for name in ("wrong", "loser"):
        assert releases(executions, name) == [], "there was nothing to release"


def test_another_cluster_has_locks_of_its_own(executions: Executions) -> None:
    target = executions.target()
    executions.create("here", target=target)
    executions.wait_phase("here", "Running")
    executions.succeed(target)
    executions.wait_phase("here", "Completed")
    executions.create("elsewhere", target=target, clusterID="edge-1")
    status = executions.wait_phase("elsewhere", "Failed", 5)
    assert status["failureDetails"]["reason"] == "ConfigurationError"
    assert "clusterID is 'edge-1'" in status["failureDetails"]["message"]
    assert "CooldownActive" not in executions.reasons("elsewhere")
    assert executions.condition("here", "LockReleased") is None, "too slow to tell"
    executions.create("again", target=target)
    executions.wait("again", lambda seen: seen.get("status", {}).get("phase") == "Pending", 3, "")


def test_a_lock_is_released_once_whatever_restarts(
    own_executions: Executions, start_operator: StartOperator
) -> None:
    one = own_executions
    target, cooldown = one.target("early"), {"cooldown_period": 2}
    operator = start_operator(execution=cooldown)
    for name in ("early", "late"):
        one.create(name)
        one.wait_phase(name, "Running")
    one.succeed(target)
    one.wait_phase("early", "Completed")
    one.wait_condition("early", "LockReleased")
    wait_for(lambda: releases(one, "early"), 10, "the event")
    one.succeed(one.target("late"))
    late = one.wait_phase("late", "Completed")
    operator.kill()  # While the cooldown of this one runs.
    for round_ in range(2):
        operator = start_operator(execution=cooldown)
        one.wait_condition("late", "LockReleased")
        one.wait_condition("early", "AuditRecorded")
        # Another run to its release: by then, all that was there was looked at.
        one.create(f"other-{round_}")
        one.wait_phase(f"other-{round_}", "Running")
        one.succeed(one.target(f"other-{round_}"))
        one.wait_condition(f"other-{round_}", "LockReleased")
        assert operator.stop() == 0, "with all its Events written"
    released = one.condition("late", "LockReleased")
    assert released is not None
    took = moment(released["lastTransitionTime"]) - moment(late["completionTime"])
    assert took >= timedelta(seconds=2)
    for name in ("early", "late"):
        (only,) = releases(one, name)
        assert "series" not in only
    assert one.child(target) is None
