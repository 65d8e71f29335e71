"""Single decisions that a random walk meets too seldom, or whose answer is a text."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from kubernaut.kubernetes import get_condition
from kubernaut.workflowexecution._api import (
    CANCEL_ANNOTATION,
    FINALIZER,
    WorkflowExecution,
    WorkflowReference,
)
from kubernaut.workflowexecution._decide import Seen, decide, holds_lock, needs_attention
from kubernaut.workflowexecution._step import (
    CleanUp,
    Create,
    Observe,
    Replace,
    Step,
    Store,
    Wait,
)
from kubernaut.workflowexecution._trail import TrailState
from kubernaut.workflowexecution.engines import Child, ChildState, Failure, Owner
from test.unit.workflowexecution.worlds import (
    POLICY,
    START,
    STRANGER,
    World,
    child_of,
    execution,
)

NOTHING_OWED = TrailState("stored", 0)
SECOND = timedelta(seconds=1)


def ready(**spec: Any) -> WorkflowExecution:
    """An object with its finalizer."""
    wfe = execution(**spec)
    meta = msgspec.structs.replace(wfe.metadata, finalizers=[FINALIZER])
    return msgspec.structs.replace(wfe, metadata=meta)


def after(wfe: WorkflowExecution, **seen: Any) -> Step:
    return decide(wfe, Seen(trail=NOTHING_OWED, **seen), START + SECOND, POLICY)


def strange(*, over: bool = False, owner: Owner | None = STRANGER, **changes: Any) -> Child:
    state: ChildState = "Succeeded" if over else "Running"
    return replace(child_of(owner, START, "uid-strange"), state=state, **changes)


def completed(name: str, uid: str, ended_after: float) -> WorkflowExecution:
    """Another run on the same target that ended so many seconds after the start."""
    world = World(wfe=execution(name, uid))
    world.run_pass()
    world.advance(ended_after)
    assert world.child is not None
    world.child = world.cached = replace(world.child, state="Succeeded")
    world.run_pass()
    assert world.wfe.phase == "Completed"
    return world.wfe


def failure(step: Step) -> Any:
    assert isinstance(step, Store)
    assert step.status.phase == "Failed"
    return step.status.failure_details


def test_a_strange_running_child_is_looked_at_live_and_then_the_run_is_deduplicated() -> None:
    assert after(ready(), child=strange()) == Observe()
    step = after(ready(), child=strange(), live=True)
    assert failure(step).reason == "Deduplicated"
    assert not failure(step).was_execution_failure
    assert isinstance(step, Store)
    assert step.status.deduplicated_by == "stranger"


def test_a_finished_child_whose_owner_exists_is_waited_for() -> None:
    step = after(ready(), child=strange(over=True), live=True, child_owner_exists=True)
    assert isinstance(step, Store)
    assert step.status.phase == "Pending"


def test_a_finished_child_whose_owner_is_gone_is_replaced() -> None:
    child = strange(over=True)
    step = after(ready(), child=child, live=True, child_owner_exists=False)
    assert step == Replace(child)


def test_a_running_child_whose_owner_is_gone_is_not_replaced() -> None:
    step = after(ready(), child=strange(), live=True, child_owner_exists=False)
    assert failure(step).reason == "Deduplicated"


def test_a_child_of_nobody_is_named_and_left_alone() -> None:
    step = after(ready(), child=strange(owner=None), live=True)
    assert failure(step).reason == "Unknown"
    assert "owner label missing" in failure(step).message


def test_a_namesake_of_the_owner_with_another_uid_is_a_stranger() -> None:
    step = after(ready(), child=strange(owner=Owner("ns", "wfe", "uid-before")), live=True)
    assert failure(step).reason == "Deduplicated"


def test_the_longest_cooldown_counts() -> None:
    early, late = completed("early", "uid-2", 1), completed("late", "uid-3", 41)
    wfe = ready()
    wfe = msgspec.structs.replace(wfe, status=msgspec.structs.replace(wfe.status, phase="Pending"))
    now = START + timedelta(seconds=42)
    for siblings in ((early, late), (late, early)):
        step = decide(wfe, Seen(trail=NOTHING_OWED, siblings=siblings), now, POLICY)
        assert step == Wait(POLICY.cooldown - 1)


def test_a_run_that_never_started_holds_no_lock() -> None:
    world = World(wfe=execution("never", "uid-2", target_resource=""))
    world.run_pass()
    assert world.wfe.phase == "Failed"
    assert not holds_lock(world.wfe)


def test_another_engine_on_the_same_target_excludes() -> None:
    reference = WorkflowReference(
        workflow_id="w", version="1", execution_bundle="image", execution_engine="job"
    )
    running = World(wfe=execution("other", "uid-2"))
    running.run_pass()
    step = after(ready(workflow_ref=reference), siblings=(running.wfe,), live=True)
    assert failure(step).reason == "Deduplicated"


def test_a_sibling_whose_child_was_deleted_is_waited_for() -> None:
    """Its TaskRuns may still be there, and Tekton would take them for the new run's."""
    running = World(wfe=execution("other", "uid-2"))
    running.run_pass()
    assert after(ready(), siblings=(running.wfe,)) == Observe()
    step = after(ready(), siblings=(running.wfe,), live=True)
    assert isinstance(step, Store)
    assert step.status.phase == "Pending"


