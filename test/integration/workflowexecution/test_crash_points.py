"""The operator is killed with SIGKILL at every point of a run, and another takes over.

The points are those that an unharmed run passes, so a new step is a new point by itself. Whatever
the point: one child is ever created, the phase is right, and the trail is whole, in order and
without anything twice. Each life has namespaces and operators of its own, several at one time.

Cases of section 3.4 of the catalogue: crash between create and the Running write, for each engine;
a duplicate terminal reconcile gives one event; LockReleased once across a restart.
"""

import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import CANCEL_ANNOTATION
from test.datastorage_service import DataStorageProcess
from test.integration.workflowexecution.conftest import operators_of, own_namespaces
from test.operator_process import OperatorProcess, StartOperator
from test.polling import wait_for
from test.reporting import Report
from test.workflow_executions import COMPLETED, FAILED, STARTED, Executions, Trails

PROGRAM: Final = [sys.executable, str(Path(__file__).with_name("crashing_operator.py"))]
QUICK: Final = {"cooldown_period": 2, "audit_settle": 0}
ALONE: Final = {"leader_election": False}
"""That a killed leader's lease has to run out is another test's matter."""
AT_ONCE: Final = 6
START: Final = frozenset(
    {"Record Pending", "AddFinalizer", "Create", "Store Running", "Record Running"}
)
END: Final = frozenset({"CleanUp", "RemoveFinalizer"})
CANCELLED: Final = [*STARTED, "cancel.requested", "workflow.failed"]
PLURALS: Final = {"tekton": "pipelineruns", "job": "jobs"}


@dataclass(frozen=True, kw_only=True)
class Story:
    """A life of a WorkflowExecution.

    Attributes:
        act: what happens once it runs.
        phase: what it comes to; None where it is deleted first.
        tried: steps at which another story's operators are killed already.
    """

    engine: str = "tekton"
    act: Callable[[Executions, str], None]
    phase: str | None
    trail: list[str]
    tried: frozenset[str] = frozenset()


def is_deleted(executions: Executions, _target: str) -> None:
    executions.delete("one")


def is_cancelled(executions: Executions, _target: str) -> None:
    executions.annotate("one", {CANCEL_ANNOTATION: "no longer wanted"})


def ends_by_itself(_executions: Executions, _target: str) -> None:
    """The Job controller and the simulated kubelet see to it."""


STORIES: Final = {
    "success": Story(
        act=lambda executions, target: executions.succeed(target),
        phase="Completed",
        trail=COMPLETED,
    ),
    "failure": Story(
        act=lambda executions, target: executions.fail(target),
        phase="Failed",
        trail=FAILED,
        tried=START | END,
    ),
    "cancellation": Story(act=is_cancelled, phase="Failed", trail=CANCELLED, tried=START | END),
    "deletion": Story(act=is_deleted, phase=None, trail=CANCELLED, tried=START),
    "job": Story(
        engine="job",
        act=ends_by_itself,
        phase="Completed",
        trail=COMPLETED,
        tried=frozenset(
            {
                "Record Pending",
                "AddFinalizer",
                "Record Running",
                "Record Completed",
                "RemoveFinalizer",
            }
        ),
    ),
}


