"""What happens to open stores when the process forks, and when the interpreter ends."""

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final, Protocol

EXIT_SECONDS: Final = 1.0
"""How long the interpreter's end waits for deliveries of stores that were not closed."""


class Store(Protocol):
    """What is asked of a store."""

    def before_fork(self) -> Callable[[], None]:
        """Come to rest; the function that is returned goes on, in the parent."""

    def after_fork(self) -> None:
        """In the child: be a store of its own."""

    def close(self, timeout: float) -> object:
        """Deliver for so many seconds at most, and leave the rest in the journal."""


_lock = threading.Lock()
_stores: Final[weakref.WeakSet[Store]] = weakref.WeakSet()
_resting: Final[list[Callable[[], None]]] = []


def look_after(store: Store) -> None:
    """From now on, for as long as it is in use."""
    with _lock:
        _stores.add(store)


def _before_fork() -> None:
    _lock.acquire()
    _resting.extend(store.before_fork() for store in list(_stores))


def _after_fork_in_parent() -> None:
    while _resting:
        _resting.pop()()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603  (the old one is held, by a thread that is not here)
    _lock = threading.Lock()
    _resting.clear()
    for store in list(_stores):
        store.after_fork()


def _at_exit() -> None:
    with _lock:
        stores = list(_stores)
    for store in stores:
        with contextlib.suppress(Exception):  # What is recorded is in the journal.
            store.close(timeout=EXIT_SECONDS)


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(_at_exit)
