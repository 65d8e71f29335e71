"""The audit client: `record()` an event, and from then on it cannot be lost.

The vocabulary (events, payloads, identifiers) is shared with DataStorage.
"""

from kubernaut.audit._client import AsyncClient, Client, EventFilter, ServerProblemError
from kubernaut.audit._event import AuditEvent, StrictAuditEvent
from kubernaut.audit._identity import uuid7
from kubernaut.audit._journal import IdReusedError, JournalError, JournalFullError
from kubernaut.audit._limits import DeliveryLimits
from kubernaut.audit._payload import PayloadError, check_payload
from kubernaut.audit._receipt import Receipt
from kubernaut.audit._snapshot import InvalidEventError
from kubernaut.audit._store import (
    AuditStore,
    Flushed,
    NotDeliveredError,
    StoreClosedError,
    StoreHealth,
    StoreStats,
)
from kubernaut.audit._transport import Endpoint, TransportError

__all__ = [
    "AsyncClient",
    "AuditEvent",
    "AuditStore",
    "Client",
    "DeliveryLimits",
    "Endpoint",
    "EventFilter",
    "Flushed",
    "IdReusedError",
    "InvalidEventError",
    "JournalError",
    "JournalFullError",
    "NotDeliveredError",
    "PayloadError",
    "Receipt",
    "ServerProblemError",
    "StoreClosedError",
    "StoreHealth",
    "StoreStats",
    "StrictAuditEvent",
    "TransportError",
    "check_payload",
    "uuid7",
]
