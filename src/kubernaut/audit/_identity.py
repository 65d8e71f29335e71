"""Event identifiers: time-ordered, unique without coordination (RFC 9562)."""

import hashlib
import os
import time
import uuid
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_VERSION_7 = 0x7 << 76
_VERSION_8 = 0x8 << 76
_VARIANT = 0b10 << 62
_TAIL = (1 << 62) - 1

_last_tick = 0


def uuid7() -> uuid.UUID:
    """A UUID of version 7: 60 bits of Unix time, then 62 random bits.

    Later identifiers sort after earlier ones, so that an index on them is written at its right
    edge, and events of equal time keep their order (RFC 9562, sections 5.7 and 6.2, method 3: the
    first 12 of the random bits are the fraction of the millisecond, in 4096ths).
    """
    global _last_tick  # noqa: PLW0603  (order within the process is what it is for)
    tick = max(time.time_ns() * 4096 // 1_000_000, _last_tick + 1)
    _last_tick = tick
    random = int.from_bytes(os.urandom(8), "big")
    return uuid.UUID(
        int=((tick >> 12) & 0xFFFF_FFFF_FFFF) << 80
        | _VERSION_7
        | (tick & 0xFFF) << 64
        | _VARIANT
        | (random & _TAIL)
    )


def deterministic_id(moment: datetime, *parts: str) -> uuid.UUID:
    """A UUID of version 8 that the same moment and parts give again, anywhere.

    For a program that may record the same event twice, say a reconciler that is restarted between
    a transition and the note of it: with the id of a transition the repetition is a duplicate.
    It holds 48 bits of Unix time in milliseconds, so that it sorts by time as a `uuid7` does, and
    74 bits of a SHA-256 over the parts, each after its length (RFC 9562, section 5.8).

    Args:
        moment: When the transition happened, as it is on record: not the present time. What is
            below the millisecond does not count.
        *parts: What tells the event apart: the object's UID, the event type, the attempt.

    Returns:
        The id, for `event_id`. Give the moment as `event_timestamp` with it, for a repetition must
        have the same content.

    Raises:
        ValueError: The moment has no offset or is before 1970, there is no part, or a part holds
            half a surrogate pair.
    """
    if moment.utcoffset() is None:
        raise ValueError("moment needs an offset: a time without one is another for each reader")
    if not parts:
        raise ValueError("parts are what tells the event apart: give at least one")
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    if milliseconds < 0:
        raise ValueError(f"moment {moment.isoformat()} is before 1970")
    digest = hashlib.sha256()
    for part in parts:
        text = part.encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    hashed = int.from_bytes(digest.digest()[:10], "big") >> 6
    return uuid.UUID(
        int=milliseconds << 80 | _VERSION_8 | (hashed >> 62) << 64 | _VARIANT | (hashed & _TAIL)
    )
