"""From a payload's `event_type` to its struct, and from bytes to an instance of it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

import msgspec

from kubernaut.audit.payloads import (
    _aiagent_investigation,
    _aiagent_safety,
    _aiagent_sessions,
    _aianalysis,
    _apifrontend_security,
    _apifrontend_sessions,
    _apifrontend_work,
    _catalog,
    _execution,
    _notification,
    _orchestrator,
    _signals,
    _webhooks,
)
from kubernaut.audit.payloads._base import Payload

_FAMILIES = (
    _signals,
    _orchestrator,
    _aianalysis,
    _execution,
    _notification,
    _webhooks,
    _catalog,
    _aiagent_investigation,
    _aiagent_sessions,
    _aiagent_safety,
    _apifrontend_sessions,
    _apifrontend_work,
    _apifrontend_security,
)

PAYLOAD_TYPES: Mapping[str, type[Payload]] = MappingProxyType(
    {
        event_type: member
        for family in _FAMILIES
        for member in vars(family).values()
        if isinstance(member, type) and issubclass(member, Payload) and member is not Payload
        for event_type in get_args(member.__annotations__["event_type"])
    }
)
"""Each `event_type` of the catalogue, and the struct that describes its payload."""

# Filled at first use: most programs decode few of the types, many none.
_DECODERS: dict[str, msgspec.json.Decoder[Payload]] = {}


class UnknownEventTypeError(ValueError):
    """An `event_type` that the catalogue does not list."""

    def __init__(self, event_type: str) -> None:
        super().__init__(event_type)
        self.event_type = event_type

    def __str__(self) -> str:
        return f"event_type {self.event_type!r} is not in the payload catalogue"


def decode_payload(event_type: str, raw: bytes | memoryview | msgspec.Raw) -> Payload:
    """Check a payload against the struct of its type.

    Args:
        event_type: Which struct to use. The payload's own `event_type` may be any of the values
            of that struct; whether the two are equal is the caller's question.
        raw: The payload as JSON.

    Returns:
        An instance of the struct. Members that it does not name are not in it, so keep `raw` if
        they matter.

    Raises:
        UnknownEventTypeError: The catalogue has no such type.
        msgspec.ValidationError: A field is missing or has a value it may not have.
        msgspec.DecodeError: The bytes are not JSON.
    """
    decoder = _DECODERS.get(event_type)
    if decoder is None:
        payload_type = PAYLOAD_TYPES.get(event_type)
        if payload_type is None:
            raise UnknownEventTypeError(event_type)
        decoder = _DECODERS[event_type] = msgspec.json.Decoder(payload_type)
    return decoder.decode(raw)
