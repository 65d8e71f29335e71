"""The fault proxy's record of requests, for what a test says about them together."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from test.faults.http_faults import Behaviour


@dataclass(slots=True)
class Seen:
    """A request that came.

    `began` and `ended` are places in the one order of all beginnings and ends.
    """

    number: int
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    behaviour: Behaviour
    began: int
    ended: int | None = None  # None: it is in flight.
    forwarded: bool = False  # Upstream has been sent it, and may have got it.
    upstream_status: int | None = None
    abandoned: bool = False  # The client left before its answer.


def overlapping(
    requests: Sequence[Seen], key: Callable[[Seen], Hashable]
) -> list[tuple[Seen, Seen]]:
    """Pairs with the same key that were in flight together; a key of None is like no other."""
    return [
        (one, other)
        for one, other in itertools.combinations(requests, 2)
        if key(one) is not None
        and key(one) == key(other)
        and (one.ended is None or other.began < one.ended)
    ]
