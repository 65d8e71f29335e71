"""Ports that are given once, whoever asks."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kubernaut.local._port import _LOWEST, free_port

PROCESSES = 6
EACH = 400
ASKING = f"""
from kubernaut.local._port import free_port
print(*(free_port() for _ in range({EACH})), flush=True)
input()
"""


@contextmanager
def asking() -> Iterator["subprocess.Popen[str]"]:
    """A process that takes ports, says which, and lives on."""
    with subprocess.Popen(
        [sys.executable, "-c", ASKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate("\n", timeout=30)
    assert process.returncode == 0


def ports_of(process: "subprocess.Popen[str]") -> list[int]:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def test_no_two_processes_that_live_get_the_same_port() -> None:
    with ExitStack() as lives:
        processes = [lives.enter_context(asking()) for _ in range(PROCESSES)]
        given = [port for process in processes for port in ports_of(process)]
        given += [free_port() for _ in range(EACH)]
    assert len(set(given)) == len(given) == (PROCESSES + 1) * EACH
    assert min(given) >= _LOWEST


def test_a_port_comes_back_when_its_process_ends() -> None:
    """Otherwise these, one after another, would take more ports than there are."""
    for _ in range(40):
        with asking() as process:
            assert len(ports_of(process)) == EACH
