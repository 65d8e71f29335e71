"""How recording fails. Each says whether the event is kept."""

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from kubernaut.audit._receipt import Receipt


class JournalError(Exception):
    """The journal could not be read or written.

    Raised by `record()`: the event may or may not be delivered; recording it again with the same
    id is safe.
    """


class JournalFullError(JournalError):
    """The journal is at its cap, or its disk is full; the event is not kept, and none evicted."""


class InvalidEventError(ValueError):
    """An event that breaks the contract; the text names the member and the rule.

    The event is kept in quarantine, from where it can be seen, exported and sent again.

    Attributes:
        event_id: its id, or one made up where it has none that can be used.
        correlation_id: the same for its correlation.
        body: what was given, as JSON.
    """

    def __init__(self, message: str, event_id: UUID, correlation_id: str, body: bytes) -> None:
        super().__init__(message)
        self.event_id = event_id
        self.correlation_id = correlation_id
        self.body = body


class IdReusedError(InvalidEventError):
    """The event's id is pending with other content; the later one is kept in quarantine."""


class StoreClosedError(Exception):
    """The store is closed; the event was not recorded."""


class NotDeliveredError(Exception):
    """A strict event that the server has not stored; it is kept.

    Either no answer came in time: it is in the journal and will be delivered. Or the server
    refused it: it is in quarantine.

    Attributes:
        receipt: its `outcome` is None, or `quarantined` with a `reason`.
    """

    def __init__(self, receipt: "Receipt", seconds: float) -> None:
        what = (
            f"was not acknowledged within {seconds:g} s; it stays in the journal"
            if receipt.outcome is None
            else f"was refused and is in quarantine: {receipt.reason}"
        )
        super().__init__(f"event {receipt.event_id} {what}")
        self.receipt = receipt
