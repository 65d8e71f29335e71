"""The audit client's vocabulary: events, their payloads and their identifiers."""

from kubernaut.audit._event import AuditEvent, StrictAuditEvent
from kubernaut.audit._identity import uuid7

__all__ = ["AuditEvent", "StrictAuditEvent", "uuid7"]
