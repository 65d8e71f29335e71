"""The bytes that are hashed: what makes a stored history tamper-evident.

Both formulas are part of the product's contract and described for other implementations in
`docs/reference/chain.md`. A change of either is a new version with a new domain, never an edit.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from msgspec import msgpack

EVENT_DOMAIN: Final = b"kubernaut/audit-event/v1\n"
LINK_DOMAIN: Final = b"kubernaut/audit-chain/v1\n"

GENESIS: Final = bytes(32)
"""The previous hash of a chain's first event."""

EVENT_COLUMNS: Final = (
    "event_timestamp",
    "event_id",
    "parent_event_date",
    "duration_ms",
    "retention_days",
    "is_sensitive",
    "parent_event_id",
    "event_version",
    "event_type",
    "event_category",
    "event_action",
    "event_outcome",
    "actor_type",
    "actor_id",
    "actor_ip",
    "resource_type",
    "resource_id",
    "resource_name",
    "correlation_id",
    "trace_id",
    "span_id",
    "namespace",
    "cluster_id",
    "severity",
    "error_code",
    "error_message",
    "event_metadata",
    "event_data",
)
"""The stored columns that are hashed, in order: all but `event_date`, which the time implies."""

ACTOR_IP: Final = EVENT_COLUMNS.index("actor_ip")

_encode = msgpack.Encoder(uuid_format="bytes").encode
_sha256 = hashlib.sha256


def event_digest(row: Sequence[Any]) -> bytes:
    """SHA-256 over an event's stored columns.

    The digest covers the domain and the MessagePack array of the values of `EVENT_COLUMNS`, each
    in its shortest form: texts as str (JSON columns too: their exact characters), identifiers as
    16 bytes, times as timestamp extension (type -1) to the microsecond, dates as `YYYY-MM-DD`,
    an address as its 4 or 16 bytes, and what is absent as nil. MessagePack gives every value its
    length and type, so that no two rows share a byte form.

    Args:
        row: the values in the order of `EVENT_COLUMNS`, times in UTC.
    """
    address = row[ACTOR_IP]
    if address is not None:
        packed = ipaddress.ip_interface(address).ip.packed
        row = (*row[:ACTOR_IP], packed, *row[ACTOR_IP + 1 :])
    return _sha256(EVENT_DOMAIN + _encode(row)).digest()


def link_prefix(correlation_id: str) -> bytes:
    """The part of a link's bytes that all links of one chain share."""
    encoded = correlation_id.encode()
    return LINK_DOMAIN + len(encoded).to_bytes(4, "big") + encoded


def link_hash(prefix: bytes, seq: int, previous: bytes, digest: bytes) -> bytes:
    """The hash of one link: SHA-256 over the chain, the position, the past and the event.

    Args:
        prefix: `link_prefix` of the chain's correlation id.
        seq: position in the chain, from 1; 8 bytes big-endian.
        previous: the 32-byte hash at `seq - 1`, or `GENESIS`.
        digest: the event's 32-byte `event_digest`.
    """
    return _sha256(prefix + seq.to_bytes(8, "big") + previous + digest).digest()
