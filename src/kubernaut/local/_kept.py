"""Start a process that lives no longer than this one, from any thread."""

import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from kubernaut.local._errors import LocalServerError


def start_kept(
    command: Sequence[str], *, name: str, output: BinaryIO, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a command that goes through `_launch`, with its output to a file.

    It leads a session of its own, so that Ctrl-C in the terminal reaches us alone. The kernel
    takes the end of the *thread* that started it for the end of its parent, so a thread is kept
    for it: callers may start it from a thread that ends.

    Raises:
        LocalServerError: it could not be started.
    """
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()

    def keep() -> None:
        try:
            process = subprocess.Popen(  # noqa: S603  (the commands are this package's own)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",  # Ours may be closed to the user that it becomes.
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()

    threading.Thread(target=keep, name=f"keeps {Path(name).name}", daemon=True).start()
    outcome = started.get()
    if isinstance(outcome, OSError):
        raise LocalServerError(f"{name} cannot be started: {outcome}") from outcome
    return outcome
