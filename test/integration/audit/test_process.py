"""The store within a process: forks, threads, signals, and the interpreter's end."""

import re
from pathlib import Path
from typing import Final

import pytest

from test.datastorage_service import DataStorageProcess
from test.integration.audit.trail import (
    NOBODY,
    PATIENCE,
    OpenStore,
    assert_delivered,
    assert_sound,
    ended,
    process,
    stored,
)

START: Final = """
import asyncio, atexit, gc, os, signal, sys, threading, time
from kubernaut.audit import AuditStore
from test.audit_events import an_event
from test.integration.audit.trail import QUICK, assert_accounted, assert_delivered
from test.polling import wait_for

url, directory, correlation = sys.argv[1:4]
store = AuditStore(url, directory, limits=QUICK)
"""


def test_importing_loads_nothing_slow() -> None:
    script = """
import sys
import kubernaut.audit
slow = {"asyncio", "httpx2", "ssl", "prometheus_client", "concurrent.futures"}
print(sorted(slow & sys.modules.keys()))
"""
    assert ended(script) == ["[]"]


THREADS: Final = (
    START
    + """
names = lambda: sorted(thread.name.rstrip("_0123456789") for thread in threading.enumerate())
print(names(), sorted({"httpx2"} & sys.modules.keys()))
for number in range(20):
    store.record(an_event(number, correlation))
most = names()
async def more():
    await asyncio.gather(*(store.arecord(an_event(20 + n, correlation)) for n in range(20)))
    store.record(an_event(40, correlation), mode="best_effort")
asyncio.run(more())
for _ in range(50):
    most = max(most, names(), key=len)
    store.flush(0.01)
assert_delivered(store, 41)
print(max(most, names(), key=len))
store.close()
print(names())
"""
)


def test_no_thread_before_the_first_use_two_at_most_and_none_after(
    shared: DataStorageProcess, correlation: str, spool: Path
) -> None:
    """Also where the server has a name, which has to be looked up."""
    by_name = f"http://localhost:{shared.port}"
    assert ended(THREADS, by_name, spool, correlation) == [
        "['MainThread'] []",
        "['MainThread', 'audit-commit', 'audit-delivery']",
        "['MainThread']",
    ]
    assert sorted(stored(shared.url, correlation)) == list(range(41))


FORKS: Final = (
    START
    + """
stop = threading.Event()
def record_on():
    for number in range(100_000, 200_000):
        if stop.is_set():
            return
        store.record(an_event(number, correlation + "-thread"), mode="durable")
thread = threading.Thread(target=record_on)
thread.start()
for number in range(5):
    store.record(an_event(number, correlation))
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for number in range(5):
            store.record(an_event(number, f"{correlation}-{child}"))
        if child % 2:
            store.close()
            assert_accounted(store)
        os._exit(0)
    children.append(pid)
    store.record(an_event(5 + child, correlation))
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
stop.set()
thread.join()
assert store.flush(60).pending == 0
store.close()
assert_accounted(store)
"""
)


def test_parent_and_children_of_a_fork_record_and_every_event_arrives_once(
    shared: DataStorageProcess, correlation: str, spool: Path, open_store: OpenStore
) -> None:
    """While another thread records too; a child that does not close leaves a journal behind."""
    ended(FORKS, shared.url, spool, correlation)
    store = open_store(shared.url)
    assert store.flush(PATIENCE).pending == 0
    assert stored(shared.url, correlation) == list(range(9))
    for child in range(4):
        assert stored(shared.url, f"{correlation}-{child}") == list(range(5))
    on_thread = stored(shared.url, f"{correlation}-thread")
    assert on_thread == list(range(100_000, 100_000 + len(on_thread)))
    assert len(list(spool.glob("*.journal"))) == 1


FORKS_IN_A_BLOCK: Final = (
    START
    + """
with store:
    store.record(an_event(0, correlation))
    pid = os.fork()
    if pid == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert store.flush(60).pending == 0
"""
)


def test_a_child_that_records_nothing_closes_the_store_in_peace(
    shared: DataStorageProcess, correlation: str, spool: Path
) -> None:
    ended(FORKS_IN_A_BLOCK, shared.url, spool, correlation)
    assert stored(shared.url, correlation) == [0]
    assert_sound(spool)
    assert len(list(spool.glob("*.journal"))) == 1, "it has made no journal either"


