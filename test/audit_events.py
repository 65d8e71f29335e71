"""Events for tests of the audit client."""

from typing import Any

from kubernaut.audit._snapshot import Snapshot, snapshot


def an_event(number: int = 0, correlation: str = "rr-1", **members: Any) -> dict[str, Any]:
    """A free-form event; `number` is in its payload."""
    return {
        "event_category": "workflow",
        "event_action": "workflow.progressed",
        "correlation_id": correlation,
        "event_data": {"number": number},
    } | members


def identified(event_id: str, number: int = 0, **members: Any) -> dict[str, Any]:
    """The same with an id of the caller's own, and so with a fixed time."""
    return an_event(number, event_id=event_id, event_timestamp="2026-11-01T00:00:00Z", **members)


def a_shot(number: int = 0, correlation: str = "rr-1", **members: Any) -> Snapshot:
    """An event as the journal takes it."""
    return snapshot(an_event(number, correlation, **members))
