"""From a request's body to rows: decode, check, fill in defaults, digest.

Nothing here does I/O. What is refused is described by `Fault`s that name the element, the JSON
path and the rule; what is accepted becomes a `PreparedEvent`, ready to be chained and stored.
"""

import hashlib
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from kubernaut.audit import (
    AuditEvent,
    PayloadError,
    StrictAuditEvent,
    check_payload,
    jsontext,
    uuid7,
)
from kubernaut.audit.jsontext import located
from kubernaut.audit.wire import Fault
from kubernaut.datastorage.chain import event_digest
from kubernaut.datastorage.problems import Problem

FUTURE_TOLERANCE: Final = timedelta(minutes=60)
STRICT_MAX_AGE: Final = timedelta(days=7)
DEFAULT_RETENTION_DAYS: Final = 2555
REQUEST_DIGEST_BYTES: Final = 16


class IntakeLimits(NamedTuple):
    """What one request and one event may be at most."""

    batch_events: int = 10_000
    payload_bytes: int = 256 * 1024
    payload_depth: int = 10
    max_event_age: timedelta = timedelta(days=2555)


_DEFAULT_LIMITS: Final = IntakeLimits()


class PreparedEvent(NamedTuple):
    """An accepted event: `row` has the values of `chain.EVENT_COLUMNS`, then `event_date`.

    `request_digest` identifies the event as it was sent, before defaults: a repetition has the
    same. `repeatable` says that the client gave the id, so that there can be one.
    """

    event_id: UUID
    correlation_id: str
    event_date: date
    repeatable: bool
    request_digest: bytes
    event_digest: bytes
    row: tuple[Any, ...]


class Decoded(NamedTuple):
    """The elements of a request: at each index an event and its unknown members, or a fault."""

    events: list[AuditEvent | StrictAuditEvent | None]
    metadata: dict[int, bytes]
    faults: list[Fault]

    def parent_ids(self) -> set[UUID]:
        """The parents that the events name."""
        return {
            event.parent_event_id
            for event in self.events
            if event is not None and isinstance(event.parent_event_id, UUID)
        }


class Prepared(NamedTuple):
    """The outcome of a request's checks; `events` are in request order."""

    indexes: list[int]
    events: list[PreparedEvent]
    faults: list[Fault]


class _Refused(Exception):  # noqa: N818  (control flow inside this module)
    def __init__(self, path: str, rule: str) -> None:
        super().__init__(rule)
        self.path = path
        self.rule = rule


