"""A storage shim at the level of system calls: record, kill at, or fail what a scenario writes.

The scenario runs unmodified in a forked child, which is traced with ptrace(2). Guarantees:

- The log has every operation on a file below the directory and everything told, in the order in
  which it happened; what is told is put down before it is said.
- A killed child did everything in the log, and nothing of what the run was `killed_at` before.
- The child is gone when `trace` returns or raises, and its exit handlers have not run.

Threads of the scenario are traced too, processes that it starts are not.
"""

import gc
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from test.faults import tracing
from test.faults.decoding import Decoder
from test.faults.operations import SHARED_MEMORY, Kind, Operation, Told
from test.faults.plans import Fail, Plan, Shorten, Step, Verdict, kill_after, kill_before, record

Tell = Callable[[bytes], object]
Scenario = Callable[[Path, Tell], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """What was there before the scenario began; directories have no content."""

    inode: int
    content: bytes | None


@dataclass(slots=True)
class Run:
    """What a scenario did, and how it ended."""

    log: list[Operation | Told] = field(default_factory=list)
    killed_at: Operation | None = None  # The log ends with it if it was killed after that.
    error: str | None = None  # The traceback of what the scenario raised.
    initial: dict[str, Stored] = field(default_factory=dict)

    @property
    def operations(self) -> list[Operation]:
        return [entry for entry in self.log if isinstance(entry, Operation)]

    @property
    def told(self) -> list[bytes]:
        return [entry.data for entry in self.log if isinstance(entry, Told)]

    @property
    def killed(self) -> bool:
        return self.killed_at is not None


class StoppedRunError(Exception):
    """The child ended in a way that neither it nor the plan wanted, or not in time."""


def trace(scenario: Scenario, *, directory: Path, plan: Plan = record, timeout: float = 60) -> Run:
    """Run `scenario(directory, tell)` in a child, and do with its operations what the plan says.

    Args:
        scenario: uses the descriptors and locks of nobody else; it may raise, see `Run.error`.
        directory: exists; what is below it is watched.
        plan: is asked when an operation begins; the operation's result is not known then.
        timeout: seconds.

    Raises:
        StoppedRunError: the time is up, or a signal ended the child.
        NotModelledError: the scenario changes a file in a way that is not followed.
    """
    tracing.require_machine()
    directory = directory.resolve(strict=True)
    # Nothing reads what is told: it is taken from the child's memory. A pipe would fill up.
    tell, report = (os.open(os.devnull, os.O_WRONLY) for _ in range(2))
    try:
        run = Run(initial=_contents(directory))
        pid = os.fork()
        if pid == 0:
            _child(scenario, directory, tell, report)
        _Tracer(pid, directory, plan, run, {"tell": tell, "report": report}).follow(timeout)
    finally:
        os.close(tell)
        os.close(report)
    return run


def every_kill(
    scenario: Scenario, *, parent: Path, start: int = 0, step: int = 1
) -> Iterator[tuple[Path, Run]]:
    """Kill the scenario before and after each of its operations, in a new directory each time.

    With a `step`, only at every so many operations. 600 runs of 300 operations take half a minute.
    """
    number = start
    while True:
        for plan in (kill_before, kill_after):
            directory = parent / f"{plan.__name__}-{number}"
            directory.mkdir()
            run = trace(scenario, directory=directory, plan=plan(number))
            if not run.killed:
                return
            yield directory, run
        number += step


def _contents(directory: Path) -> dict[str, Stored]:
    return {
        str(path.relative_to(directory)): Stored(
            path.stat().st_ino, path.read_bytes() if path.is_file() else None
        )
        for path in sorted(directory.rglob("*"))
        if not path.name.endswith(SHARED_MEMORY)
    }


def _child(scenario: Scenario, directory: Path, tell: int, report: int) -> None:
    code = 1
    try:
        os.setpgid(0, 0)  # So that the parent can wait for this process and its threads alone.
        gc.freeze()  # No finaliser of an object of the parent's runs here.
        tracing.allow_tracing()
        os.kill(os.getpid(), signal.SIGSTOP)
        scenario(directory, lambda data: os.write(tell, data))
        code = 0
    except BaseException:  # noqa: BLE001  (whatever it is, this process ends here)
        os.write(report, traceback.format_exc().encode())
    finally:
        os._exit(code)


class _Tracer:
    """Steps a child from system call to system call until it is gone."""

    def __init__(
        self, pid: int, directory: Path, plan: Plan, run: Run, channels: dict[str, int]
    ) -> None:
        self._pid = pid
        self._plan = plan
        self._run = run
        self._channels = channels
        self._decoder = Decoder(pid, directory)
        self._threads = {pid}
        self._begun: dict[int, tuple[Operation, Verdict]] = {}
        self._count = 0
        self._status = 0

    def follow(self, timeout: float) -> None:
        process = os.pidfd_open(self._pid)  # The watchdog's kill can meet no other process.
        watchdog = threading.Timer(timeout, signal.pidfd_send_signal, (process, signal.SIGKILL))
        try:
            watchdog.start()
            os.waitpid(self._pid, 0)
            tracing.follow_threads(self._pid)
            tracing.resume(self._pid)
            self._until_gone()
        except BaseException:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            self._reap()
            raise
        finally:
            watchdog.cancel()
            watchdog.join()
            os.close(process)
            self._decoder.close()
        if os.WIFSIGNALED(self._status) and not self._run.killed:
            name = signal.Signals(os.WTERMSIG(self._status)).name
            last = self._run.log[-1] if self._run.log else "nothing"
            raise StoppedRunError(f"{name} after at most {timeout:g} s; the last was {last}")

    def _wait(self) -> tuple[int, int] | None:
        try:
            return os.waitpid(-self._pid, tracing.WAIT_ALL)
        except ChildProcessError:
            return None

    def _reap(self) -> None:
        while self._wait() is not None:
            pass

    def _until_gone(self) -> None:
        while (change := self._wait()) is not None:
            thread, status = change
            if os.WIFSTOPPED(status):
                self._stopped(thread, os.WSTOPSIG(status), event=status >> 16)
                continue
            self._threads.discard(thread)
            if thread == self._pid:
                self._status = status

    def _stopped(self, thread: int, number: int, event: int) -> None:
        passed_on = 0
        if number == signal.SIGTRAP | tracing.SYSCALL_STOP:
            self._system_call(thread)
        elif thread not in self._threads:
            self._threads.add(thread)  # It begins with a SIGSTOP.
        elif not event:
            passed_on = number
        tracing.resume(thread, passed_on)

    def _system_call(self, thread: int) -> None:
        match tracing.system_call(thread):
            case tracing.Entry() as entry if not self._run.killed:
                self._enter(thread, entry)
            case tracing.Exit(result) if thread in self._begun:
                self._leave(thread, result)

    def _enter(self, thread: int, entry: tracing.Entry) -> None:
        for channel, fd in self._channels.items():
            if (data := self._decoder.written(entry, fd)) is not None:
                if channel == "tell":
                    self._run.log.append(Told(data))
                else:
                    self._run.error = data.decode()
                return
        if (operation := self._decoder.operation(entry)) is None:
            return
        operation = replace(operation, number=self._count, began=len(self._run.log))
        self._count += 1
        verdict = self._plan(operation)
        match verdict:
            case Step.KILL_BEFORE:
                tracing.leave_out(thread)
                self._kill(operation)
                return
            case Fail():
                tracing.leave_out(thread)
            case Shorten(length) if operation.kind is Kind.WRITE:
                tracing.set_length(thread, min(length, len(operation.data)))
        self._begun[thread] = operation, verdict

    def _leave(self, thread: int, result: int) -> None:
        operation, verdict = self._begun.pop(thread)
        if isinstance(verdict, Fail):
            result = -verdict.errno
            tracing.set_result(thread, result)
        injected = isinstance(verdict, Fail | Shorten)
        operation = replace(self._decoder.completed(operation, result), injected=injected)
        self._run.log.append(operation)
        if verdict is Step.KILL_AFTER:
            self._kill(operation)

    def _kill(self, operation: Operation) -> None:
        self._run.killed_at = operation
        os.kill(self._pid, signal.SIGKILL)
