"""What the disk and a burst may do: S5 and S12."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from kubernaut.audit import AuditStore, JournalError, JournalFullError
from test.audit_events import an_event
from test.datastorage_service import DataStorageProcess
from test.faults.http_faults import PASS, Gate, StallBefore
from test.faults.operations import Kind
from test.faults.plans import fail, on
from test.faults.proxy import FaultProxy
from test.faults.storage import Tell, trace
from test.integration.audit.trail import (
    NOBODY,
    PATIENCE,
    OpenStore,
    assert_accounted,
    assert_delivered,
    assert_sound,
    stored,
)
from test.polling import wait_for


def test_s05_a_full_and_a_read_only_disk(shared: DataStorageProcess, tmp_path: Path) -> None:
    """Recording fails aloud, what was recorded is delivered, and with room it goes on."""
    script = Path(__file__).parent / "failing_disk.py"
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace += ["--user", "--map-current-user", "--keep-caps"]
    mount = tmp_path / "disk"
    mount.mkdir()
    result = subprocess.run(
        [*namespace, sys.executable, str(script), str(mount), shared.url],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines() == [
        "full, refused, delivered, freed, recorded",
        "full, refused, started again, delivered, freed, recorded",
        "read-only, refused, writable, delivered",
    ]


@pytest.mark.parametrize("kind", [Kind.SYNC, Kind.WRITE])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_s05_a_failed_sync_or_write_is_an_event_not_kept(
    tmp_path: Path, kind: Kind, code: int
) -> None:
    """`record` raises, health and counts say so, and once the disk works all is well again."""

    def recording(directory: Path, tell: Tell) -> None:
        store = AuditStore(NOBODY, directory, full_timeout=0)
        for number in range(30):
            try:
                store.record(an_event(number))
            except expected:
                assert store.stats().dropped == 1 + sum(told == b"failed" for told in history)
                health = store.health()
                assert health.status == "degraded"
                assert str(directory) in str(health.reason)
                history.append(b"failed")
            else:
                history.append(b"%d" % number)
            tell(history[-1])
        assert store.health().status == "healthy"
        assert_accounted(store)
        store.close(timeout=0)

    history: list[bytes] = []
    is_full = (kind, code) == (Kind.WRITE, errno.ENOSPC)
    expected = JournalFullError if is_full else JournalError
    start = 10 if kind is Kind.SYNC else 30
    plan = fail(on(kind, path="*-wal", start=start, count=3), code)
    run = trace(recording, directory=tmp_path, plan=plan)
    assert run.error is None, run.error
    assert run.told.count(b"failed") >= 1
    assert run.told[-1] == b"29"
    assert_sound(tmp_path)
    with AuditStore(NOBODY, tmp_path) as store:
        assert store.stats().pending >= 30 - run.told.count(b"failed")
        store.close(timeout=0)


def test_s12_a_burst_waits_on_disk_and_not_in_memory(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """60 MB recorded while the server stalls cost the process little, and all arrives."""
    gate = Gate()
    proxy.default = StallBefore(gate)
    store = open_store(proxy.url)
    store.record(an_event(0, correlation))
    before = psutil.Process().memory_info().rss
    text = "x" * 20_000
    for number in range(1, 3000):
        event = an_event(number, correlation, event_data={"number": number, "text": text})
        store.record(event, mode="best_effort")
    assert store.flush(0).pending == 3000
    assert store.stats().pending_bytes > 60_000_000
    assert psutil.Process().memory_info().rss - before < 40_000_000
    proxy.default = PASS
    gate.open()
    assert_delivered(store, 3000)
    assert stored(proxy.upstream, correlation) == list(range(3000))


def test_s12_a_full_journal_holds_back_those_who_record_and_evicts_nothing(
    proxy: FaultProxy, correlation: str, open_store: OpenStore
) -> None:
    """Whoever records waits for room, and goes on when there is some."""
    store = open_store(proxy.url, max_bytes=20_000, full_timeout=PATIENCE)
    with proxy.refusing():
        recorders = [
            threading.Thread(
                target=lambda worker=worker: [
                    store.record(an_event(number, f"{correlation}-{worker}"))
                    for number in range(40)
                ]
            )
            for worker in range(4)
        ]
        for recorder in recorders:
            recorder.start()
        wait_for(lambda: store.stats().pending_bytes > 19_000, 30, "a full journal")
        assert all(recorder.is_alive() for recorder in recorders)
        assert (
            store.health().reason
            == f"the journal is {store.stats().pending_bytes / 20_000:.0%} full"
        )
    for recorder in recorders:
        recorder.join(PATIENCE)
    assert_delivered(store, 160)
    assert store.stats().dropped == 0
    for worker in range(4):
        assert stored(proxy.upstream, f"{correlation}-{worker}") == list(range(40))


def test_s12_a_journal_that_stays_full_is_an_error_in_time(open_store: OpenStore) -> None:
    """And the error says how full it is; what is in it stays, and is counted."""
    store = open_store(NOBODY, max_bytes=3000, full_timeout=0.05)
    text = "x" * 1000
    kept = [store.record(an_event(0, event_data={"text": text})) for _ in range(2)]
    with pytest.raises(JournalFullError, match=r"holds 2 events in \d+ bytes, its cap is 3000"):
        store.record(an_event(0, event_data={"text": text}))
    assert store.flush(0).pending == len(kept)
    assert store.stats().dropped == 1
