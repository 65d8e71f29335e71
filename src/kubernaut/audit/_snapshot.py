"""A recorded event as it will be sent: copied, completed and checked at the moment of recording."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from kubernaut.audit import jsontext
from kubernaut.audit._errors import InvalidEventError
from kubernaut.audit._event import AuditEvent
from kubernaut.audit._identity import uuid7
from kubernaut.audit._payload import PayloadError, check_payload

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(AuditEvent).decode


class Snapshot(NamedTuple):
    """An event ready for the journal; `body` is its JSON as it will be sent."""

    event_id: UUID
    correlation_id: str
    event_type: str
    body: bytes


def digest(body: bytes) -> bytes:
    """16 bytes that tell one content from another."""
    return hashlib.sha256(body).digest()[:16]


def snapshot(event: AuditEvent | Mapping[str, Any]) -> Snapshot:
    """Copy, complete and check an event.

    Raises:
        InvalidEventError: it breaks the contract.
    """
    try:
        given = _encode(event)
    except (TypeError, ValueError, UnicodeError, msgspec.MsgspecError, RecursionError) as error:
        raise _invalid(f"not JSON: {error}", _encode({"not_json": ascii(event)})) from error
    if jsontext.has_unstorable_escape(given):
        path = jsontext.unstorable_path(msgspec.json.decode(given)) or "$"
        raise _invalid(f"{path}: a text holds no NUL", given)
    try:
        checked = _decode(given)
        if checked.event_data is not msgspec.UNSET:
            check_payload(bytes(checked.event_data))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _invalid(str(error), given) from error
    except PayloadError as error:
        raise _invalid(f"{error.path}: {error}", given) from error
    if checked.event_id is not msgspec.UNSET and checked.event_timestamp is msgspec.UNSET:
        raise _invalid("$.event_timestamp: required when event_id is given", given)
    if checked.event_id is msgspec.UNSET or checked.event_timestamp is msgspec.UNSET:
        checked = msgspec.structs.replace(
            checked,
            event_id=uuid7() if checked.event_id is msgspec.UNSET else checked.event_id,
            event_timestamp=datetime.now(UTC)
            if checked.event_timestamp is msgspec.UNSET
            else checked.event_timestamp,
        )
    assert isinstance(checked.event_id, UUID)  # noqa: S101  (set above)
    body = _encode(checked)
    correlation = checked.correlation_id
    return Snapshot(
        checked.event_id,
        str(checked.event_id) if correlation is msgspec.UNSET else correlation,
        _event_type(checked),
        body,
    )


def _event_type(event: AuditEvent) -> str:
    """The type that the event has, or will be given (`docs/reference/events.md`)."""
    if event.event_type is not msgspec.UNSET:
        return event.event_type
    action = event.event_action
    return action if "." in action else f"{event.event_category}.{action}"


def _invalid(message: str, body: bytes) -> InvalidEventError:
    """The error, with whatever identity the event has.

    One without gets it here, so that it is one event also if it is sent again one day.
    """
    event_id = uuid7()
    correlation_id = str(event_id)
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if "event_id" in members:
            event_id = UUID(msgspec.json.decode(members["event_id"], type=str))
        else:
            members["event_id"] = msgspec.Raw(_encode(event_id))
            members.setdefault("event_timestamp", msgspec.Raw(_encode(datetime.now(UTC))))
        correlation_id = str(event_id)
        if "correlation_id" in members:
            correlation_id = msgspec.json.decode(members["correlation_id"], type=str)
        body = _encode(members)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass  # Nothing that can be used; what could be is used.
    return InvalidEventError(message, event_id, correlation_id, body)