class Life:
    """One WorkflowExecution in namespaces of its own, from its creation to its end."""

    def __init__(
        self, story: Story, executions: Executions, start: StartOperator, directory: Path
    ) -> None:
        self.story = story
        self.executions = executions
        self.target = executions.target("one")
        self._start = start
        self._directory = directory
        self._operators: list[OperatorProcess] = []

    def begin(self, crash_at: str = "") -> None:
        points = self._directory / f"points-{len(self._operators)}"
        points.touch()
        environment = {"CRASH_POINTS": str(points), "CRASH_AT": crash_at}
        operator = self._start(
            execution=QUICK,
            controller=ALONE,
            program=PROGRAM,
            environment=environment,
            wait=False,
        )
        self._operators.append(operator)

    @property
    def points(self) -> list[str]:
        """Those that the first operator passed."""
        return (self._directory / "points-0").read_text().splitlines()

    def live(self, trails: Trails) -> None:
        executions, story = self.executions, self.story
        plural = PLURALS[story.engine]
        before = executions.child_version(plural)
        executions.create("one", engine=story.engine)
        child = self._until(lambda: executions.child(self.target, plural), "a child")
        if story.engine == "tekton":
            self._until(lambda: self._has("ExecutionCreated"), "Running is stored")
            executions.tell_tasks(self.target, done=0)
            self._until(lambda: self._has("ExecutionRunning", "AuditRecorded"), "it runs")
        story.act(executions, self.target)
        if story.phase is not None:
            self._until(lambda: self._has("LockReleased", "AuditRecorded"), "the release")
            status = executions.status("one")
            assert status["phase"] == story.phase
            assert status["startTime"] == child["metadata"]["creationTimestamp"]
            executions.delete("one")
        self._until(lambda: not executions.exists("one"), "the end of the deletion")
        assert executions.child(self.target, plural) is None
        correlation = f"rr-{executions.namespace}-one"
        self._until(lambda: len(trails.types(correlation)) >= len(story.trail), "all events")
        trails.wait_types(correlation, story.trail)
        assert executions.created_since(before, plural) == [child["metadata"]["uid"]]
        assert executions.reasons("one").count("LockReleased") <= 1

    def _until(self, check: Callable[[], Any], what: str) -> Any:
        """Wait; where the operator was killed, another one takes over, once."""

        def look() -> Any:
            if not self._operators[-1].is_running:
                log = self._operators[-1].log()[-3000:]
                assert self._operators[-1].wait() == -signal.SIGKILL, log
                assert len(self._operators) == 1, log
                self.begin()
            return check()

        return wait_for(look, 60, what)

    def _has(self, *types: str) -> bool:
        """Whether these conditions are true, and what is stored is the last word."""
        found = self.executions.status("one").get("conditions", [])
        return set(types) <= {one["type"] for one in found if one["status"] == "True"}


class Stage:
    """Where lives are lived."""

    def __init__(self, cluster: LocalCluster, service: DataStorageProcess, home: Path) -> None:
        self._cluster = cluster
        self._service = service
        self._home = home

    def live(self, story: Story, crash_at: str) -> list[str]:
        """Live once; the points that the first operator passed."""
        executions = own_namespaces(self._cluster)
        directory = self._home / executions.namespace
        directory.mkdir()
        with operators_of(executions, self._service.url, directory) as start:
            life = Life(story, executions, start, directory)
            life.begin(crash_at)
            life.live(Trails(self._service))
        return life.points


def worth_dying_at(story: Story, passed: list[str]) -> list[str]:
    """The points that no other story tries.

    The first story tries all of them. For the others `before` is left out, as nothing happens
    between the end of a step and the beginning of the next. A point that is passed again is a mere
    repetition, but for the later writes of the status: the trail is stored, the target is free.
    """
    points = []
    for point in dict.fromkeys(passed):
        when, _, what = point.partition(" ")
        name, _, number = what.rpartition(" ")
        is_repeated = number.isdigit()
        if story.tried:
            is_worth = what not in story.tried and when == "after" and not is_repeated
        else:
            is_worth = not is_repeated or name.startswith("Store")
        if is_worth:
            points.append(point)
    return points


@pytest.mark.parametrize("name", STORIES)
def test_a_kill_at_every_point(
    name: str,
    bare_cluster: LocalCluster,
    shared: DataStorageProcess,
    tmp_path: Path,
    report: Report,
) -> None:
    story = STORIES[name]
    stage = Stage(bare_cluster, shared, tmp_path)
    points = worth_dying_at(story, stage.live(story, ""))

    def survives(point: str) -> str | None:
        """What was wrong; None where nothing was."""
        try:
            passed = stage.live(story, point)
        except AssertionError as error:
            return f"killed at {point!r}: {error}"
        return None if point in passed else f"{point!r} was not passed"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = list(filter(None, pool.map(survives, points)))
    report(f"{name}: killed at {len(points)} points: {', '.join(points)}")
    assert {"after Create", "after Explain", "after Stop", "after RemoveFinalizer"} & set(points)
    assert not wrong, "\n".join(wrong)
