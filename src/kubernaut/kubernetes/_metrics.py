"""The metrics of queues, controllers and leader election, named as controller-runtime names them.

Dashboards and alerts made for Go operators work as they are: same names, labels and buckets. What
changes with time alone is computed when it is scraped; client-go updates it twice a second.
"""

import weakref
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

QUEUE_BUCKETS: Final = tuple(10.0**exponent for exponent in range(-8, 4))
"""Seconds (controller-runtime: `ExponentialBuckets(10e-9, 10, 12)`)."""
RECONCILE_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8),
    *(0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30),
    *(40, 50, 60),
)
"""Seconds (controller-runtime, `pkg/internal/controller/metrics`)."""
RESULTS: Final = ("success", "requeue_after", "error")
"""Values of the label `result`; there from the start, so that the first error is an increase."""


class Metrics:
    """The collectors, registered once in a registry. Use `metrics_in`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, label: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, (label,), buckets=buckets, registry=registry)

        self.queue_depth = gauge("workqueue_depth", "Keys that wait to be processed", "name")
        self.queue_adds = counter("workqueue_adds_total", "Keys that entered the queue", "name")
        self.queue_retries = counter("workqueue_retries_total", "Rate-limited adds", "name")
        self.queue_duration = histogram(
            "workqueue_queue_duration_seconds", "How long keys waited", "name", QUEUE_BUCKETS
        )
        self.work_duration = histogram(
            "workqueue_work_duration_seconds", "How long keys were processed", "name", QUEUE_BUCKETS
        )
        self.unfinished_work = gauge(
            "workqueue_unfinished_work_seconds",
            "Time spent on what is being processed now, summed; a growing value is a stuck worker",
            "name",
        )
        self.longest_running = gauge(
            "workqueue_longest_running_processor_seconds",
            "Time spent on the key that is being processed for the longest time",
            "name",
        )
        self.reconciles = counter(
            "controller_runtime_reconcile_total",
            "Reconciles by their result",
            *("controller", "result"),
        )
        self.errors = counter(
            "controller_runtime_reconcile_errors_total", "Reconciles that raised", "controller"
        )
        self.terminal_errors = counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Reconciles that raised a TerminalError",
            "controller",
        )
        self.timeouts = counter(
            "controller_runtime_reconcile_timeouts_total",
            "Reconciles that met their time limit",
            "controller",
        )
        self.reconcile_time = histogram(
            "controller_runtime_reconcile_time_seconds",
            "How long a reconcile took",
            "controller",
            RECONCILE_BUCKETS,
        )
        self.active_workers = gauge(
            "controller_runtime_active_workers", "Workers that reconcile now", "controller"
        )
        self.max_workers = gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers there are", "controller"
        )
        self.leading = gauge(
            "leader_election_master_status", "1 while this process leads, else 0", "name"
        )


_BY_REGISTRY: Final = weakref.WeakKeyDictionary[CollectorRegistry, Metrics]()


def metrics_in(registry: CollectorRegistry = REGISTRY) -> Metrics:
    """The metrics of `registry`, made at the first call."""
    found = _BY_REGISTRY.get(registry)
    if found is None:
        found = _BY_REGISTRY[registry] = Metrics(registry)
    return found
