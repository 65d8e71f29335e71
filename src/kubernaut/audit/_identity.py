"""Event identifiers: time-ordered, unique without coordination (RFC 9562)."""

import os
import time
import uuid

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A = 0xFFF << 64
_RANDOM_B = (1 << 62) - 1


def uuid7() -> uuid.UUID:
    """A UUID of version 7: 48 bits of Unix time in milliseconds, then 74 random bits.

    Later identifiers sort after earlier ones to the millisecond, so that an index on them is
    written at its right edge (RFC 9562, section 5.7).
    """
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    return uuid.UUID(
        int=((milliseconds & 0xFFFF_FFFF_FFFF) << 80)
        | _VERSION_7
        | (random & _RANDOM_A)
        | _VARIANT
        | (random & _RANDOM_B)
    )
