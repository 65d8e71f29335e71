"""What may happen to the process: S1, S6 with a kill, S10, S11, S16, S19."""

import asyncio
import itertools
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from kubernaut.audit import AuditStore, JournalError, Receipt, StoreClosedError
from test.audit_events import an_event
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import PASS, Gate, StallAfter, StallBefore
from test.faults.proxy import FaultProxy
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
from test.polling import wait_for

START: Final = """
import os, signal, sys
from kubernaut.audit import AuditStore
from test.audit_events import an_event
from test.integration.audit.trail import QUICK

url, directory, correlation = sys.argv[1:4]
store = AuditStore(url, directory, limits=QUICK)
"""
RECORDS_UNTIL_KILLED: Final = (
    START
    + """
number = 0
while True:
    store.record(an_event(number, correlation))
    print(number, flush=True)
    number += 1
"""
)


@pytest.mark.parametrize("reachable", [True, False])
def test_s01_a_kill_loses_nothing_that_was_recorded(
    proxy: FaultProxy,
    correlation: str,
    spool: Path,
    reachable: bool,  # noqa: FBT001  (a parameter of the test)
    open_store: OpenStore,
) -> None:
    """SIGKILL while recording and sending; the next process delivers, each event once, in order."""
    told: set[int] = set()
    for life in range(3):
        name = f"{correlation}-{life}"
        if not reachable:
            proxy.refuse()
        with process(RECORDS_UNTIL_KILLED, proxy.url, spool, name) as recorder:
            assert recorder.stdout is not None
            lines = list(itertools.islice(recorder.stdout, 30 + 40 * life))
            recorder.kill()
            lines += recorder.stdout
        assert recorder.returncode == -signal.SIGKILL
        told = {int(line) for line in lines if line.endswith("\n")}
        assert_sound(spool)
        if not reachable:
            proxy.listen()
        store = open_store(proxy.url)
        assert store.flush(PATIENCE).pending == 0
        store.close()
        found = stored(proxy.upstream, name)
        assert found == list(range(len(found)))
        assert told <= set(found)
        assert len(found) - len(told) <= 1, "one may be recorded and not told of"


def test_s06_a_kill_between_commit_and_answer_makes_one_row(
    proxy: FaultProxy,
    correlation: str,
    spool: Path,
    open_store: OpenStore,
) -> None:
    """The id is in the journal, so that the next process sends the same event and no other."""
    gate = Gate()
    proxy.default = StallAfter(gate)
    with process(RECORDS_UNTIL_KILLED, proxy.url, spool, correlation) as recorder:
        assert recorder.stdout is not None
        lines = list(itertools.islice(recorder.stdout, 20))
        wait_for(lambda: gate.waiting, 30, "an answer that is held back")
        recorder.kill()
        lines += recorder.stdout
    sent = sum(len(seen.body.split(b'"event_id"')) - 1 for seen in proxy.requests)
    proxy.default = PASS
    gate.open()
    store = open_store(proxy.upstream)
    assert store.flush(PATIENCE).pending == 0
    assert store.stats().duplicates == sent > 0
    found = stored(proxy.upstream, correlation)
    assert found == list(range(len(found)))
    assert len(found) >= len(lines) - 1


