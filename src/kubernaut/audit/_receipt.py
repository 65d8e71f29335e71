"""Receipts: what `record()` hands back, to ask or to be told what became of the event."""

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from uuid import UUID

from kubernaut.audit._entries import Fate, Outcome

log = logging.getLogger("kubernaut.audit")


class Receipt:
    """An event's id, and a way to learn its outcome.

    Attributes:
        event_id: the id that the event has on the server.
        correlation_id: the chain it belongs to.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_keep",
        "_lock",
        "_outcome",
        "_reason",
        "correlation_id",
        "event_id",
    )

    def __init__(
        self,
        event_id: UUID,
        correlation_id: str,
        keep: "Callable[[Receipt], None] | None" = None,
    ) -> None:
        self.event_id = event_id
        self.correlation_id = correlation_id
        self._keep = keep
        self._lock = threading.Lock()
        self._outcome: Fate | None = None
        self._reason: str | None = None
        self._callbacks: list[Callable[[Receipt], None]] = []

    def __repr__(self) -> str:
        return f"Receipt({self.event_id}, {self._outcome or 'pending'})"

    @property
    def outcome(self) -> Fate | None:
        """What became of the event; None while it is pending."""
        return self._outcome

    @property
    def reason(self) -> str | None:
        """Why it is in quarantine, if it is."""
        return self._reason

    def add_callback(self, callback: "Callable[[Receipt], None]") -> None:
        """Be told of the outcome, once: at once if it is known, else from the sending thread."""
        if self._keep is not None:
            self._keep(self)  # Somebody counts on it now, whether or not they hold the receipt.
        if not self._wait_with(callback):
            callback(self)

    def _wait_with(self, callback: "Callable[[Receipt], None]") -> bool:
        """Add a callback; False if the outcome is known already."""
        with self._lock:
            if self._outcome is None:
                self._callbacks.append(callback)
            return self._outcome is None

    def _wait_no_longer(self, callback: "Callable[[Receipt], None]") -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    def resolve(self, outcome: Fate, reason: str | None) -> None:
        """Set the outcome and tell whoever waits for it."""
        with self._lock:
            if self._outcome is not None:
                return
            self._reason, self._outcome = reason, outcome
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _tell(callback, self)

    def wait(self, timeout: float | None = None) -> Fate | None:
        """Wait for the outcome, at most `timeout` seconds; None if it is still pending."""
        known = threading.Event()

        def tell(_: Receipt) -> None:
            known.set()

        if self._wait_with(tell):
            try:
                known.wait(timeout)
            finally:
                self._wait_no_longer(tell)
        return self._outcome

    async def wait_async(self, timeout: float | None = None) -> Fate | None:  # noqa: ASYNC109
        """As `wait`, for asyncio."""
        import asyncio  # noqa: PLC0415  (loaded at first use: importing must be quick)

        loop = asyncio.get_running_loop()
        known = asyncio.Event()

        def tell(_: Receipt) -> None:
            with contextlib.suppress(RuntimeError):  # The loop that waited is closed.
                loop.call_soon_threadsafe(known.set)

        if self._wait_with(tell):
            try:
                async with asyncio.timeout(timeout):
                    await known.wait()
            except TimeoutError:
                return self._outcome
            finally:
                self._wait_no_longer(tell)
        return self._outcome


def _tell(callback: Callable[[Receipt], None], receipt: Receipt) -> None:
    try:
        callback(receipt)
    except BaseException:  # Also a `sys.exit`: it would end the thread that sends.
        log.exception("a callback for audit event %s failed", receipt.event_id)


class Receipts:
    """The receipts of pending events that somebody still holds, and those who want to know all.

    A receipt that nobody holds and nobody asked a callback of is forgotten: a million pending
    events must not take a million receipts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: weakref.WeakValueDictionary[UUID, Receipt] = weakref.WeakValueDictionary()
        self._kept: dict[UUID, Receipt] = {}
        self._subscribers: list[Callable[[Receipt], None]] = []

    def get(self, event_id: UUID, correlation_id: str) -> Receipt:
        """The receipt of a pending event: the same for all who ask."""
        with self._lock:
            receipt = self._held.get(event_id)
            if receipt is None:
                receipt = self._held[event_id] = Receipt(event_id, correlation_id, self._keep)
            return receipt

    def _keep(self, receipt: Receipt) -> None:
        with self._lock:
            if self._held.get(receipt.event_id) is receipt:
                self._kept[receipt.event_id] = receipt

    def forget(self, event_id: UUID) -> None:
        """An event was not kept: nothing will ever become of it."""
        with self._lock:
            self._kept.pop(event_id, None)
            self._held.pop(event_id, None)

    def settle(self, outcomes: list[Outcome]) -> None:
        """Tell everybody concerned what became of events."""
        with self._lock:
            subscribers = list(self._subscribers)
            told = []
            for outcome in outcomes:
                entry = outcome.entry
                kept = self._kept.pop(entry.event_id, None)  # Perhaps all that holds it.
                receipt = self._held.pop(entry.event_id, kept)
                if receipt is None and subscribers:
                    receipt = Receipt(entry.event_id, entry.correlation_id)
                if receipt is not None:
                    told.append((receipt, outcome))
        for receipt, outcome in told:
            receipt.resolve(outcome.fate, outcome.reason)
            for subscriber in subscribers:
                _tell(subscriber, receipt)

    def subscribe(self, callback: Callable[[Receipt], None]) -> Callable[[], None]:
        """Be told of every outcome; the function that is returned ends that."""
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe
