"""The audit client's metrics, of a real store that sends to a real DataStorage."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from kubernaut.audit import AuditStore, DeliveryLimits, InvalidEventError
from kubernaut.audit.metrics import METRICS, register
from test.datastorage_service import DataStorageProcess
from test.polling import wait_for

EVENT = {"event_category": "workflow", "event_action": "workflow.started"}
SOON = DeliveryLimits(linger=0.0, backoff_base=0.01, backoff_cap=0.05)
NOBODY = "http://127.0.0.1:1"

Samples = dict[tuple[str, str], float]


def parsed(text: str) -> Samples:
    """Values by name and label beside `service`, or the bucket's bound."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("service") == "gateway"
            key = sample.name, ",".join(labels.values())
            assert key not in samples
            samples[key] = sample.value
    return samples


def scraped(registry: CollectorRegistry) -> Samples:
    return parsed(generate_latest(registry).decode())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def store(service: DataStorageProcess, tmp_path: Path) -> Iterator[AuditStore]:
    with AuditStore(service.url, tmp_path / "journal", limits=SOON, degraded_after=0.2) as opened:
        yield opened


def test_before_during_and_after_an_outage(
    service: DataStorageProcess, store: AuditStore, registry: CollectorRegistry
) -> None:
    register(store, "gateway", registry)
    before = scraped(registry)
    for name in ("audit_events_buffered_total", "audit_buffer_size", "audit_journal_bytes"):
        assert before[name, ""] == 0
    assert before["audit_events_total", "created"] == 0
    assert before["audit_requests_total", "network"] == 0
    assert before["audit_buffer_capacity", ""] == 1024**3 / 1024
    assert before["audit_healthy", ""] == 1

    store.record(EVENT)
    assert store.flush(30).pending == 0
    service.kill()
    for _ in range(3):
        store.record(EVENT)
    wait_for(lambda: store.health().status == "degraded", 10, "that events wait too long")
    during = scraped(registry)
    assert during["audit_events_buffered_total", ""] == 4
    assert during["audit_events_written_total", ""] == 1
    assert during["audit_buffer_size", ""] == 3
    assert during["audit_batches_failed_total", ""] > 0
    assert during["audit_requests_total", "network"] > 0
    assert during["audit_journal_oldest_age_seconds", ""] > 0.2
    assert during["audit_healthy", ""] == 0
    assert 0 < during["audit_buffer_utilization_ratio", ""] < 0.001
    assert during["audit_journal_bytes", ""] > 3 * 200

    service.start()
    assert store.flush(30).pending == 0
    after = scraped(registry)
    assert after["audit_events_written_total", ""] == 4
    assert after["audit_events_total", "created"] + after["audit_events_total", "duplicate"] == 4
    assert after["audit_buffer_size", ""] == 0
    assert after["audit_journal_oldest_age_seconds", ""] == 0
    assert after["audit_events_dropped_total", ""] == 0
    assert after["audit_healthy", ""] == 1
    assert after["audit_requests_total", "2xx"] >= 2
    requests = sum(value for (name, _), value in after.items() if name == "audit_requests_total")
    assert after["audit_write_duration_seconds_count", ""] == requests
    assert after["audit_journal_commit_seconds_count", ""] >= 4
    assert after["audit_journal_commit_seconds_sum", ""] > 0
    assert {sample["audit_events_unaccounted", ""] for sample in (before, during, after)} == {0}


