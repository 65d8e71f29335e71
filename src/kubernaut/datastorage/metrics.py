"""Prometheus metrics. `docs/reference/metrics.md` documents each; a test compares the two."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS: Final = Counter(
    "datastorage_http_requests",
    "HTTP requests answered",
    ["method", "route", "status"],
    registry=REGISTRY,
)
REQUEST_DURATION: Final = Histogram(
    "datastorage_http_request_duration_seconds",
    "From the request's head to the end of the answer",
    ["method", "route"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
EVENTS: Final = Counter(
    "datastorage_audit_events",
    "Events by what became of them: created, duplicate, conflict, rejected, invalid",
    ["result"],
    registry=REGISTRY,
)
AUDIT_LAG: Final = Histogram(
    "datastorage_audit_lag_seconds",
    "From the newest event_timestamp of a request to its commit",
    buckets=(*_SECONDS, 60, 300, 3600),
    registry=REGISTRY,
)
WRITE_DURATION: Final = Histogram(
    "datastorage_write_duration_seconds",
    "One transaction, from BEGIN to COMMIT",
    buckets=_SECONDS,
    registry=REGISTRY,
)
GROUP_EVENTS: Final = Histogram(
    "datastorage_write_group_events",
    "Events in one transaction",
    buckets=(1, 3, 10, 30, 100, 300, 1000, 10000),
    registry=REGISTRY,
)
WRITE_FAILURES: Final = Counter(
    "datastorage_write_failures",
    "Transactions that failed, by the state of the database or `defect`",
    ["reason"],
    registry=REGISTRY,
)
WRITE_RETRIES: Final = Counter(
    "datastorage_write_retries",
    "Transactions done again: contention, isolation (a request at fault is looked for)",
    ["reason"],
    registry=REGISTRY,
)
REFUSALS: Final = Counter(
    "datastorage_overload_refusals",
    "Requests answered 503 at once, by the limit that was reached",
    ["limit"],
    registry=REGISTRY,
)
QUEUE_REQUESTS: Final = Gauge(
    "datastorage_write_queue_requests", "Requests waiting for a writer", registry=REGISTRY
)
INFLIGHT_BYTES: Final = Gauge(
    "datastorage_inflight_body_bytes", "Bytes of request bodies held in memory", registry=REGISTRY
)
INFLIGHT_REQUESTS: Final = Gauge(
    "datastorage_inflight_requests", "Requests being worked on", registry=REGISTRY
)
DATABASE_UP: Final = Gauge(
    "datastorage_database_up", "1 while the last use of the database succeeded", registry=REGISTRY
)
CHAIN_FINDINGS: Final = Counter(
    "datastorage_chain_findings",
    "Faults found by verify-chain, by verdict",
    ["verdict"],
    registry=REGISTRY,
)
