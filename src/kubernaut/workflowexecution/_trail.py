"""Sends what stored objects owe to the audit trail, and knows what of it has arrived.

Invariants:

- An event is recorded only from a stored object: `ensure` is given what the API server answered.
- The events of an object go into the journal in their order, and so reach the server in it.
- `stored` is said only after the server has acknowledged every event that the object owes.
- Nothing here is needed after a crash: what is owed follows from the object, and a repetition is a
  duplicate. The journal makes the usual case quick, and keeps what no object tells any more.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from kubernaut.audit import AuditEvent, AuditStore, InvalidEventError, JournalError, Receipt
from kubernaut.workflowexecution._api import WorkflowExecution
from kubernaut.workflowexecution._owed import operator_event, owed_events

_LOG: Final = logging.getLogger("kubernaut.workflowexecution.trail")

Standing = Literal["stored", "pending", "refused"]


@dataclass(frozen=True, slots=True)
class TrailState:
    """How far the trail of an object is.

    Attributes:
        standing: `stored`: everything it owes is on the server. `pending`: not yet.
            `refused`: the server will not take something of it.
        events: how many it owes.
        reason: why it is not stored, where that is known.
        retry: it could not be recorded: try again soon.
    """

    standing: Standing
    events: int
    reason: str = ""
    retry: bool = False


@dataclass(slots=True)
class _Ledger:
    """The events of one object that this process has recorded.

    Attributes:
        version: of the object as whose debts `owed` was recorded; None before that.
        owed: the ids and types of what that version owes.
    """

    key: str
    version: str | None = None
    owed: Sequence[tuple[UUID, str]] = ()
    pending: set[UUID] = field(default_factory=set)
    stored: set[UUID] = field(default_factory=set)
    refused: dict[UUID, str] = field(default_factory=dict)

    def knows(self, event_id: UUID) -> bool:
        return event_id in self.pending or event_id in self.stored or event_id in self.refused


class Trail:
    """The audit trail of all objects of this operator.

    Args:
        store: where events are recorded.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._wake: Callable[[str], object] | None = None
        self._ledgers: dict[str, _Ledger] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def wakes(self, wake: Callable[[str], object]) -> None:
        """Call `wake`, on the event loop, with the key of an object that may stand otherwise."""
        self._wake = wake

    async def ensure(self, wfe: WorkflowExecution) -> TrailState:
        """Record what a stored object owes and this process has not recorded; say how it stands.

        Never raises for a journal in trouble: the run goes on, and the trail is made up for later.
        """
        meta = wfe.metadata
        known = self._ledgers.get(meta.uid)
        if known is not None and known.version == meta.resource_version:
            return self._state(known)  # The same version owes the same.
        if not (owed := owed_events(wfe)):
            return TrailState("stored", 0)
        ledger = self._ledgers.setdefault(meta.uid, _Ledger(meta.key))
        missing = [event for event in owed if not ledger.knows(_id(event))]
        if missing:
            try:
                await self._record(ledger, missing)
            except JournalError as error:
                _LOG.error("%s: events not recorded, tried again: %s", ledger.key, error)
                return TrailState("pending", len(owed), f"the journal: {error}", retry=True)
        ledger.version = meta.resource_version
        ledger.owed = [(_id(event), str(event.event_type)) for event in owed]
        return self._state(ledger)

    async def _record(self, ledger: _Ledger, events: Sequence[AuditEvent]) -> None:
        self._loop = asyncio.get_running_loop()
        # All at once, so that one commit holds them; each is queued in its turn.
        done = await asyncio.gather(
            *(self._store.arecord(event, own_id=True) for event in events), return_exceptions=True
        )
        for event, receipt in zip(events, done, strict=True):
            if isinstance(receipt, Receipt):
                ledger.pending.add(_id(event))
                receipt.add_callback(partial(self._settled, ledger))
            elif not isinstance(receipt, InvalidEventError):
                raise receipt
            else:  # It breaks the contract: a defect, and in quarantine already.
                _LOG.error("%s: %s is refused: %s", ledger.key, event.event_type, receipt)
                ledger.refused[_id(event)] = str(receipt)

    def _settled(self, ledger: _Ledger, receipt: Receipt) -> None:
        """Called from the sending thread, or at once."""
        assert self._loop is not None  # noqa: S101  (it was recorded on it)
        try:
            self._loop.call_soon_threadsafe(self._take, ledger, receipt)
        except RuntimeError:
            return  # The loop is closed: the process ends.

    def _take(self, ledger: _Ledger, receipt: Receipt) -> None:
        ledger.pending.discard(receipt.event_id)
        if receipt.outcome in ("created", "duplicate"):
            ledger.stored.add(receipt.event_id)
        else:
            reason = receipt.reason or "it was taken by a server that does not confirm storage"
            ledger.refused[receipt.event_id] = reason
            _LOG.error("%s: event %s is refused: %s", ledger.key, receipt.event_id, reason)
        if not ledger.pending and self._wake is not None:
            self._wake(ledger.key)

    @staticmethod
    def _state(ledger: _Ledger) -> TrailState:
        number = len(ledger.owed)
        for event_id, event_type in ledger.owed:
            if (reason := ledger.refused.get(event_id)) is not None:
                return TrailState("refused", number, f"{event_type}: {reason}")
        if all(event_id in ledger.stored for event_id, _ in ledger.owed):
            return TrailState("stored", number)
        return TrailState("pending", number)

    def forget(self, uid: str) -> None:
        """Its trail is complete, or the object is gone, or is to be told again from the start."""
        self._ledgers.pop(uid, None)

    async def tell(  # noqa: PLR0913  (what an event tells)
        self,
        action: str,
        *,
        correlation_id: str,
        moment: datetime,
        parts: Sequence[str],
        data: Mapping[str, Any],
        wfe: WorkflowExecution | None = None,
        outcome: Literal["success", "failure", "pending"] = "success",
    ) -> None:
        """Record something that the operator does and that no stored status will tell.

        Args:
            action: without the category, for example `suspended`.
            correlation_id: the chain.
            moment: when, as it is on record.
            parts: what tells it apart; the same parts and moment are the same event.
            data: the payload.
            wfe: what it is about; None for the operator itself.
            outcome: how it went.

        Raises:
            JournalError: it is not recorded; whoever is about to do it must not.
        """
        event = operator_event(
            action,
            correlation_id=correlation_id,
            moment=moment,
            parts=tuple(parts),
            data=data,
            wfe=wfe,
            outcome=outcome,
        )
        await self._store.arecord(event, own_id=True)


def _id(event: AuditEvent) -> UUID:
    assert isinstance(event.event_id, UUID)  # noqa: S101  (all that are owed have one)
    return event.event_id
