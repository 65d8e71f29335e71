"""The `kubernaut` command."""

import os
import signal
import sys
from types import FrameType

__all__ = ["main"]

_NOT_INSTALLED = 2  # As for a command line that cannot be understood.
_INTERRUPTED = 130  # As shells count a SIGINT.


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    if os.getpid() == 1:
        # The first process of a container: what SIGTERM does to every other one without a handler,
        # the kernel does not do to it. Commands that have something to finish set their own.
        signal.signal(signal.SIGTERM, _end)
    try:
        from kubernaut.cli._app import app  # noqa: PLC0415  (its packages are an extra)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        print(  # noqa: T201  (the command's own message)
            "kubernaut: the command line needs more packages: pip install 'kubernaut-py[cli]'",
            file=sys.stderr,
        )
        sys.exit(_NOT_INSTALLED)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)  # While its packages are loaded; the commands see to the rest.
    app(prog_name="kubernaut")


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)  # As shells count it.
