"""The directory that a store keeps its journals in: its option, and how commands on it end."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from kubernaut.audit import JournalError
from kubernaut.cli._failure import fail

UNUSABLE: Final = 2
_BY_SIGNAL: Final = 128

DIRECTORY_HELP: Final = """
  KUBERNAUT_AUDIT_DIRECTORY   as --directory
  XDG_STATE_HOME              where user programs keep their state; default: ~/.local/state
"""


def default_directory() -> Path:
    """Where a user's programs keep what should outlive a restart (XDG Base Directory)."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # A relative one does not count, says the specification.
        state = Path("~/.local/state").expanduser()
    return state / "kubernaut" / "audit"


Directory = Annotated[
    Path | None,
    typer.Option(
        envvar="KUBERNAUT_AUDIT_DIRECTORY",
        metavar="DIRECTORY",
        help="Where the journals are.",
        show_default="$XDG_STATE_HOME/kubernaut/audit",
    ),
]


@contextmanager
def ending_well() -> Iterator[None]:
    """End the command in one line where the directory is of no use, and quietly by a signal."""
    logging.getLogger("kubernaut.audit").addHandler(logging.NullHandler())  # The command says it.
    try:
        yield
        sys.stdout.flush()  # Here, so that a reader who has gone is met here.
    except JournalError as error:
        fail(str(error), UNUSABLE)
    except BrokenPipeError:
        forget_output()
        raise typer.Exit(_BY_SIGNAL + signal.SIGPIPE) from None
    except KeyboardInterrupt:
        raise typer.Exit(_BY_SIGNAL + signal.SIGINT) from None


def forget_output() -> None:
    """Nobody reads it any more; what is still buffered must not be written at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