def test_s10_a_shutdown_with_a_backlog_is_quick_and_leaves_it_for_the_next(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """`close` says what remains, and the next process delivers it."""
    gate = Gate()
    proxy.default = StallBefore(gate)
    store = open_store(proxy.url)
    for number in range(2000):
        store.record(an_event(number, correlation), mode="best_effort")
    left = store.close(timeout=0.1)
    assert (left.delivered, left.pending) == (0, 2000)
    assert store.close() == left, "closing again does nothing"
    assert store.stats().pending == 2000
    gate.open()
    proxy.default = PASS
    again = open_store(proxy.url)
    assert_delivered(again, 2000)
    assert stored(proxy.upstream, correlation) == list(range(2000))


def test_s11_recording_while_closing_is_kept_or_refused_and_nothing_between(
    shared: DataStorageProcess, correlation: str, open_store: OpenStore
) -> None:
    """Each `record` has returned and the event arrives, or has raised and there is none."""
    kept: list[tuple[int, Receipt]] = []
    for attempt in range(5):
        store = open_store(shared.url)
        barrier = threading.Barrier(9)

        def record(
            worker: int,
            store: AuditStore = store,
            barrier: threading.Barrier = barrier,
            attempt: int = attempt,
        ) -> None:
            barrier.wait()
            for number in itertools.count(worker * 10_000 + attempt * 1000):
                event = an_event(number, f"{correlation}-{worker}")
                try:
                    if worker % 2:
                        receipt = store.record(event)
                    else:
                        receipt = asyncio.run(store.arecord(event))
                except StoreClosedError:
                    return
                kept.append((number, receipt))

        with ThreadPoolExecutor(8) as workers:
            running = [workers.submit(record, worker) for worker in range(8)]
            barrier.wait()
            wait_for(lambda: len(kept) > 40 * (attempt + 1), 30, "some events")  # noqa: B023
            store.close(timeout=0.0 if attempt % 2 else PATIENCE)
            for each in running:
                each.result(PATIENCE)
        with pytest.raises(StoreClosedError):
            store.record(an_event(0, correlation))
    assert_delivered(open_store(shared.url), len(kept))
    found = [stored(shared.url, f"{correlation}-{worker}") for worker in range(8)]
    assert sorted(itertools.chain(*found)) == sorted(number for number, _ in kept)
    assert all(numbers == sorted(numbers) for numbers in found)


RECORDS_WHEN_TOLD: Final = (
    START
    + """
for line in sys.stdin:
    store.record(an_event(int(line), correlation))
    print("recorded", flush=True)
"""
)


def test_s16_two_processes_on_one_directory_do_not_meet(
    shared: DataStorageProcess, correlation: str, spool: Path, open_store: OpenStore
) -> None:
    """Each has a journal of its own; what one leaves, killed, another delivers."""
    others = [
        process(RECORDS_WHEN_TOLD, url, spool, f"{correlation}-{number}")
        for number, url in enumerate([shared.url, NOBODY, NOBODY])
    ]
    store = open_store(shared.url)
    for number in range(5):
        store.record(an_event(number, correlation))
        for other in others:
            tell(other, number)
    assert_delivered(store, 5)
    for other in others:
        other.kill()
        other.communicate()
    store.close()
    next_one = open_store(shared.url)
    assert next_one.flush(PATIENCE).pending == 0
    assert next_one.stats().recorded == next_one.stats().delivered == 20
    for name in (correlation, *(f"{correlation}-{number}" for number in range(3))):
        assert stored(shared.url, name) == list(range(5))
    assert len(list(spool.glob("*.journal"))) == 1


def tell(recorder: "subprocess.Popen[str]", number: int) -> None:
    """Let another process record an event."""
    assert recorder.stdin is not None
    assert recorder.stdout is not None
    recorder.stdin.write(f"{number}\n")
    recorder.stdin.flush()
    assert recorder.stdout.readline() == "recorded\n"


def test_s16_what_a_dead_process_left_goes_before_newer_events(
    proxy: FaultProxy,
    correlation: str,
    spool: Path,
    open_store: OpenStore,
) -> None:
    """Of one correlation, adopted events are older, and are sent first."""
    with proxy.refusing(), process(RECORDS_WHEN_TOLD, NOBODY, spool, correlation) as other:
        first = open_store(proxy.url)
        for number in range(0, 20, 2):
            first.record(an_event(number, correlation))
            tell(other, number + 1)
        first.close(timeout=0)
        other.kill()
    store = open_store(proxy.url)
    for number in range(20, 30):
        store.record(an_event(number, correlation))
    assert_delivered(store, 30)
    assert stored(proxy.upstream, correlation) == list(range(30))


def test_s16_a_directory_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """Not at the first event: whoever starts without a journal is told so."""
    for place in (Path("/proc/journals"), tmp_path / "file" / "below"):
        (tmp_path / "file").touch()
        with pytest.raises(JournalError, match=r"the journal directory .* failed"):
            AuditStore(NOBODY, place)


RECONCILES: Final = (
    START
    + """
from datetime import UTC, datetime
from pathlib import Path
from kubernaut.audit import deterministic_id

done, crash = Path(sys.argv[4]), sys.argv[5]
if crash == "before":
    os.kill(os.getpid(), signal.SIGKILL)
done.touch()  # The side effect.
if crash == "between":
    os.kill(os.getpid(), signal.SIGKILL)
moment = datetime(2026, 11, 1, tzinfo=UTC)  # As it is on record.
event = an_event(7, correlation, event_timestamp=moment.isoformat())
event["event_id"] = str(deterministic_id(moment, correlation, "workflow.started", "1"))
event["event_data"]["process"] = os.getpid()
receipt = store.record(event, own_id=True)
if crash == "after":
    os.kill(os.getpid(), signal.SIGKILL)
print(receipt.wait(30))
"""
)


def test_s19_an_event_that_a_crash_left_out_is_emitted_by_the_next_reconcile(
    shared: DataStorageProcess, correlation: str, spool: Path, tmp_path: Path
) -> None:
    """With an id made from what happened, emitting on every reconcile makes one row."""
    done = tmp_path / "done"
    for crash in ("before", "between", "after", "never", "never"):
        code = 0 if crash == "never" else -signal.SIGKILL
        told = ended(RECONCILES, shared.url, spool, correlation, done, crash, code=code)
        if crash == "never":
            assert told in (["created"], ["duplicate"])
    assert done.exists()
    assert stored(shared.url, correlation) == [7]
    with AuditStore(shared.url, spool) as store:
        assert store.flush(PATIENCE)[1:] == (0, 0), "other content is no reason to refuse it"
        assert store.stats().own_conflicts >= 1
    assert_sound(spool)
