"""`kubernaut audit` as a process: run to its end, on a terminal, or left running."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 60
COMMAND: Final = [sys.executable, "-m", "kubernaut", "audit"]
NOBODY: Final = "http://127.0.0.1:1"
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

Done = subprocess.CompletedProcess[str]


def environment(**variables: str | Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNAUT")}
    return ours | {name: str(value) for name, value in variables.items()}


def run(*arguments: str | Path, given: str | bytes = "", **variables: str | Path) -> Done:
    done = subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        env=environment(**variables),
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        timeout=SECONDS,
    )
    return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def start(*arguments: str | Path) -> "subprocess.Popen[bytes]":
    """A command that goes on; its output is not buffered here."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def on_terminal(
    *arguments: str | Path, columns: int = 200, **variables: str | Path
) -> tuple[int, str]:
    """The exit code, and what is on the terminal, without colours."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    running = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(TERM="xterm-256color", **variables),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    output = b""
    try:
        while select.select([ours], [], [], SECONDS)[0]:
            try:
                output += os.read(ours, 65536)
            except OSError:  # The other end is closed.
                break
        code = running.wait(SECONDS)
    finally:
        os.close(ours)
        running.kill()
        running.wait()
    return code, _ANSI.sub("", output.decode()).replace("\r\n", "\n")


def documents(text: str | bytes) -> list[dict[str, Any]]:
    """The lines of NDJSON."""
    return [json.loads(line) for line in text.splitlines()]


def complaints(done: Done) -> list[str]:
    """What a command says on standard error: lines of its own, and nothing else."""
    lines = done.stderr.splitlines()
    assert all(line.startswith("kubernaut: ") for line in lines), done.stderr
    return [line.removeprefix("kubernaut: ") for line in lines]