def test_the_size_of_the_buffer_and_its_capacity_agree_with_its_utilization(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    with AuditStore(NOBODY, tmp_path, max_bytes=100_000) as store:
        register(store, "gateway", registry)
        for size in (10, 1000, 5000):
            store.record(EVENT | {"event_data": {"text": "x" * size}})
            samples = scraped(registry)
            ratio = samples["audit_buffer_utilization_ratio", ""]
            assert ratio == samples["audit_journal_bytes", ""] / 100_000
            assert samples["audit_journal_max_bytes", ""] == 100_000
            assert samples["audit_buffer_size", ""] / samples[
                "audit_buffer_capacity", ""
            ] == pytest.approx(ratio)
        store.close(0)


def test_refused_and_dropped_events_are_told_apart(
    store: AuditStore, tmp_path: Path, registry: CollectorRegistry
) -> None:
    register(store, "gateway", registry)
    with pytest.raises(InvalidEventError):
        store.record({"event_category": "nothing", "event_action": "x"})
    own = EVENT | {
        "event_id": "018f0000-0000-7000-8000-000000000001",
        "event_timestamp": "2026-11-01T00:00:00Z",
        "correlation_id": "rr-1",
    }
    for data in ({"a": 1}, {"a": 2}):
        store.record(own | {"event_data": data}, own_id=True)
        store.flush(30)
    samples = scraped(registry)
    assert samples["audit_events_quarantined", ""] == 1
    assert samples["audit_events_own_conflicts_total", ""] == 1
    assert samples["audit_events_total", "created"] == 1
    assert samples["audit_events_total", "duplicate"] == 1
    assert samples["audit_events_dropped_total", ""] == 0

    small = AuditStore(NOBODY, tmp_path / "small", max_bytes=1, full_timeout=0)
    other = CollectorRegistry()
    register(small, "gateway", other)
    with small, pytest.raises(Exception, match="its cap is 1"):
        small.record(EVENT)
    assert scraped(other)["audit_events_dropped_total", ""] == 1


PROCESS = """
import os, signal, sys
from prometheus_client import CollectorRegistry, generate_latest
from kubernaut.audit import AuditStore
from kubernaut.audit.metrics import register

registry = CollectorRegistry()
store = AuditStore(sys.argv[1], sys.argv[2])
register(store, "gateway", registry)
for _ in range(3):
    store.record({"event_category": "workflow", "event_action": "workflow.started"})
assert store.flush(30).pending == 0
sys.stdout.write(generate_latest(registry).decode())
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_counters_survive_the_process(service: DataStorageProcess, tmp_path: Path) -> None:
    runs = [
        parsed(
            subprocess.run(
                [sys.executable, "-c", PROCESS, service.url, tmp_path / "journal"],
                check=False,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(3)
    ]
    for name, label in (
        ("audit_events_buffered_total", ""),
        ("audit_events_written_total", ""),
        ("audit_events_total", "created"),
    ):
        assert [run[name, label] for run in runs] == [3, 6, 9]


def test_both_text_formats_parse_and_have_every_metric(
    store: AuditStore, registry: CollectorRegistry
) -> None:
    register(store, 'with "quotes"\n', registry)
    store.record(EVENT)
    expected = {described.name: described.type for described in METRICS}
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    # The old format has a counter's ending in the family's name, and the parser takes it off.
    assert {family.name: family.type for family in families} == expected
    strict = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    assert {family.name: family.type for family in open_families(strict)} == expected  # type: ignore[no-untyped-call]
    assert all(
        sample.labels["service"] == 'with "quotes"\n'
        for family in families
        for sample in family.samples
    )


def test_nothing_is_unaccounted_for_while_many_record(
    store: AuditStore, registry: CollectorRegistry
) -> None:
    register(store, "gateway", registry)

    def record() -> None:
        for _ in range(100):
            store.record(EVENT)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen: list[Samples] = []
    while any(thread.is_alive() for thread in threads):
        seen.append(scraped(registry))
    for thread in threads:
        thread.join()
    store.flush(60)
    seen.append(scraped(registry))
    assert {samples["audit_events_unaccounted", ""] for samples in seen} == {0}
    for name in ("audit_events_buffered_total", "audit_events_written_total"):
        values = [samples[name, ""] for samples in seen]
        assert values == sorted(values)
        assert values[-1] == 400


def test_stores_of_several_services_share_a_registry(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    stores = {name: AuditStore(NOBODY, tmp_path / name) for name in ("one", "two")}
    end = {name: register(store, name, registry) for name, store in stores.items()}
    stores["one"].record(EVENT)

    def sizes() -> dict[str, str]:
        text = generate_latest(registry).decode()
        return dict(re.findall(r'^audit_buffer_size{service="(\w+)"} (\S+)$', text, re.MULTILINE))

    assert sizes() == {"one": "1.0", "two": "0.0"}
    with pytest.raises(ValueError, match="'one' are shown already"):
        register(stores["two"], "one", registry)
    for store in stores.values():
        store.close(0)
    assert sizes() == {"one": "1.0", "two": "0.0"}, "a closed store's metrics are its last"
    end["one"]()
    end["one"]()
    assert sizes() == {"two": "0.0"}
    register(stores["one"], "one", registry)
    assert sizes() == {"two": "0.0", "one": "1.0"}


def test_a_disk_in_trouble_is_shown_and_never_raised(
    store: AuditStore, tmp_path: Path, registry: CollectorRegistry
) -> None:
    register(store, "gateway", registry)
    store.record(EVENT)
    store.flush(30)
    shutil.rmtree(tmp_path / "journal")
    samples = scraped(registry)
    assert samples["audit_events_written_total", ""] == 1


FORKED = """
import os, sys
from pathlib import Path
from prometheus_client import CollectorRegistry, generate_latest
from kubernaut.audit import AuditStore
from kubernaut.audit.metrics import register

directory, looks_before = Path(sys.argv[1]), int(sys.argv[2])
registry = CollectorRegistry()
store = AuditStore("http://127.0.0.1:1", directory)
register(store, "gateway", registry)
for _ in range(looks_before):
    generate_latest(registry)
directory.rename(directory.with_name("gone"))
directory.touch()
if os.fork() == 0:
    sys.stdout.write(generate_latest(registry).decode())
    sys.stdout.flush()
    os._exit(0)
assert os.wait()[1] == 0
"""


@pytest.mark.parametrize("looks_before", [0, 1])
def test_a_store_that_cannot_open_its_directory_is_not_healthy(
    tmp_path: Path, looks_before: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, tmp_path / "journal", str(looks_before)],
        check=True,
        capture_output=True,
        text=True,
    )
    samples = parsed(done.stdout)
    assert samples["audit_healthy", ""] == 0
    assert samples.get(("audit_buffer_size", "")) == (0 if looks_before else None)


def test_without_its_package_the_module_says_what_to_install() -> None:
    script = "import sys; sys.modules['prometheus_client'] = None; import kubernaut.audit.metrics"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: kubernaut.audit.metrics needs prometheus-client:"
        " pip install 'kubernaut-py[metrics]'"
    )
