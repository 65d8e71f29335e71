"""What a payload must be: an object, within limits, and of its type if it names one."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from kubernaut.audit import jsontext

MAX_PAYLOAD_BYTES: Final = 256 * 1024
MAX_PAYLOAD_DEPTH: Final = 10


class PayloadError(ValueError):
    """A payload that is refused.

    Attributes:
        path: the JSON path of what is wrong, from the event down.
        rule: what would be right.
    """

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(rule)
        self.path = path
        self.rule = rule


class _Discriminator(msgspec.Struct):
    event_type: str | UnsetType = UNSET


_decode_discriminator = msgspec.json.Decoder(_Discriminator).decode


def check_payload(
    payload: bytes,
    *,
    max_bytes: int = MAX_PAYLOAD_BYTES,
    max_depth: int = MAX_PAYLOAD_DEPTH,
    typed: bool = False,
) -> None:
    """Check an event's `event_data`.

    Args:
        payload: its JSON text.
        max_bytes: how long it may be.
        max_depth: how deep objects and arrays may nest; the payload itself is level 1.
        typed: whether it must name its type.

    Raises:
        PayloadError: what is wrong, and where.
    """
    if not payload.startswith(b"{"):
        raise PayloadError("$.event_data", "a JSON object")
    if len(payload) > max_bytes:
        raise PayloadError(
            "$.event_data", f"at most {max_bytes} bytes (this one has {len(payload)})"
        )
    if jsontext.deeper_than(payload, max_depth):
        raise PayloadError("$.event_data", f"objects and arrays nested at most {max_depth} deep")
    try:
        event_type = _decode_discriminator(payload).event_type
    except msgspec.ValidationError as error:
        raise _located(error) from None
    if event_type is not UNSET:
        _check_typed(event_type, payload)
    elif typed:
        raise PayloadError("$.event_data.event_type", "required by the strict contract")


def _check_typed(event_type: str, payload: bytes) -> None:
    # Loaded at first use: many events have no type, and importing must be quick.
    from kubernaut.audit.payloads import UnknownEventTypeError, decode_payload  # noqa: PLC0415

    try:
        decode_payload(event_type, payload)
    except UnknownEventTypeError:
        raise PayloadError(
            "$.event_data.event_type",
            f"one of the catalogue's event types (this one is {event_type!r}); leave"
            " event_type out of event_data to send a free-form payload",
        ) from None
    except msgspec.ValidationError as error:
        raise _located(error) from None


def _located(error: msgspec.ValidationError) -> PayloadError:
    path, rule = jsontext.located(error)
    return PayloadError(f"$.event_data{path.removeprefix('$')}", rule)