_encode = msgspec.json.Encoder().encode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Intake:
    """Decodes and checks requests under one contract.

    Args:
        limits: what one request may be at most.
        strict: hold clients to the full contract of mid-2026 (`docs/reference/events.md`).
    """

    def __init__(self, limits: IntakeLimits = _DEFAULT_LIMITS, *, strict: bool = False) -> None:
        event: type[AuditEvent | StrictAuditEvent] = StrictAuditEvent if strict else AuditEvent
        self._strict = strict
        self._limits = limits
        self._max_age = (
            min(limits.max_event_age, STRICT_MAX_AGE) if strict else limits.max_event_age
        )
        self._decode_one = msgspec.json.Decoder(event).decode
        self._decode_all = msgspec.json.Decoder(list[event]).decode  # type: ignore[valid-type]
        # The same fields; members without one are dropped instead of refused.
        open_event = msgspec.defstruct(
            f"Open{event.__name__}", [], bases=(event,), forbid_unknown_fields=False
        )
        self._decode_open: Callable[[bytes], AuditEvent | StrictAuditEvent] = msgspec.json.Decoder(
            open_event
        ).decode  # type: ignore[assignment]

    def decode_single(self, body: bytes) -> Decoded:
        """Decode a body that holds one event object.

        Raises:
            Problem: the body is not JSON, or not an object.
        """
        text = _json_object(body)
        decoded = Decoded([], {}, [])
        self._decode_element(text, 0, decoded)
        return Decoded(
            decoded.events,
            decoded.metadata,
            [Fault(fault.path, fault.rule) for fault in decoded.faults],
        )

    def decode_batch(self, body: bytes) -> Decoded:
        """Decode a body that holds an array of event objects.

        Raises:
            Problem: the body is not JSON, not an array, empty, or longer than the limit.
        """
        _check_text(body)
        if jsontext.has_unstorable_escape(body):
            raws = _split_unstorable(body)
        else:
            try:
                events = self._decode_all(body)
            except (msgspec.DecodeError, RecursionError):
                raws = _split(body)  # The slow way finds out which elements, and why.
            else:
                self._check_length(len(events))
                if not jsontext.may_repeat_members(body, array=True):
                    return Decoded(events, {}, [])
                raws = _split(body)
        self._check_length(len(raws))
        decoded = Decoded([], {}, [])
        for index, raw in enumerate(raws):
            self._decode_element(raw, index, decoded)
        return decoded

    def prepare(
        self,
        decoded: Decoded,
        now: datetime,
        parents: dict[UUID, date],
        indexes: range | None = None,
    ) -> Prepared:
        """Check decoded events against each other and the clock, and make their rows.

        Args:
            decoded: what a `decode_` method returned.
            now: the time of receipt, in UTC.
            parents: the event dates of those named parents that are stored; events that are
                right are added, so that later ones of the request may name them.
            indexes: the part of the request to prepare; a long one is done in parts.
        """
        prepared = Prepared([], [], [])
        for index in indexes or range(len(decoded.events)):
            event = decoded.events[index]
            if event is None:
                continue
            try:
                row = self._prepare_one(event, decoded.metadata.get(index), now, parents)
            except _Refused as refused:
                prepared.faults.append(Fault(refused.path, refused.rule, index))
            else:
                prepared.indexes.append(index)
                prepared.events.append(row)
                if row.repeatable:
                    parents.setdefault(row.event_id, row.event_date)
        return prepared

    def _check_length(self, length: int) -> None:
        if not length:
            raise Problem("validation-error", "batch cannot be empty")
        if length > self._limits.batch_events:
            raise Problem(
                "batch-size-exceeded",
                f"batch size {length} exceeds maximum allowed batch size of"
                f" {self._limits.batch_events}",
            )

    def _decode_element(self, text: bytes, index: int, decoded: Decoded) -> None:
        event: AuditEvent | StrictAuditEvent | None = None
        try:
            event, metadata = self._decode_carefully(text)
            if metadata:
                decoded.metadata[index] = metadata
        except _Refused as refused:
            decoded.faults.append(Fault(refused.path, refused.rule, index))
        except msgspec.ValidationError as error:
            decoded.faults.append(_fault(error, index=index))
        except msgspec.DecodeError as error:
            decoded.faults.append(Fault("$", str(error), index))
        decoded.events.append(event)

    def _decode_carefully(self, text: bytes) -> tuple[AuditEvent | StrictAuditEvent, bytes | None]:
        if jsontext.has_unstorable_escape(text):
            path = jsontext.unstorable_path(json.loads(text)) or "$"
            raise _Refused(path, r"a text holds neither \u0000 nor half a surrogate pair")
        try:
            event: AuditEvent | StrictAuditEvent = self._decode_one(text)
            metadata = None
        except msgspec.ValidationError as error:
            if not str(error).startswith("Object contains unknown field"):
                raise
            event = self._decode_open(text)
            known = type(event).__struct_fields__
            members = _decode_members(text)
            metadata = _encode({name: members[name] for name in members if name not in known})
        if jsontext.may_repeat_members(text, array=False) and (
            name := jsontext.repeated_member(text)
        ):
            raise _Refused(f"$.{name}", "an event names each member once")
        return event, metadata

    def _prepare_one(
        self,
        event: AuditEvent | StrictAuditEvent,
        metadata: bytes | None,
        now: datetime,
        parents: Mapping[UUID, date],
    ) -> PreparedEvent:
        timestamp, event_id = event.event_timestamp, event.event_id
        if timestamp is UNSET:
            if event_id is not UNSET:
                raise _Refused("$.event_timestamp", "required when event_id is given")
            timestamp = now
        else:
            timestamp = self._checked_time(timestamp, now)
        repeatable = event_id is not UNSET
        if event_id is UNSET:
            event_id = uuid7()
        payload = self._checked_payload(event.event_data)
        parent_id, parent_date = _parent(event, parents)
        category, action = event.event_category, event.event_action
        event_type = event.event_type
        if event_type is UNSET:
            event_type = action if "." in action else f"{category}.{action}"
        correlation_id = event.correlation_id
        if correlation_id is UNSET:
            correlation_id = str(event_id)
        severity = event.severity
        retention = event.retention_days
        row = (
            timestamp,
            event_id,
            parent_date,
            event.duration_ms if event.duration_ms is not UNSET else None,
            retention if retention and retention > 0 else DEFAULT_RETENTION_DAYS,
            event.is_sensitive is True,
            parent_id,
            event.version if event.version is not UNSET else "1.0",
            event_type,
            category,
            action,
            event.event_outcome if event.event_outcome is not UNSET else "pending",
            event.actor_type if event.actor_type is not UNSET else "service",
            event.actor_id if event.actor_id is not UNSET else f"{category}-service",
            _address(event.actor_ip) if event.actor_ip is not UNSET else None,
            event.resource_type if event.resource_type is not UNSET else category,
            event.resource_id if event.resource_id is not UNSET else correlation_id,
            None,
            correlation_id,
            None,
            None,
            event.namespace if event.namespace is not UNSET else None,
            event.cluster_id if event.cluster_id is not UNSET else None,
            "info" if severity is UNSET else severity or None,
            event.error_code if event.error_code is not UNSET else None,
            event.error_message if event.error_message is not UNSET else None,
            metadata.decode() if metadata else None,
            payload,
        )
        day = timestamp.date()
        sent = _encode(event)
        if metadata:
            self._check_metadata(metadata)
            sent += metadata
        return PreparedEvent(
            event_id,
            correlation_id,
            day,
            repeatable,
            hashlib.sha256(sent).digest()[:REQUEST_DIGEST_BYTES],
            event_digest(row),
            (*row, day),
        )

    def _checked_time(self, timestamp: datetime, now: datetime) -> datetime:
        if timestamp.tzinfo is not UTC:
            timestamp = _in_utc("$.event_timestamp", timestamp)
        if timestamp > now + FUTURE_TOLERANCE:
            raise _Refused(
                "$.event_timestamp",
                f"at most 60 minutes ahead of this service's clock ({now:%Y-%m-%dT%H:%M:%SZ})",
            )
        if now - timestamp > self._max_age:
            raise _Refused("$.event_timestamp", f"at most {self._max_age.days} days in the past")
        return timestamp

    def _check_metadata(self, metadata: bytes) -> None:
        """Members without a column are a payload, too."""
        if len(metadata) > self._limits.payload_bytes:
            raise _Refused(
                "$", f"members that are not known take at most {self._limits.payload_bytes} bytes"
            )
        if jsontext.deeper_than(metadata, self._limits.payload_depth):
            raise _Refused(
                "$",
                f"members that are not known nest at most {self._limits.payload_depth} deep",
            )

    def _checked_payload(self, payload: msgspec.Raw | UnsetType) -> str:
        """The payload's text, once it is known to be an object within limits and of its type."""
        if payload is UNSET:
            return "{}"
        raw = bytes(payload)
        try:
            check_payload(
                raw,
                max_bytes=self._limits.payload_bytes,
                max_depth=self._limits.payload_depth,
                typed=self._strict,
            )
        except PayloadError as error:
            raise _Refused(error.path, error.rule) from None
        return raw.decode()


