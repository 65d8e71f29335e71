"""`decide` in a world where anything may happen at any time, crashes included."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kubernaut.workflowexecution._api import CANCEL_ANNOTATION, FORCE_ANNOTATION
from kubernaut.workflowexecution._decide import needs_attention
from kubernaut.workflowexecution._owed import owed_events
from kubernaut.workflowexecution.engines import Failure
from test.unit.workflowexecution.worlds import STRANGER, World, child_of, execution


class Life(RuleBasedStateMachine):
    """The assertions are in `World`: they hold for every step whoever asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(crash_after=st.none() | st.integers(0, 6))
    def reconcile(self, crash_after: int | None) -> None:
        self.world.run_pass(crash_after=crash_after)

    @rule(crash_after=st.none() | st.integers(0, 6))
    def reconcile_with_what_is_there(self, crash_after: int | None) -> None:
        self.world.cached = self.world.child
        self.world.run_pass(crash_after=crash_after)

    @rule()
    def reconcile_to_the_end(self) -> None:
        self.world.cached = self.world.child
        self.world.run_pass()

    @rule(seconds=st.sampled_from([1, 61]))
    def reconcile_later(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.world.cached = self.world.child
        self.world.run_pass()

    @rule(seconds=st.sampled_from([0.5, 1, 5, 59, 61, 299, 301, 700]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def data_storage_answers(self) -> None:
        self.world.acknowledge()

    @precondition(lambda self: self.world.child is not None and not self.world.child.is_over)
    @rule(begun=st.booleans(), tasks=st.integers(0, 3))
    def the_child_goes_on(self, *, begun: bool, tasks: int) -> None:
        assert self.world.child is not None
        self.world.child = replace(
            self.world.child, state="Running", begun=begun, completed_tasks=tasks, total_tasks=3
        )

    @precondition(lambda self: self.world.child is not None and not self.world.child.is_over)
    @rule(state=st.sampled_from(["Succeeded", "Failed"]), says_when=st.booleans())
    def the_child_ends(self, *, state: str, says_when: bool) -> None:
        assert self.world.child is not None
        ended = self.world.now if says_when else None
        self.world.child = replace(self.world.child, state=state, finished_at=ended)  # type: ignore[arg-type]

    @rule()
    def somebody_deletes_the_child(self) -> None:
        self.world.child = None

    @precondition(lambda self: self.world.child is None)
    @rule(over=st.booleans(), labelled=st.booleans())
    def a_stranger_takes_the_name(self, *, over: bool, labelled: bool) -> None:
        child = child_of(STRANGER if labelled else None, self.world.now, "uid-strange")
        self.world.child = replace(child, state="Succeeded" if over else "Running")

    @rule()
    def the_stranger_is_gone(self) -> None:
        self.world.owner_exists = False

    @rule(reason=st.sampled_from(["", "wrong target"]))
    def somebody_cancels(self, reason: str) -> None:
        self.world.annotate(CANCEL_ANNOTATION, reason)

    @rule(token=st.sampled_from(["1", "2"]))
    def somebody_forces(self, token: str) -> None:
        self.world.annotate(FORCE_ANNOTATION, token)

    @rule()
    def somebody_deletes_it(self) -> None:
        self.world.delete()

    @rule(suspended=st.booleans())
    def somebody_suspends(self, *, suspended: bool) -> None:
        self.world.suspended = suspended

    @rule()
    def the_engine_refuses(self) -> None:
        self.world.refusal = Failure(reason="Forbidden", message="no", was_execution_failure=False)

    @rule(phase=st.sampled_from(["Running", "Completed"]))
    def there_is_another_run(self, phase: str) -> None:
        other = execution("other", "uid-2")
        world = World(wfe=other, now=self.world.now)
        world.run_pass()
        if phase == "Completed" and world.child is not None:
            world.child = replace(world.child, state="Succeeded")
            world.cached = world.child
            world.run_pass()
        self.world.siblings = [world.wfe]

    @rule()
    def the_other_run_is_released(self) -> None:
        self.world.siblings = []

    @invariant()
    def events_of_one_state_differ(self) -> None:
        ids = [event.event_id for event in owed_events(self.world.wfe)]
        assert len(ids) == len(set(ids))

    def teardown(self) -> None:
        """Whatever happened, it comes to an end once nothing hinders it any more."""
        world = self.world
        world.suspended, world.siblings, world.owner_exists = False, [], False
        if world.gone:
            return
        if world.child is not None and not world.child.is_over:
            world.child = replace(world.child, state="Succeeded")
        world.settle()
        if world.wfe.phase == "Running" or (world.child is not None and not world.gone):
            if world.child is not None:
                world.child = replace(world.child, state="Succeeded")
            world.settle()
        if not world.gone:
            assert world.wfe.is_terminal, world.wfe
            assert not needs_attention(world.wfe), world.wfe


Life.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLife = Life.TestCase
