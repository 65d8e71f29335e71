"""Events from payloads: the envelope is filled in, so that senders state only what they know.

A builder checks nothing that `record()` checks: an event that breaks the contract is refused there
and kept in quarantine, while one that was never built would be lost.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, Unpack
from uuid import UUID

import msgspec

from kubernaut.audit._envelopes import ENVELOPE_DEFAULTS
from kubernaut.audit._event import AuditEvent, CurrentCategory, Outcome
from kubernaut.audit.payloads import PAYLOAD_TYPES, Payload, UnknownEventTypeError

_VERSION: Final = "1.0"
_MILLISECOND: Final = timedelta(milliseconds=1)

_encode: Final = msgspec.json.Encoder().encode


class EnvelopeFields(TypedDict, total=False):
    """The members of the envelope that every builder takes; None is the same as left out.

    An `event_id` makes repetitions harmless; give `event_timestamp` with it, and the same again.
    """

    actor_type: str | None
    actor_id: str | None
    actor_ip: str | None
    severity: str | None
    parent_event_id: UUID | None
    retention_days: int | None
    is_sensitive: bool | None
    event_id: UUID | None
    event_timestamp: datetime | None


class EventFields(EnvelopeFields, total=False):
    """The rest of the envelope, for builders that know nothing of what the event is about.

    `duration` is kept in whole milliseconds, as `duration_ms`.
    """

    resource_type: str | None
    resource_id: str | None
    namespace: str | None
    cluster_id: str | None
    duration: timedelta | None
    error_code: str | None
    error_message: str | None


def typed_event(
    payload: Payload,
    *,
    correlation_id: str,
    outcome: Outcome | None = None,
    **fields: Unpack[EventFields],
) -> AuditEvent:
    """An event of the catalogue: type, category, action and outcome follow from the payload.

    Args:
        payload: A struct of `kubernaut.audit.payloads`, with its `event_type`.
        correlation_id: What the event belongs to, the name of the remediation request.
        outcome: How it went. Without it, what the type says; that is `pending` for types whose
            result stands in the payload, so give it for those.
        **fields: Further members of the envelope, see `EventFields`.

    Returns:
        The event, ready for `record()`.

    Raises:
        UnknownEventTypeError: The payload's `event_type` is not in the catalogue.
        TypeError: The payload is of another struct than its `event_type`, a field is unknown, or a
            value is none that JSON has.
    """
    struct = PAYLOAD_TYPES.get(payload.event_type)
    if struct is None:
        raise UnknownEventTypeError(payload.event_type)
    if not isinstance(payload, struct):
        raise TypeError(
            f"event_type {payload.event_type!r} belongs to {struct.__name__},"
            f" not to {type(payload).__name__}"
        )
    defaults = ENVELOPE_DEFAULTS[payload.event_type]
    return AuditEvent(
        version=_VERSION,
        event_type=payload.event_type,
        event_category=defaults.category,
        event_action=defaults.action,
        event_outcome=defaults.outcome if outcome is None else outcome,
        correlation_id=correlation_id,
        event_data=msgspec.Raw(_encode(payload)),
        **_given(fields),
    )


def free_form_event(  # noqa: PLR0913  (what nothing else tells has to be said)
    category: CurrentCategory,
    action: str,
    *,
    correlation_id: str,
    outcome: Outcome,
    data: Mapping[str, Any],
    event_type: str | None = None,
    **fields: Unpack[EventFields],
) -> AuditEvent:
    """An event whose payload is not of the catalogue: any JSON object.

    A service that holds its clients to the strict contract refuses such events.

    Args:
        category: The category of the service that emits it.
        action: What was done, as a verb: `drained`, `lease_renewed`.
        correlation_id: What the event belongs to, the name of the remediation request.
        outcome: How it went.
        data: The payload, without a member `event_type`.
        event_type: The event's type. Without it, the action if that has a dot, else category and
            action joined by one.
        **fields: Further members of the envelope, see `EventFields`.

    Returns:
        The event, ready for `record()`.

    Raises:
        ValueError: `data` names an `event_type`, so it belongs to the catalogue.
        TypeError: A field is unknown, or a value is none that JSON has.
    """
    if "event_type" in data:
        raise ValueError(
            f"data has a member event_type ({data['event_type']!r}), which only payloads of the"
            " catalogue have: build the payload's struct and call typed_event(), or take the"
            " member out and give event_type= for the envelope"
        )
    if event_type is None:
        event_type = action if "." in action else f"{category}.{action}"
    return AuditEvent(
        version=_VERSION,
        event_type=event_type,
        event_category=category,
        event_action=action,
        event_outcome=outcome,
        correlation_id=correlation_id,
        event_data=msgspec.Raw(_encode(dict(data))),
        **_given(fields),
    )


def _given(fields: EventFields) -> dict[str, Any]:
    """The members that have a value, under their names in the envelope."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    duration = given.pop("duration", None)
    if duration is not None:
        given["duration_ms"] = duration // _MILLISECOND
    given.setdefault("actor_type", "service")
    return given
