"""The controller of one workflow execution, as a program: what `test_operator_story.py` runs.

Its object is a file. A transition is noted there, with its time, and then told to the audit trail;
after a start all that is noted is told again, for nobody knows how far the one before had come.

Each line on standard input is an order, answered by a line of counts: `next` makes the next
transition, `note` only notes it, `flush` waits until what was told is delivered.
"""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from kubernaut.audit import (
    AuditEvent,
    AuditStore,
    DeliveryLimits,
    WorkflowRun,
    deterministic_id,
    workflow_completed,
    workflow_execution_started,
    workflow_failed,
    workflow_selection_completed,
    workflow_started,
)

FLUSH_SECONDS = 60
LIMITS = DeliveryLimits(backoff_cap=0.5)
RUN: WorkflowRun = {
    "correlation_id": "rr-payment-api-7",
    "namespace": "payments",
    "execution_name": "restart-payment-api",
    "workflow_id": "restart-deployment",
    "workflow_version": "1.2.0",
    "target_resource": "payments/deployment/api",
    "container_image": "registry.example/workflows/restart:1.2.0",
    "parameters": {"REPLICAS": "3", "GRACE": "30s"},
}
UID = "0f3a5b5e-2f0c-4b52-9d39-6f2b1c1f7a10"
# The first attempt fails, the second one is a success.
STORY = [
    ("workflowexecution.selection.completed", "1"),
    ("workflowexecution.execution.started", "1"),
    ("workflowexecution.workflow.started", "1"),
    ("workflowexecution.workflow.failed", "1"),
    ("workflowexecution.workflow.completed", "2"),
]


def event(moments: Sequence[datetime], number: int) -> AuditEvent:
    """The event of a transition: a function of what is on record, and of nothing else."""
    event_type, attempt = STORY[number]
    moment = moments[number]
    identity = deterministic_id(moment, UID, event_type, attempt)
    builders: list[Callable[[], AuditEvent]] = [
        lambda: workflow_selection_completed(**RUN, event_id=identity, event_timestamp=moment),
        lambda: workflow_execution_started(
            **RUN, event_id=identity, event_timestamp=moment, pipelinerun_name="wfe-0f3a"
        ),
        lambda: workflow_started(
            **RUN, event_id=identity, event_timestamp=moment, started_at=moment
        ),
        lambda: workflow_failed(
            **RUN,
            event_id=identity,
            event_timestamp=moment,
            started_at=moments[2],
            completed_at=moment,
            failure_reason="ImagePullBackOff",
            failure_message="the registry does not answer",
        ),
        lambda: workflow_completed(
            **RUN,
            event_id=identity,
            event_timestamp=moment,
            started_at=moments[3],
            completed_at=moment,
            retry_count=1,
        ),
    ]
    return builders[number]()


class Operator:
    """Takes one workflow execution through its transitions."""

    def __init__(self, store: AuditStore, record: Path) -> None:
        self._store = store
        self._record = record
        self._moments: list[datetime] = []
        if record.exists():
            self._moments = [
                datetime.fromisoformat(text) for text in json.loads(record.read_text())
            ]
        for number in range(len(self._moments)):
            self._tell(number)

    def _tell(self, number: int) -> None:
        self._store.record(event(self._moments, number), own_id=True)

    def _note(self) -> None:
        self._moments.append(datetime.now(UTC))
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps([moment.isoformat() for moment in self._moments]))
        new.replace(self._record)

    def obey(self, order: str) -> None:
        match order:
            case "next":
                self._note()
                self._tell(len(self._moments) - 1)
            case "note":
                self._note()
            case "flush":
                self._store.flush(FLUSH_SECONDS)
            case _:
                raise ValueError(order)


def main(url: str, directory: str) -> None:
    with AuditStore(url, Path(directory, "journals"), limits=LIMITS) as store:
        operator = Operator(store, Path(directory, "execution.json"))
        for order in sys.stdin:
            operator.obey(order.strip())
            print(json.dumps(store.stats()._asdict()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