LEAN: Final = """
import atexit, sys
from kubernaut.audit import AuditStore
from test.audit_events import an_event

url, directory, correlation = sys.argv[1:4]
store = AuditStore(url, directory)
"""


@pytest.mark.parametrize("mode", ["durable", "best_effort", "asyncio"])
@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_an_event_recorded_at_the_interpreter_s_end_is_kept(
    shared: DataStorageProcess,
    correlation: str,
    open_store: OpenStore,
    *,
    spool: Path,
    reachable: bool,
    mode: str,
    first: bool,
) -> None:
    """Nobody closes the store; what cannot be sent in a second goes with the next process."""
    script = LEAN + (
        "def last():\n"
        "    event = an_event(1, correlation)\n"
        "    if sys.argv[4] == 'asyncio':\n"
        "        import asyncio\n"
        "        asyncio.run(store.arecord(event))\n"
        "    else:\n"
        "        store.record(event, mode=sys.argv[4])\n"
        "atexit.register(last)\n"
    )
    if not first:
        script += "store.record(an_event(0, correlation))\n"
    ended(script, shared.url if reachable else NOBODY, spool, correlation, mode)
    assert_sound(spool)
    store = open_store(shared.url)
    assert_delivered(store, 1 if first else 2)
    assert stored(shared.url, correlation) == ([1] if first else [0, 1])


def test_a_store_that_nobody_closes_or_holds_loses_nothing(
    shared: DataStorageProcess, correlation: str, spool: Path, open_store: OpenStore
) -> None:
    script = START + "store.record(an_event(0, correlation))\ndel store\ngc.collect()\n"
    ended(script, NOBODY, spool, correlation)
    assert_delivered(open_store(shared.url), 1)
    assert stored(shared.url, correlation) == [0]


INTERRUPTED: Final = (
    START
    + """
told, interrupts, number, armed = [], 0, 1, 0
# What is loaded at first use is loaded: Python does not survive an import that is interrupted.
store.record(an_event(1, correlation), mode="best_effort")
store.flush(0)
def on_interrupt(*_):
    global armed
    if armed:
        armed -= 1
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, on_interrupt)
ended = threading.Event()
def interrupt():
    while not ended.wait(0.003):
        os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=interrupt)
thread.start()
while interrupts < 200:
    try:
        try:
            number += 1
            mode = ("durable", "best_effort")[number % 2]
            armed = 2  # The second may come while the first is being dealt with.
            receipt = store.record(an_event(number, correlation), mode=mode)
            told.append((number, receipt.event_id))
        finally:
            armed, interrupts = 0, interrupts + (armed < 2)
    except KeyboardInterrupt:
        armed = 0
ended.set()
thread.join()
store.close(60)
assert_accounted(store)
assert store.stats().pending == 0, store.stats()
for number, event_id in told:
    print(number, event_id)
"""
)


def test_a_ctrl_c_at_any_moment_harms_nothing(
    shared: DataStorageProcess, correlation: str, spool: Path
) -> None:
    """Two hundred while events are recorded: what was told of arrives, or its loss is logged.

    That may be with best effort only: such events are in memory while somebody is interrupted.
    """
    with process(INTERRUPTED, shared.url, spool, correlation) as run:
        try:
            output, errors = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
    assert run.returncode == 0, errors
    told = [line.split() for line in output.splitlines()]
    lost = set(re.findall(r"AUDIT DATA LOSS: best-effort event (\S+)", errors))
    found = stored(shared.url, correlation)
    assert sorted(set(found)) == found
    for number, event_id in told:
        assert int(number) in found or (int(number) % 2 and event_id in lost), number
    assert_sound(spool)


SIGNALLED: Final = (
    START
    + """
async def main():
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    def on_signal():
        store.record(an_event(100, correlation))
        done.set()
    loop.add_signal_handler(signal.SIGTERM, on_signal)
    for number in range(20):
        await store.arecord(an_event(number, correlation))
        if number == 10:
            os.kill(os.getpid(), signal.SIGTERM)
    await done.wait()
    await store.aclose(60)
asyncio.run(main())
assert_accounted(store)
"""
)


def test_an_event_recorded_on_a_signal_through_asyncio(
    shared: DataStorageProcess, correlation: str, spool: Path
) -> None:
    ended(SIGNALLED, shared.url, spool, correlation)
    assert sorted(stored(shared.url, correlation)) == [*range(20), 100]
    assert_sound(spool)
