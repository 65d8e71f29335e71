"""Run by `test_scenarios_disk.py` in a mount namespace: a journal on a disk that is full or bad.

Prints what happened; exits with a trace if anything was not as it should be.
"""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from kubernaut.audit import AuditStore, JournalError, JournalFullError
from test.audit_events import an_event
from test.faults.proxy import FaultProxy
from test.integration.audit.trail import (
    PATIENCE,
    QUICK,
    assert_accounted,
    assert_delivered,
    assert_sound,
    stored,
)

DISK: Final = "size=48m,mode=0755"


def fill(path: Path) -> None:
    """Until there is no room at all."""
    with path.open("ab") as ballast:
        disk = os.statvfs(path.parent)
        os.posix_fallocate(ballast.fileno(), path.stat().st_size, disk.f_bavail * disk.f_frsize)


def mounted(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def recorded_until_full(store: AuditStore, correlation: str, first: int) -> int:
    """How many more events there was room for."""
    for number in count(first):
        try:
            store.record(an_event(number, correlation))
        except JournalFullError:
            return number - first
    raise AssertionError


def full(mount: Path, proxy: FaultProxy, correlation: str, *, restart: bool) -> None:
    directory = mount / f"full-{restart}"
    store = AuditStore(proxy.url, directory, limits=QUICK, full_timeout=0.2)
    kept = 0
    with proxy.refusing():
        for _ in range(10):
            store.record(an_event(kept, correlation))
            kept += 1
        fill(mount / "ballast")
        kept += recorded_until_full(store, correlation, kept)
        health = store.health()
        assert health.status == "degraded", health
        assert "is full" in str(health.reason), health
        assert store.stats().pending == kept
        if restart:
            store.close(timeout=0)
            store = AuditStore(proxy.url, directory, limits=QUICK, full_timeout=0.2)
    assert_delivered(store, kept)
    fill(mount / "ballast")
    assert store.stats().dropped == (0 if restart else 1)
    (mount / "ballast").unlink()
    store.record(an_event(kept, correlation))
    assert_delivered(store, kept + 1)
    assert store.health().status == "healthy", store.health()
    assert stored(proxy.upstream, correlation) == list(range(kept + 1))
    store.close()
    assert_sound(directory)
    sys.stdout.write(f"full, refused, {'started again, ' * restart}delivered, freed, recorded\n")


def read_only(mount: Path, proxy: FaultProxy, correlation: str) -> None:
    """A journal that is closed for writing under way, and at the start."""
    mounted("--bind", str(mount), str(mount))
    directory = mount / "more"
    store = AuditStore(proxy.url, directory, limits=QUICK)
    with proxy.refusing():
        store.record(an_event(0, correlation))
        store.close(timeout=0)
    mounted("-o", "remount,bind,ro", str(mount))
    with pytest.raises(JournalError, match=r"Read-only file system|readonly"):
        AuditStore(proxy.url, directory)
    mounted("-o", "remount,bind,rw", str(mount))
    with AuditStore(proxy.url, directory, limits=QUICK) as again:
        assert again.flush(PATIENCE) == (1, 0, 0)
        assert_accounted(again)
    assert stored(proxy.upstream, correlation) == [0]
    assert_sound(directory)
    sys.stdout.write("read-only, refused, writable, delivered\n")


def main(mount: Path, url: str) -> None:
    mounted("-t", "tmpfs", "-o", DISK, "disk", str(mount))
    correlation = f"rr-{uuid4()}"
    with FaultProxy(url) as proxy:
        full(mount, proxy, f"{correlation}-full", restart=False)
        full(mount, proxy, f"{correlation}-again", restart=True)
        read_only(mount, proxy, f"{correlation}-ro")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
