"""A recorded event as it will be sent: copied, completed and checked at the moment of recording."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from kubernaut.audit import jsontext
from kubernaut.audit._event import AuditEvent
from kubernaut.audit._identity import uuid7
from kubernaut.audit._payload import PayloadError, check_payload

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(AuditEvent).decode


class InvalidEventError(Exception):
    """An event that breaks the contract; the text names the member and the rule.

    Attributes:
        event_id: its id, or one made up where it has none that can be used.
        correlation_id: the same for its correlation.
        body: what was given, as far as it is JSON.
    """

    def __init__(self, message: str, event_id: UUID, correlation_id: str, body: bytes) -> None:
        super().__init__(message)
        self.event_id = event_id
        self.correlation_id = correlation_id
        self.body = body


class Snapshot(NamedTuple):
    """An event ready for the journal; `digest` tells its content apart from another's."""

    event_id: UUID
    correlation_id: str
    digest: bytes
    body: bytes


def snapshot(event: AuditEvent | Mapping[str, Any]) -> Snapshot:
    """Copy, complete and check an event.

    Raises:
        InvalidEventError: it breaks the contract.
    """
    try:
        given = _encode(event)
    except (TypeError, ValueError, UnicodeError, msgspec.MsgspecError, RecursionError) as error:
        raise _invalid(f"not JSON: {error}", b"") from error
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
        hashlib.sha256(body).digest()[:16],
        body,
    )


class _Identity(msgspec.Struct):
    event_id: Any = None
    correlation_id: Any = None


def _invalid(message: str, body: bytes) -> InvalidEventError:
    """The error, with whatever identity the event has."""
    try:
        identity = msgspec.json.decode(body, type=_Identity)
        event_id = UUID(str(identity.event_id))
        correlation_id = str(identity.correlation_id or event_id)
    except (msgspec.DecodeError, ValueError, RecursionError):
        event_id = uuid7()
        correlation_id = str(event_id)
    return InvalidEventError(message, event_id, correlation_id, body)
