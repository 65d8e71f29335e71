"""Receipts: what `record()` hands back, to ask or to be told what became of the event."""

import contextlib
import threading
from collections.abc import Callable
from typing import Literal
from uuid import UUID

Fate = Literal["created", "duplicate", "quarantined", "unconfirmed"]


class Receipt:
    """An event's id, and a way to learn its outcome.

    Attributes:
        event_id: the id that the event has on the server.
        correlation_id: the chain it belongs to.
    """

    __slots__ = ("__weakref__", "_callbacks", "_lock", "_outcome", "correlation_id", "event_id")

    def __init__(self, event_id: UUID, correlation_id: str) -> None:
        self.event_id = event_id
        self.correlation_id = correlation_id
        self._lock = threading.Lock()
        self._outcome: Fate | None = None
        self._callbacks: list[Callable[[Receipt], None]] = []

    def __repr__(self) -> str:
        return f"Receipt({self.event_id}, {self._outcome or 'pending'})"

    @property
    def outcome(self) -> Fate | None:
        """What became of the event; None while it is pending."""
        return self._outcome

    def add_callback(self, callback: "Callable[[Receipt], None]") -> None:
        """Be told of the outcome, once: at once if it is known, else from the sending thread."""
        with self._lock:
            if self._outcome is None:
                self._callbacks.append(callback)
                return
        callback(self)

    def resolve(self, outcome: Fate) -> None:
        """Set the outcome and tell whoever waits for it."""
        with self._lock:
            if self._outcome is not None:
                return
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def wait(self, timeout: float | None = None) -> Fate | None:
        """Wait for the outcome, at most `timeout` seconds; None if it is still pending."""
        known = threading.Event()
        self.add_callback(lambda _: known.set())
        known.wait(timeout)
        return self._outcome

    async def wait_async(self, timeout: float | None = None) -> Fate | None:  # noqa: ASYNC109
        """As `wait`, for asyncio."""
        import asyncio  # noqa: PLC0415  (loaded at first use: importing must be quick)

        loop = asyncio.get_running_loop()
        known = asyncio.Event()

        def tell(_: Receipt) -> None:
            with contextlib.suppress(RuntimeError):  # The loop that waited is closed.
                loop.call_soon_threadsafe(known.set)

        self.add_callback(tell)
        try:
            async with asyncio.timeout(timeout):
                await known.wait()
        except TimeoutError:
            return self._outcome
        return self._outcome
