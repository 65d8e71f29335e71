"""Starts processes that record, hears what they tell, and kills them."""

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

RECORDER = Path(__file__).with_name("recorder.py")
START_SECONDS = 60.0
# While it starts and takes over what was left; while it records; while it sends too.
MOMENTS = [("started", 0.1), ("told", 0.06), ("told", 0.8)]
ODDS = [2, 4, 4]
# Of those who record alone in the directory, and of each place of those who share it.
ALONE = [[f"alone-{number}" for number in range(6)]]
SHARED = [[f"shared-{place}-{number}" for number in range(4)] for place in range(2)]


class Written(NamedTuple):
    """An event: the `number`th of its correlation, recorded by a life."""

    correlation: str
    life: int
    number: int


class Ledger:
    """What was said to be recorded, and which numbers are used up."""

    def __init__(self) -> None:
        self.told: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        self._next: defaultdict[str, int] = defaultdict(lambda: 1)
        self.may_be_there: set[Written] = set()

    def firsts(self, correlations: list[str]) -> list[tuple[str, int]]:
        """The first number of each correlation for a new life."""
        return [(correlation, self._next[correlation]) for correlation in correlations]

    def hear(self, life: int, lines: list[bytes]) -> None:
        """Take down what a life tells."""
        for line in lines:
            correlation, number = line.decode().split()
            self.told[correlation, life].append(int(number))

    def end(self, life: int, firsts: list[tuple[str, int]]) -> None:
        """A life is over; the number after the last that was told may be recorded or not."""
        for correlation, first in firsts:
            told = self.told.get((correlation, life), [])
            assert told == list(range(first, first + len(told)))
            not_told = first + len(told)
            self.may_be_there.add(Written(correlation, life, not_told))
            self._next[correlation] = not_told + 1


class Nursery:
    """Starts recorders."""

    def __init__(self, url: str, directory: Path, log: Path) -> None:
        self._log = log
        self._arguments = [url, str(directory)]
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as errors:
            self._server = subprocess.Popen(
                [sys.executable, str(RECORDER)], stdin=theirs.fileno(), stderr=errors
            )

    def begin(self, number: int, firsts: list[tuple[str, int]]) -> "Life":
        """Start one."""
        ours, theirs = os.pipe()
        request = json.dumps([*self._arguments, number, firsts]).encode()
        socket.send_fds(self._requests, [request], [theirs])
        os.close(theirs)
        pid = int(self._requests.recv(100))
        return Life(os.pidfd_open(pid), ours, self._log, number, firsts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.wait()
        self._requests.close()


class Life:
    """One process that records, from its start to its kill."""

    def __init__(
        self, process: int, pipe: int, log: Path, number: int, firsts: list[tuple[str, int]]
    ) -> None:
        self.number = number
        self.firsts = firsts
        self._process = process
        self._pipe = pipe
        self._log = log
        self._rest = b""
        self._delay = START_SECONDS
        self._waits_for_line = False
        self._until = 0.0

    def fileno(self) -> int:
        return self._pipe

    def end_after(self, delay: float, *, once_told: bool) -> None:
        """Decide when it is killed: so long from now, or from its first line."""
        self._delay = delay
        self._waits_for_line = once_told
        self._until = time.monotonic() + (START_SECONDS if once_told else delay)

    @property
    def left(self) -> float:
        """Seconds to its end."""
        return max(0.0, self._until - time.monotonic())

    def read(self) -> list[bytes]:
        """The lines that are there."""
        part = os.read(self._pipe, 2**16)
        assert part, f"it ended by itself: {self._log.read_text(errors='replace')[-5000:]}"
        return self._lines(part)

    def _lines(self, part: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + part).split(b"\n")
        if lines and self._waits_for_line:
            self._waits_for_line = False
            self._until = time.monotonic() + self._delay
        return lines

    def kill(self) -> list[bytes]:
        """SIGKILL; what it had told and nobody has heard yet."""
        assert not self._waits_for_line, f"it has recorded nothing in {START_SECONDS} seconds"
        signal.pidfd_send_signal(self._process, signal.SIGKILL)
        assert select.select([self._process], [], [], START_SECONDS)[0], "it does not end"
        os.close(self._process)
        with os.fdopen(self._pipe, "rb") as pipe:
            lines = self._lines(pipe.read())
        assert self._rest == b""
        return lines


class Lives:
    """Life after life on one directory.

    Args:
        nursery: starts the processes.
        chance: decides when they are killed.
        killed: called after each kill with the number of kills so far.
    """

    def __init__(
        self, nursery: Nursery, chance: random.Random, killed: Callable[[int], None]
    ) -> None:
        self._nursery = nursery
        self._chance = chance
        self._killed = killed
        self._begun = 0
        self.kills = 0
        self.ledger = Ledger()

    def run(self, writers: list[list[str]], kills: int) -> None:
        """Keep a process alive for each list of correlations, until so many were killed.

        At the end none is alive.
        """
        living = {self._begin(correlations): correlations for correlations in writers}
        left_to_begin = kills - len(living)
        while living:
            soonest = min(life.left for life in living)
            for life in select.select(living, [], [], soonest)[0]:
                self.ledger.hear(life.number, life.read())
            for life in [life for life in living if not life.left]:
                self._end(life)
                correlations = living.pop(life)
                if left_to_begin > 0:
                    left_to_begin -= 1
                    living[self._begin(correlations)] = correlations

    def _begin(self, correlations: list[str]) -> Life:
        self._begun += 1
        firsts = self.ledger.firsts(correlations)
        life = self._nursery.begin(self._begun, firsts)
        when, longest = self._chance.choices(MOMENTS, ODDS)[0]
        life.end_after(self._chance.uniform(0, longest), once_told=when == "told")
        return life

    def _end(self, life: Life) -> None:
        self.ledger.hear(life.number, life.kill())
        self.ledger.end(life.number, life.firsts)
        self.kills += 1
        self._killed(self.kills)
