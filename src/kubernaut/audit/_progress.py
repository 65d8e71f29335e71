"""Tells threads and tasks that events have left the journal."""

import contextlib
import threading
import time
from collections.abc import Callable


class Progress:
    """Something happened that others may be waiting for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._calls: list[Callable[[], None]] = []

    def notify(self) -> None:
        """Let everybody look again."""
        with self._condition:
            self._count += 1
            calls, self._calls = self._calls, []
            self._condition.notify_all()
        for call in calls:
            call()

    @property
    def count(self) -> int:
        """How often `notify` was called; take it before looking, and wait with it after."""
        return self._count

    def wait(self, seen: int, deadline: float | None) -> bool:
        """Wait until something has happened since `seen`.

        Args:
            seen: `count` as it was before the caller looked.
            deadline: on the monotonic clock; None: for ever.

        Returns:
            Whether it has; False: the deadline has passed.
        """
        with self._condition:
            return self._condition.wait_for(
                lambda: self._count != seen,
                None if deadline is None else max(0.0, deadline - time.monotonic()),
            )

    async def wait_async(self, seen: int, deadline: float | None) -> bool:
        """`wait` for asyncio."""
        import asyncio  # noqa: PLC0415  (loaded at first use: importing must be quick)

        loop = asyncio.get_running_loop()
        happened = asyncio.Event()

        def call() -> None:
            with contextlib.suppress(RuntimeError):  # The loop that waited is closed.
                loop.call_soon_threadsafe(happened.set)

        with self._condition:
            if self._count != seen:
                return True
            self._calls.append(call)
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(remaining):
                await happened.wait()
        except TimeoutError:
            return False
        finally:
            with self._condition, contextlib.suppress(ValueError):
                self._calls.remove(call)
        return True
