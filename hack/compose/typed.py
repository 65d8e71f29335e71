"""Lines as a person types them: in a shell, followed until stopped, and in a terminal.

A line that does not do or say what it should ends the program.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Final

from podman import fail

_SECONDS: Final = 30.0
_END_SECONDS: Final = 120.0
_ROWS_AND_COLUMNS: Final = (200, 2000)  # So that psql needs no pager.


def typed(line: str, *expected: str, folder: Path) -> None:
    """Run a line as a shell does, and show what it says.

    An interruption is passed on as Ctrl-C does it, and what the line has started may end in order.
    """
    print(f"\n$ {line}", flush=True)
    with subprocess.Popen(
        ["bash", "-c", line],  # noqa: S607  (the one on PATH)
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        said = ""
        try:
            for text in process.stdout or ():
                said += text
                print(text, end="", flush=True)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        fail(f"exit code {process.returncode}: {line}")
    _must_say(said, expected, line)


def followed(line: str, expected: str) -> None:
    """Run a line that goes on until it is stopped, and stop it when it has said something."""
    print(f"\n$ {line}", flush=True)
    output, inner = os.pipe()
    process = subprocess.Popen(line.split(), stdout=inner, stderr=inner)
    os.close(inner)
    try:
        _read_until(output, expected, line)
    finally:
        process.terminate()
        process.wait()
        os.close(output)


def conversation(line: str, prompt: str, answers: Sequence[str], *expected: str) -> None:
    """Run a line that talks with a person at a terminal."""
    print(f"\n$ {line}", flush=True)
    terminal, inner = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", *_ROWS_AND_COLUMNS, 0, 0))
    process = subprocess.Popen(
        line.split(), stdin=inner, stdout=inner, stderr=inner, start_new_session=True
    )
    os.close(inner)
    said = ""
    try:
        for answer in answers:
            said += _read_until(terminal, prompt, line)
            os.write(terminal, f"{answer}\n".encode())
        process.wait(_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    if process.returncode:
        fail(f"exit code {process.returncode}: {line}")
    _must_say(said, expected, line)


def _read_until(descriptor: int, expected: str, line: str) -> str:
    said = ""
    deadline = time.monotonic() + _SECONDS
    while expected not in said:
        readable, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        text = os.read(descriptor, 65536).decode(errors="replace") if readable else ""
        if not text:
            fail(f"it does not say {expected!r}: {line}")
        sys.stdout.write(text)
        said += text
    return said


def _must_say(said: str, expected: Sequence[str], line: str) -> None:
    for each in expected:
        if each not in said:
            fail(f"it does not say {each!r}: {line}")
