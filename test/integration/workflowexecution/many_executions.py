"""Many WorkflowExecutions at one time: created, ended by a thread, and looked at as a whole.

`assert_right` is what must hold after any fault: of each exactly one child was ever created, its
phase is right, and its chain holds exactly the events that it owes, in order, and is valid.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg

from kubernaut.workflowexecution import lock_name
from test.datastorage_service import DataStorageProcess
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.watched import Watched
from test.polling import wait_for
from test.workflow_executions import (
    COMPLETED,
    FAILED,
    GROUP,
    Executions,
    Object,
    Trails,
)

_AT_ONCE = 8
_EACH_FIFTH = 5
_EACH_TENTH = 10
_LOOK_SECONDS = 0.1
_OWNER = "kubernaut.ai/workflow-execution"
_SIMULATED_FAILURE = {"simulation.kubernaut.ai/exit-code": "1"}
_PLURALS = {"tekton": "pipelineruns", "job": "jobs"}
_CHAINS = """
SELECT chain.correlation_id, array_agg(event.event_type::text ORDER BY chain.seq)
  FROM audit_chain chain JOIN audit_events event USING (event_id, correlation_id)
 GROUP BY chain.correlation_id
"""


@dataclass(frozen=True)
class Chains:
    """A DataStorage with a database that no other test writes to."""

    service: DataStorageProcess
    database_url: str

    def types(self) -> dict[str, list[str]]:
        """The types of all events of each chain, in order, without their category.

        An event that is in no chain fails the test.
        """
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(_CHAINS).fetchall()
            count = connection.execute("SELECT count(*) FROM audit_events").fetchone()
        assert count == (sum(len(types) for _, types in found),)
        return {
            chain: [type_.removeprefix("workflowexecution.") for type_ in types]
            for chain, types in found
        }

    def count(self) -> int:
        """How many events there are."""
        return sum(map(len, self.types().values()))


def is_recorded(wfe: Object) -> bool:
    """Whether it says that its trail is stored."""
    return any(
        one["type"] == "AuditRecorded" and one["status"] == "True"
        for one in wfe.get("status", {}).get("conditions", [])
    )


def phase_of(wfe: Object) -> str:
    """Empty where nothing is stored yet."""
    return str(wfe.get("status", {}).get("phase", ""))


class ManyExecutions:
    """A number of WorkflowExecutions, each on a target of its own; every fifth fails.

    Args:
        executions: the namespace, used by nobody else.
        count: how many.
        engine: `tekton`, where `finishing` ends them, or `job`, where they end by themselves.
        first: the number of the first.
    """

    def __init__(
        self, executions: Executions, count: int, *, engine: str = "tekton", first: int = 0
    ) -> None:
        self._executions = executions
        self._engine = engine
        self._plural = _PLURALS[engine]
        self._numbers = range(first, first + count)
        self._version = executions.child_version(self._plural)
        self._created: dict[str, Object] = {}
        self.names = [f"run-{number:03}" for number in self._numbers]

    def fails(self, name: str) -> bool:
        """Whether it is one that fails."""
        return int(name.removeprefix("run-")) % _EACH_FIFTH == 0

    def correlation(self, name: str) -> str:
        return f"rr-{self._executions.namespace}-{name}"

    @property
    def owed(self) -> dict[str, list[str]]:
        """What the chains must hold in the end."""
        return {
            self.correlation(name): FAILED if self.fails(name) else COMPLETED for name in self.names
        }

    def create(self) -> None:
        """Create all of them."""

        def create(name: str) -> None:
            by_itself = self._engine == "job" and self.fails(name)
            annotations = _SIMULATED_FAILURE if by_itself else {}
            self._executions.create(name, engine=self._engine, annotations=annotations)

        self._each(create)

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Create all of them meanwhile, and see every child that comes, also if it goes again."""
        with Watched(self._executions, self._plural) as seen, ThreadPoolExecutor(1) as pool:
            done = pool.submit(self.create)
            yield
            done.result()
        self._note(seen.states())
        self._version = seen.version

    def objects(self) -> dict[str, Object]:
        """Those that there are, by name."""
        path = f"{GROUP}/namespaces/{self._executions.namespace}/workflowexecutions"
        answer = self._executions.cluster.api("GET", path)
        assert answer.status == 200, answer
        found = {one["metadata"]["name"]: one for one in answer.body["items"]}
        return {name: found[name] for name in self.names if name in found}

    def phases(self) -> list[str]:
        return [phase_of(wfe) for wfe in self.objects().values()]

    def progress(self) -> float:
        """From 0 to 1: how far all of them are; running is half the way."""
        phases = self.phases()
        ended = sum(phase in ("Completed", "Failed") for phase in phases)
        return (ended + phases.count("Running") / 2) / len(self.names)

    def wait_progress(self, part: float, timeout: float = 60) -> None:
        """Until they are as far as this."""
        wait_for(lambda: self.progress() >= part, timeout, f"{part:.0%} of the work")

    def wait_ended(self, timeout: float = 60) -> None:
        """Until all are terminal."""
        self.wait_progress(1, timeout)

    def wait_running(self, timeout: float = 60) -> None:
        """Until all are Running."""
        every = len(self.names)
        wait_for(lambda: self.phases().count("Running") == every, timeout, "all are running")

    def wait_recorded(self, timeout: float = 60) -> None:
        """Until all say that their trail is stored, and are terminal."""

        def missing() -> list[str]:
            found = self.objects()
            return [
                f"{name}: {phase_of(found[name])!r}"
                for name in self.names
                if phase_of(found[name]) not in ("Completed", "Failed")
                or not is_recorded(found[name])
            ]

        try:
            wait_for(lambda: missing() == [], timeout, "AuditRecorded")
        except AssertionError as error:
            raise AssertionError(f"not ended and recorded in time: {missing()[:10]}") from error

    def finish(self, names: Iterable[str]) -> None:
        """End the PipelineRuns of these."""
        for name in names:
            target = self._executions.target(name)
            (self._executions.fail if self.fails(name) else self._executions.succeed)(target)

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Meanwhile end every PipelineRun soon after it is there, whatever goes wrong."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(_LOOK_SECONDS):
                # What was not done is seen again: the API server may be away.
                with suppress(OSError, AssertionError):
                    self.finish(self._unfinished())

        thread = threading.Thread(target=work, name="finishing")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _unfinished(self) -> list[str]:
        found = []
        for child in self._children():
            conditions = child.get("status", {}).get("conditions", [])
            if all(one["status"] == "Unknown" for one in conditions):
                found.append(_owner(child))
        return [name for name in found if name in self.names]

    def _children(self) -> list[Object]:
        answer = self._executions.cluster.api("GET", self._executions.child_path(self._plural))
        assert answer.status == 200, answer
        found = list(answer.body["items"])
        self._note(found)
        return found

    def without_history(self) -> None:
        """Note the children that there are; from now on only those that are still there count.

        For an API server that is started again and forgets; no child may be deleted then.
        """
        wait_for(self._children, 30, "an API server that lists")
        self._version = ""

    def _note(self, children: Iterable[Object]) -> None:
        self._created |= {child["metadata"]["uid"]: child for child in children}

    def _each(self, act: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(act, self.names))

    def assert_right(self, chains: Chains) -> None:
        """One child each, the right phase, and exactly the trail that is owed, valid and in order.

        The API server has to answer, and DataStorage too.
        """
        found = self.objects()
        assert {name: phase_of(wfe) for name, wfe in found.items()} == {
            name: "Failed" if self.fails(name) else "Completed" for name in self.names
        }
        self._children()
        if self._version:
            history = self._executions.history(self._version, self._plural)
            self._note(event["object"] for event in history)
        children: dict[str, list[Object]] = {name: [] for name in self.names}
        for child in self._created.values():
            if _owner(child) in children:
                children[_owner(child)].append(child["metadata"])
        for name, (child, *others) in children.items():
            assert others == [], name
            assert child["name"] == lock_name(self._executions.target(name))
            assert found[name]["status"]["startTime"] == child["creationTimestamp"]
        owed = self.owed
        stored = chains.types()
        assert {chain: stored.get(chain) for chain in owed} == owed
        trails = Trails(chains.service)
        for wfe in list(found.values())[::_EACH_TENTH]:
            name = wfe["metadata"]["name"]
            assert_trail(trails, wfe, owed[self.correlation(name)])

        def verify(name: str) -> None:
            verdict = chains.service.verify(self.correlation(name))
            assert verdict["is_valid"], verdict

        self._each(verify)


def _owner(child: Object) -> str:
    """The name of the WorkflowExecution that a child is of."""
    return str(child["metadata"]["annotations"][_OWNER]).partition("/")[2]
