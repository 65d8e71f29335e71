"""The examples of the page on building events run, and what they build can be recorded."""

from typing import Any

from kubernaut.audit import AuditEvent
from kubernaut.audit._snapshot import snapshot
from test.unit.docs.pages import blocks, read


def test_the_examples_build_events_that_can_be_recorded() -> None:
    names: dict[str, Any] = {}
    for example in blocks(read("how-to/build-events"), "python"):
        exec(example, names)  # noqa: S102  (the documentation is ours)
    events = {name: value for name, value in names.items() if isinstance(value, AuditEvent)}
    assert set(events) == {
        "selected",
        "started",
        "completed",
        "failed",
        "executed",
        "renewed",
        "again",
    }
    for event in events.values():
        snapshot(event)
    assert events["again"].event_id == names["deterministic_id"](
        names["ended"], "0f3a5b5e", "workflowexecution.workflow.completed", "1"
    )
