"""Wait for something that another process or task does: look again until a deadline.

The only module of the tests that may sleep.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.25


class _Watch:
    """The deadline, the pauses, and what was seen last."""

    def __init__(self, timeout: float, what: str) -> None:
        self._timeout = timeout
        self._what = what
        self._deadline = time.monotonic() + timeout
        self._pause = _FIRST_PAUSE
        self._error: Exception | None = None
        self._last = "nothing"

    def saw(self, value: object) -> None:
        self._error, self._last = None, f"the value {value!r}"

    def caught(self, error: Exception) -> None:
        self._error, self._last = error, f"the exception {error!r}"

    def pause(self) -> float:
        """Seconds until the next look.

        Raises:
            AssertionError: the deadline has passed.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(
                f"{self._what}: not within {self._timeout:g} s; last seen was {self._last}"
            ) from self._error
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)
        return min(self._pause, left)


def wait_for(check: Callable[[], T], timeout: float, what: str) -> T:
    """Call `check` until its answer is true in the sense of `if`, and return that answer.

    Args:
        check: an exception that it raises counts as "not yet".
        timeout: seconds.
        what: what is waited for, for the message.

    Raises:
        AssertionError: it was not so in time; the text says what the last answer was.
    """
    watch = _Watch(timeout, what)
    while True:
        try:
            if value := check():
                return value
            watch.saw(value)
        except Exception as error:  # noqa: BLE001  (reported when time is up)
            watch.caught(error)
        time.sleep(watch.pause())


async def async_wait_for(check: Callable[[], Awaitable[T]], timeout: float, what: str) -> T:  # noqa: ASYNC109  (its twin's signature)
    """Do what `wait_for` does, with a check that is awaited."""
    watch = _Watch(timeout, what)
    while True:
        try:
            if value := await check():
                return value
            watch.saw(value)
        except Exception as error:  # noqa: BLE001  (reported when time is up)
            watch.caught(error)
        await asyncio.sleep(watch.pause())
