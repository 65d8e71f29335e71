"""The audit client: `record()` an event, and from then on it cannot be lost.

The vocabulary (events, payloads, identifiers) is shared with DataStorage. What a program that only
records does not need is loaded when it is first asked for: importing has to be quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from kubernaut.audit._endpoint import Endpoint, TransportError
from kubernaut.audit._entries import Fate, Quarantined
from kubernaut.audit._errors import (
    IdReusedError,
    InvalidEventError,
    JournalError,
    JournalFullError,
    NotDeliveredError,
    StoreClosedError,
)
from kubernaut.audit._event import AuditEvent, StrictAuditEvent
from kubernaut.audit._identity import deterministic_id, uuid7
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._modes import Mode
from kubernaut.audit._receipt import Receipt
from kubernaut.audit._state import Flushed, StoreHealth, StoreStats
from kubernaut.audit._store import AuditStore

if TYPE_CHECKING:
    from kubernaut.audit._builders import EnvelopeFields, EventFields, free_form_event, typed_event
    from kubernaut.audit._client import AsyncClient, Client, EventFilter, ServerProblemError
    from kubernaut.audit._payload import PayloadError, check_payload
    from kubernaut.audit._workflow_events import (
        FailureReason,
        WorkflowEventFields,
        WorkflowPhase,
        WorkflowRun,
        go_duration,
        workflow_completed,
        workflow_execution_started,
        workflow_failed,
        workflow_selection_completed,
        workflow_started,
    )

__all__ = [
    "AsyncClient",
    "AuditEvent",
    "AuditStore",
    "Client",
    "DeliveryLimits",
    "Endpoint",
    "EnvelopeFields",
    "EventFields",
    "EventFilter",
    "FailureReason",
    "Fate",
    "Flushed",
    "IdReusedError",
    "InvalidEventError",
    "JournalError",
    "JournalFullError",
    "Mode",
    "NotDeliveredError",
    "PayloadError",
    "Quarantined",
    "Receipt",
    "ServerProblemError",
    "StoreClosedError",
    "StoreHealth",
    "StoreStats",
    "StrictAuditEvent",
    "TransportError",
    "WorkflowEventFields",
    "WorkflowPhase",
    "WorkflowRun",
    "check_payload",
    "deterministic_id",
    "free_form_event",
    "go_duration",
    "typed_event",
    "uuid7",
    "workflow_completed",
    "workflow_execution_started",
    "workflow_failed",
    "workflow_selection_completed",
    "workflow_started",
]

_LATER: Final = {
    "EnvelopeFields": "_builders",
    "EventFields": "_builders",
    "free_form_event": "_builders",
    "typed_event": "_builders",
    "AsyncClient": "_client",
    "Client": "_client",
    "EventFilter": "_client",
    "ServerProblemError": "_client",
    "PayloadError": "_payload",
    "check_payload": "_payload",
    "FailureReason": "_workflow_events",
    "WorkflowEventFields": "_workflow_events",
    "WorkflowPhase": "_workflow_events",
    "WorkflowRun": "_workflow_events",
    "go_duration": "_workflow_events",
    "workflow_completed": "_workflow_events",
    "workflow_execution_started": "_workflow_events",
    "workflow_failed": "_workflow_events",
    "workflow_selection_completed": "_workflow_events",
    "workflow_started": "_workflow_events",
}


def __getattr__(name: str) -> Any:
    """Load what was not loaded yet (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return value
