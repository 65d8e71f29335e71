"""The worker processes of a benchmark, and how the main process talks to them.

A worker is `python -m benchmarks.<module>`. It reads its job as one line of JSON, prepares, says
that it is ready, waits for a word, works, and answers with one line of JSON. It ends when the
main process does: its standard input is closed then.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent
_READY: Final = b"ready\n"
_GO: Final = b"go\n"
_END_SECONDS: Final = 10
J = TypeVar("J")
A = TypeVar("A", bound=msgspec.Struct)


class WorkerError(Exception):
    """A worker ended without its answer; what it printed says why."""


class Worker:
    """The main process's end of a worker."""

    def __init__(self, module: str, job: msgspec.Struct) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for the main process, which then ends this one.
        )
        self._write(msgspec.json.encode(job) + b"\n")

    def wait_until_ready(self) -> None:
        """Wait for the preparations.

        Raises:
            WorkerError: it ended.
        """
        if self._read() != _READY:
            raise WorkerError(f"{self._module} said something unexpected")

    def go(self) -> None:
        """Let it work."""
        self._write(_GO)

    def answer(self, kind: type[A]) -> A:
        """Wait for the end of the work.

        Raises:
            WorkerError: it failed.
        """
        answer = msgspec.json.decode(self._read(), type=kind)
        self._process.wait(_END_SECONDS)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101  (for the type checker)
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _read(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101  (for the type checker)
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self._module} ended with exit code {self._process.wait()}")
        return line


def wait_for_go() -> None:
    """In a worker: tell of the end of the preparations, and wait for the word."""
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    if sys.stdin.buffer.readline() != _GO:
        raise SystemExit(1)  # The main process is gone.


def run(job_type: type[J], work: Callable[[J], msgspec.Struct]) -> None:
    """In a worker: read the job, do it, answer."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=job_type)
    sys.stdout.buffer.write(msgspec.json.encode(work(job)) + b"\n")
    sys.stdout.flush()


class Stopwatch:
    """Elapsed time and this process's CPU time, in seconds, from its making."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds elapsed, and seconds of CPU."""
        return time.perf_counter() - self._started, time.process_time() - self._cpu


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
