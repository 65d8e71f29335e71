"""What became of recorded events: on the server, and in the directory of journals."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kubernaut.audit import AuditStore, Client, DeliveryLimits, JournalError
from kubernaut.audit._journal import Journal
from test.faults.http_faults import PASS, Gate
from test.faults.proxy import FaultProxy

QUICK: Final = DeliveryLimits(linger=0.0, backoff_base=0.01, backoff_cap=0.05)
NOBODY: Final = "http://127.0.0.1:1"
PATIENCE: Final = 60.0

OpenStore = Callable[..., AuditStore]


class Clock:
    """Unix time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def stored(url: str, correlation: str) -> list[int]:
    """The numbers of a correlation's events, in the order of its chain, which must be whole."""
    with Client(url) as client:
        events = list(client.query(correlation_id=correlation, order="asc"))
        verification = client.verify_chain(correlation)
    events.sort(key=lambda event: event.chain_seq or 0)
    assert [event.chain_seq for event in events] == list(range(1, len(events) + 1))
    assert len({event.event_id for event in events}) == len(events)
    assert (verification.is_valid, verification.total_events) == (True, len(events))
    return [event.data["number"] for event in events]


def assert_accounted(store: AuditStore) -> None:
    """Every event is in one place."""
    stats = store.stats()
    assert stats.recorded == stats.delivered + stats.pending + stats.quarantined
    assert stats.delivered == stats.created + stats.duplicates + stats.unconfirmed


def assert_sound(directory: Path) -> None:
    """The journals are what they say of themselves."""
    for path in sorted(directory.glob("*.journal")):
        try:
            found = Journal(path, 0).check()
        except JournalError:
            assert not path.exists()  # A store has adopted it in between.
        else:
            assert found == [], path


def assert_delivered(store: AuditStore, count: int) -> None:
    """All that was recorded arrives, and it was so many events."""
    assert store.flush(PATIENCE) == (count, 0, 0)
    assert store.stats().recorded == count


def pass_on(proxy: FaultProxy, gate: Gate) -> None:
    """Let the requests that wait go on, and all that come."""
    proxy.default = PASS
    gate.open()


def process(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """A process of its own that runs a script, with its output to read."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(script: str, *arguments: object, code: int = 0) -> list[str]:
    """The lines that a script has written, once it has ended, as it should."""
    with process(script, *arguments) as run:
        try:
            output, errors = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
    assert run.returncode == code, errors
    return output.splitlines()