def _parent(
    event: AuditEvent | StrictAuditEvent, parents: Mapping[UUID, date]
) -> tuple[UUID | None, date | None]:
    parent_id = event.parent_event_id
    if isinstance(parent_id, UUID):
        if parent_id not in parents:
            raise _Refused("$.parent_event_id", "the id of a stored event")
        return parent_id, parents[parent_id]
    parent_date = event.parent_event_date
    if isinstance(parent_date, datetime):
        return None, _in_utc("$.parent_event_date", parent_date).date()
    return None, None


def _in_utc(path: str, moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _Refused(path, "a time in the years 1 to 9999") from None


def _address(text: str) -> str | None:
    if not text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _Refused("$.actor_ip", "an IPv4 or IPv6 address") from None
    if getattr(address, "scope_id", None):
        raise _Refused("$.actor_ip", "an IPv6 address without a zone")
    return str(address)


def _split(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _decode_raws(body)]
    except msgspec.ValidationError as error:
        raise _not_an_array([_fault(error)]) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from None


def _split_unstorable(body: bytes) -> list[bytes]:
    try:
        return jsontext.split_array(body.decode())
    except (ValueError, RecursionError) as error:
        if body.lstrip().startswith(b"{"):
            raise _not_an_array([Fault("$", "Expected `array`, got `object`")]) from None
        raise _malformed(error) from None


def _not_an_array(faults: Sequence[Fault]) -> Problem:
    return Problem(
        "validation-error",
        "the body must be a JSON array of events; one event alone goes to /api/v1/audit/events",
        faults=faults,
    )


def _json_object(body: bytes) -> bytes:
    _check_text(body)
    try:
        if jsontext.has_unstorable_escape(body):
            json.loads(body)
            text = body.strip()
        else:
            text = bytes(msgspec.json.decode(body, type=msgspec.Raw))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _malformed(error) from None
    if not text.startswith(b"{"):
        hint = "; an array of events goes to /api/v1/audit/events/batch"
        raise Problem(
            "validation-error",
            "the body must be a JSON object" + (hint if text.startswith(b"[") else ""),
            faults=[Fault("$", "a JSON object")],
        )
    return text


def _check_text(body: bytes) -> None:
    if not body.strip():
        raise Problem("validation-error", "the request has no body")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise Problem(
                "validation-error",
                f"the body is not UTF-8: byte {error.start} is {body[error.start]:#04x}",
            ) from None


def _malformed(error: Exception) -> Problem:
    if isinstance(error, RecursionError):
        return Problem("validation-error", "the body nests objects and arrays too deep")
    return Problem("validation-error", f"the body is not JSON: {error}")


def _fault(error: msgspec.ValidationError, *, index: int | None = None) -> Fault:
    path, rule = located(error)
    return Fault(path, rule, index)
