"""Event identifiers: time-ordered, unique without coordination (RFC 9562)."""

import os
import time
import uuid

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_B = (1 << 62) - 1

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
        | (random & _RANDOM_B)
    )
