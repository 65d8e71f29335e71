"""Stop a command that runs until it is told to end."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from kubernaut.cli._steps import Steps

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(steps: Steps) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the command with exit code 0 before and after it serves, too."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        ignore_signals()
    steps.say("stopped")


@contextmanager
def stopping(steps: Steps, what: str, stop: Callable[[], object]) -> Iterator[None]:
    """Stop something at the end, however it comes; no signal keeps it from that."""
    try:
        yield
    finally:
        ignore_signals()
        with steps.step(f"stopping {what}"):
            stop()


def ignore_signals() -> None:
    """What is being stopped is being stopped; a second Ctrl-C must not leave half of it."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
