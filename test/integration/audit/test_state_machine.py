"""The whole client as a state machine: any order of recording, faults, restarts and answers.

After every step each event is in one place. At the end, once the way is free, the server has every
event that `record` returned for, once and in order, and nothing else.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kubernaut.audit import (
    AuditStore,
    Client,
    DeliveryLimits,
    Endpoint,
    IdReusedError,
    InvalidEventError,
    uuid7,
)
from test.audit_events import an_event, identified
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import (
    PASS,
    Answer,
    Behaviour,
    CutAnswer,
    ReplaceAnswer,
    ResetAfter,
    ResetBefore,
)
from test.faults.proxy import FaultProxy
from test.integration.audit.trail import assert_accounted, assert_sound

EXAMPLES, STEPS = (100, 60) if os.environ.get("KUBERNAUT_CHAOS") == "long" else (15, 30)
LIMITS = DeliveryLimits(
    batch_events=4, in_flight=3, linger=0.0, backoff_base=0.005, backoff_cap=0.02
)
HTML = b"<html>no</html>"
TRANSIENT = [
    PASS,
    ResetBefore(),
    ResetAfter(),
    CutAnswer(),
    CutAnswer(reset=True),
    *(Answer(status, HTML, "text/html") for status in (400, 403, 404, 413, 502)),
    *(Answer.problem(status) for status in (401, 408, 500, 503)),
    Answer.problem(429, Retry_After="0"),
    ReplaceAnswer(Answer(201, b"{", "application/json")),
    ReplaceAnswer(Answer(201, b'{"event_ids":[],"results":[]}', "application/json")),
]
CORRELATIONS = st.integers(0, 2)


class AuditClient(RuleBasedStateMachine):
    """A store between a program that records and a server behind a bad line."""

    upstream: str

    @initialize()
    def begin(self) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.directory = Path(self.scratch.name) / "journals"
        self.prefix = f"rr-{uuid4()}"
        self.proxy = FaultProxy(self.upstream)
        self.proxy.__enter__()
        self.store = self.opened()
        self.second: AuditStore | None = None
        self.number = 0
        self.recorded: dict[str, list[UUID]] = {}
        self.in_quarantine: set[UUID] = set()
        self.doubtful: set[UUID] = set()

    def opened(self) -> AuditStore:
        return AuditStore(
            Endpoint(self.proxy.url, timeout_seconds=5), self.directory, limits=LIMITS
        )

    def named(self, correlation: int | str) -> str:
        return f"{self.prefix}-{correlation}"

    def next(self, correlation: int | str) -> dict[str, Any]:
        self.number += 1
        return identified(str(uuid7()), self.number, correlation_id=self.named(correlation))

    def keep(self, event: dict[str, Any]) -> None:
        ids = self.recorded.setdefault(event["correlation_id"], [])
        ids.append(UUID(event["event_id"]))

    @rule(correlation=CORRELATIONS, mode=st.sampled_from(["durable", "best_effort"]))
    def record(self, correlation: int, mode: Any) -> None:
        event = self.next(correlation)
        assert self.store.record(event, mode=mode).event_id == UUID(event["event_id"])
        self.keep(event)

    @rule(correlation=CORRELATIONS, count=st.integers(1, 8))
    def record_in_tasks(self, correlation: int, count: int) -> None:
        events = [self.next(correlation) for _ in range(count)]

        async def main() -> None:
            await asyncio.gather(*(self.store.arecord(event) for event in events))

        asyncio.run(main())
        for event in events:  # The first to be submitted is the first in the journal.
            self.keep(event)

    @rule(correlation=CORRELATIONS)
    def record_twice(self, correlation: int) -> None:
        event = self.next(correlation)
        one = self.store.record(event)
        other = self.store.record(event)
        assert one is other or one.outcome is not None
        self.keep(event)

    @rule(correlation=CORRELATIONS, own_id=st.booleans())
    def record_an_id_with_other_content(self, correlation: int, *, own_id: bool) -> None:
        """The first content counts; the other goes into quarantine, or is let be."""
        event = self.next(correlation)
        self.store.record(event, own_id=own_id)
        self.keep(event)
        other = event | {"event_data": {"number": -1}}
        try:
            self.store.record(other, own_id=own_id)
        except IdReusedError:
            assert not own_id
        if not own_id:
            self.doubtful.add(UUID(event["event_id"]))

    @rule()
    def record_what_is_invalid(self) -> None:
        event_id = uuid7()
        with pytest.raises(InvalidEventError) as refused:
            self.store.record(an_event(event_id=str(event_id), event_category="nonsense"))
        assert refused.value.event_id == event_id
        self.in_quarantine.add(event_id)

    @rule(behaviours=st.lists(st.sampled_from(TRANSIENT), min_size=1, max_size=6))
    def disturb(self, behaviours: list[Behaviour]) -> None:
        self.proxy.script(*behaviours)

    @rule(behaviour=st.sampled_from(TRANSIENT))
    def break_the_line(self, behaviour: Behaviour) -> None:
        self.proxy.default = behaviour

    @rule()
    def mend_the_line(self) -> None:
        self.proxy.default = PASS

    @rule()
    def drop_connections(self) -> None:
        self.proxy.drop()

    @rule(timeout=st.sampled_from([0.0, 0.05]))
    def flush(self, timeout: float) -> None:
        flushed = self.store.flush(timeout)
        assert flushed.pending >= 0

    @rule(timeout=st.sampled_from([0.0, 0.05]))
    def restart(self, timeout: float) -> None:
        self.store.close(timeout)
        self.store = self.opened()

    @rule()
    def retry_all(self) -> None:
        self.store.retry()

    @precondition(lambda self: self.second is None)
    @rule()
    def start_a_second_process(self) -> None:
        self.second = self.opened()

    @precondition(lambda self: self.second is not None)
    @rule(count=st.integers(1, 5))
    def record_in_the_second(self, count: int) -> None:
        assert self.second is not None
        for _ in range(count):
            event = self.next("second")
            self.second.record(event)
            self.keep(event)

    @precondition(lambda self: self.second is not None)
    @rule()
    def end_the_second(self) -> None:
        """What it leaves is adopted by the next that starts."""
        assert self.second is not None
        self.second.close(timeout=0)
        self.second = None

    @invariant()
    def every_event_is_in_one_place(self) -> None:
        for store in (getattr(self, "store", None), getattr(self, "second", None)):
            if store is not None:
                assert_accounted(store)
        if hasattr(self, "directory"):
            assert_sound(self.directory)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            self.finish()
        finally:
            self.store.close(timeout=0)
            if self.second is not None:
                self.second.close(timeout=0)
            self.proxy.end()
            self.scratch.cleanup()

    def finish(self) -> None:
        self.proxy.clear()
        self.proxy.default = PASS
        if self.second is not None:
            self.end_the_second()
        self.restart(0.0)
        self.deliver_all()
        refused = {event.event_id for event in self.store.quarantined()}
        assert self.in_quarantine <= refused <= self.in_quarantine | self.doubtful
        stored = 0
        with Client(self.upstream) as client:
            for correlation, ids in self.recorded.items():
                events = list(client.query(correlation_id=correlation, order="asc"))
                events.sort(key=lambda event: event.chain_seq or 0)
                assert [event.event_id for event in events] == ids
                assert all(event.data["number"] >= 0 for event in events)
                assert client.verify_chain(correlation).is_valid
                stored += len(events)
        stats = self.store.stats()
        assert stats.recorded - stats.quarantined == stats.delivered
        assert stats.delivered - stats.own_conflicts >= 0
        assert stored == sum(map(len, self.recorded.values()))

    def deliver_all(self) -> None:
        assert self.store.flush(60).pending == 0


def test_the_client_keeps_its_promises(shared: DataStorageProcess) -> None:
    class Bound(AuditClient):
        upstream = shared.url

    run: Callable[..., None] = run_state_machine_as_test
    run(
        Bound,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=EXAMPLES < 100,
            suppress_health_check=list(HealthCheck),
        ),
    )