def test_a_cancelled_run_looks_for_its_child_before_it_says_that_there_is_none() -> None:
    wfe = ready()
    meta = msgspec.structs.replace(wfe.metadata, annotations={CANCEL_ANNOTATION: "wrong"})
    wfe = msgspec.structs.replace(wfe, metadata=meta)
    assert after(wfe) == Observe()
    step = after(wfe, live=True)
    assert failure(step).message == "Cancelled: wrong"
    assert failure(step).reason == "Unknown"


def test_nothing_is_created_before_the_finalizer() -> None:
    world = World()
    world.run_pass()
    kinds = [type(step).__name__ for step in world.steps]
    assert kinds.index("AddFinalizer") < kinds.index("Create")


def test_what_has_ended_without_a_finalizer_releases_its_lock_all_the_same() -> None:
    wfe = completed("former", "uid-former", 1)
    wfe = msgspec.structs.replace(
        wfe, metadata=msgspec.structs.replace(wfe.metadata, finalizers=[])
    )
    later = START + timedelta(seconds=POLICY.cooldown + 10)
    step = decide(wfe, Seen(trail=NOTHING_OWED, live=True, clean=True), later, POLICY)
    assert isinstance(step, Store)
    released = get_condition(step.status.conditions, "LockReleased")
    assert released is not None
    assert released.status == "True"
    deleted = msgspec.structs.replace(wfe.metadata, deletion_timestamp=START)
    gone = msgspec.structs.replace(wfe, metadata=deleted)
    assert decide(gone, Seen(trail=NOTHING_OWED), later, POLICY) == Wait()


def test_released_is_said_once_everything_is_gone() -> None:
    world = World()
    world.run_pass()
    assert world.child is not None
    world.child = world.cached = replace(world.child, state="Succeeded")
    world.run_pass()
    world.acknowledge()
    world.advance(POLICY.cooldown + 1)
    world.cached = world.child
    world.run_pass()
    assert any(isinstance(step, CleanUp) for step in world.steps)
    assert get_condition(world.wfe.status.conditions, "LockReleased") is None
    world.cached = world.child
    world.run_pass()
    released = get_condition(world.wfe.status.conditions, "LockReleased")
    assert released is not None
    assert not needs_attention(world.wfe)


def test_a_child_that_is_long_in_going_does_not_hide_that_the_trail_is_stored() -> None:
    wfe = completed("wfe", "uid-wfe", 1)
    later = START + timedelta(seconds=POLICY.cooldown + 10)
    waiting = Seen(trail=TrailState("pending", 4), live=True)
    assert isinstance(decide(wfe, waiting, later, POLICY), CleanUp)
    step = decide(wfe, Seen(trail=TrailState("stored", 4), live=True), later, POLICY)
    assert isinstance(step, Store)
    audited = get_condition(step.status.conditions, "AuditRecorded")
    assert audited is not None
    assert audited.status == "True"
    assert get_condition(step.status.conditions, "LockReleased") is None
    told = msgspec.structs.replace(wfe, status=step.status)
    assert isinstance(decide(told, waiting, later, POLICY), CleanUp)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"target_resource": ""}, "targetResource is required"),
        ({"target_resource": "a"}, "got 1 parts"),
        ({"target_resource": "a/b/c/d"}, "got 4 parts"),
        ({"target_resource": "a//c"}, "empty part at position 1"),
        ({"cluster_id": "east"}, "leave clusterID out"),
        ({"times_out_at": START}, "give a later time"),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec: dict[str, Any], words: str) -> None:
    step = after(ready(**spec))
    assert failure(step).reason == "ConfigurationError"
    assert words in failure(step).message
    assert not failure(step).was_execution_failure


FORBIDDEN = Failure(reason="Forbidden", message="no right", was_execution_failure=False)


def test_a_creation_that_is_not_allowed_is_tried_again_before_that_is_believed() -> None:
    world = World(refusal=FORBIDDEN)
    assert world.run_pass() == Wait(1.0)
    assert world.wfe.phase == "Pending"
    tries = 1
    while not world.wfe.is_terminal:
        world.now += SECOND
        world.run_pass()
        tries += 1
    assert (world.now - START).total_seconds() == POLICY.refusal_patience
    assert tries == sum(isinstance(step, Create) for step in world.steps) > 1
    assert world.wfe.status.failure_reason == "Forbidden"


def test_a_creation_that_is_allowed_after_all_starts_the_run() -> None:
    world = World(refusal=FORBIDDEN)
    world.run_pass()
    world.refusal = None
    world.now += SECOND
    world.run_pass()
    assert world.wfe.phase == "Running"


def test_a_creation_that_is_wrong_is_not_tried_again() -> None:
    wrong = Failure(reason="ConfigurationError", message="no", was_execution_failure=False)
    answer = after(ready(), refusal=wrong, live=True)
    assert isinstance(answer, Store)
    assert answer.status.phase == "Failed"


def test_a_free_target_is_taken() -> None:
    assert isinstance(after(ready()), Create)
