"""How sure `record()` is before it returns, by class of event."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

Mode = Literal["best_effort", "durable", "strict"]
"""What has happened when `record()` returns, and so what the event survives.

`best_effort`: it is in memory, and in the journal within milliseconds; until then it survives
nothing. `durable`: it is in the journal and on disk, and survives a kill of the process and a crash
of the machine. `strict`: the server has stored it, and it survives the loss of this disk.
"""

_MODES: Final = get_args(Mode)


class Modes:
    """The mode of each class of event.

    Args:
        default: for what no pattern matches.
        by_type: a mode for each pattern of an event type, as in `workflowexecution.*`; the first
            that matches counts.

    Raises:
        ValueError: a mode that does not exist.
    """

    def __init__(self, default: Mode, by_type: Mapping[str, Mode]) -> None:
        for mode in (default, *by_type.values()):
            checked(mode)
        self._default = default
        self._by_type = tuple(by_type.items())

    def of(self, event_type: str) -> Mode:
        """The mode of an event of this type."""
        for pattern, mode in self._by_type:
            if fnmatchcase(event_type, pattern):
                return mode
        return self._default


def checked(mode: Mode) -> Mode:
    """The mode, if it is one.

    Raises:
        ValueError: it is not.
    """
    if mode not in _MODES:
        raise ValueError(f"{mode!r} is not a mode; modes are {', '.join(_MODES)}")
    return mode
