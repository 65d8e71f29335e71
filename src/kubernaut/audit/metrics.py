"""Prometheus metrics of audit stores; needs the extra `kubernaut-py[metrics]`.

`docs/reference/audit-metrics.md` documents each metric; a test compares the two. Values are looked
up when they are scraped: recording costs nothing for them. A scrape never fails because of a disk
in trouble: it has the values that were seen last, and `audit_healthy` is 0.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from kubernaut.audit._errors import JournalError, StoreClosedError
from kubernaut.audit._measures import BOUNDS
from kubernaut.audit._state import StoreStats
from kubernaut.audit._store import AuditStore

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector as _Collector
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "prometheus_client":
        raise
    raise ImportError(
        "kubernaut.audit.metrics needs prometheus-client: pip install 'kubernaut-py[metrics]'"
    ) from error

__all__ = ["METRICS", "Collector", "Described", "register"]

_EMPTY_EVENT_BYTES: Final = 1024
"""What an event is taken to need while there is none to measure."""
_FAMILIES: Final[dict[str, Callable[..., Metric]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_REQUEST_OUTCOMES: Final = ("2xx", "4xx", "5xx", "network")
"""There from the start, so that the first failure is an increase; others when they come."""

Histogram = tuple[list[int], float]


class _Seen(NamedTuple):
    """What a look at a store found."""

    stats: StoreStats
    durations: Mapping[str, Histogram]
    healthy: bool


class Described(NamedTuple):
    """A metric: its name without the endings that samples get, its type, labels and meaning."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


class _Value(NamedTuple):
    """A number, or one for each value of the second label."""

    described: Described
    read: Callable[[_Seen], float | Mapping[str, float]]


class _Durations(NamedTuple):
    described: Described
    of: str


def _counter(
    name: str, meaning: str, read: Callable[[_Seen], float | Mapping[str, float]], *labels: str
) -> _Value:
    return _Value(Described(name, "counter", ("service", *labels), meaning), read)


def _gauge(name: str, meaning: str, read: Callable[[_Seen], float]) -> _Value:
    return _Value(Described(name, "gauge", ("service",), meaning), read)


def _histogram(name: str, meaning: str, of: str) -> _Durations:
    return _Durations(Described(name, "histogram", ("service",), meaning), of)


def _failed(seen: _Seen) -> float:
    return sum(count for outcome, count in seen.stats.attempts.items() if outcome != "2xx")


def _requests(seen: _Seen) -> Mapping[str, float]:
    return dict.fromkeys(_REQUEST_OUTCOMES, 0) | seen.stats.attempts


def _fates(seen: _Seen) -> Mapping[str, float]:
    stats = seen.stats
    return {
        "created": stats.created,
        "duplicate": stats.duplicates,
        "unconfirmed": stats.unconfirmed,
    }


def _capacity(seen: _Seen) -> float:
    stats = seen.stats
    mean = stats.pending_bytes / stats.pending if stats.pending else _EMPTY_EVENT_BYTES
    return stats.max_bytes / mean


def _unaccounted(seen: _Seen) -> float:
    stats = seen.stats
    return stats.recorded - stats.delivered - stats.pending - stats.quarantined


_ALL: Final[tuple[_Value | _Durations, ...]] = (
    # Names that dashboards of the older clients know.
    _counter(
        "audit_events_dropped",
        "Events that were given to the store and not kept",
        lambda seen: seen.stats.dropped,
    ),
    _counter(
        "audit_events_buffered", "Events that the journal took", lambda seen: seen.stats.recorded
    ),
    _counter(
        "audit_events_written",
        "Events that the server has accepted",
        lambda seen: seen.stats.delivered,
    ),
    _counter("audit_batches_failed", "Requests that were not answered 2xx", _failed),
    _gauge("audit_buffer_size", "Events in the journal", lambda seen: seen.stats.pending),
    _gauge(
        "audit_buffer_capacity", "Events of the present mean size that the journal holds", _capacity
    ),
    _gauge(
        "audit_buffer_utilization_ratio",
        "How full the journal is, from 0 to 1",
        lambda seen: seen.stats.pending_bytes / seen.stats.max_bytes,
    ),
    _histogram("audit_write_duration_seconds", "Requests to the server", "request"),
    # Names of this client.
    _gauge(
        "audit_events_quarantined",
        "Events that were refused and are kept",
        lambda seen: seen.stats.quarantined,
    ),
    _counter("audit_events", "Accepted events by what the server said", _fates, "outcome"),
    _counter(
        "audit_events_own_conflicts",
        "Events stored before with other content under an id that the caller makes",
        lambda seen: seen.stats.own_conflicts,
    ),
    _gauge(
        "audit_events_unaccounted",
        "Events recorded and not to be found: 0, or there is a defect",
        _unaccounted,
    ),
    _counter("audit_requests", "Requests by the class of their outcome", _requests, "outcome"),
    _gauge(
        "audit_journal_bytes",
        "What the events in the journal take",
        lambda seen: seen.stats.pending_bytes,
    ),
    _gauge("audit_journal_max_bytes", "The cap of that", lambda seen: seen.stats.max_bytes),
    _gauge(
        "audit_journal_oldest_age_seconds",
        "Age of the event that is first in line",
        lambda seen: seen.stats.oldest_pending_seconds,
    ),
    _histogram("audit_journal_commit_seconds", "Commits of the journal to its disk", "commit"),
    _gauge("audit_healthy", "1: healthy; 0: degraded", lambda seen: seen.healthy),
)
METRICS: Final = tuple(each.described for each in _ALL)
"""Every metric, in the order in which they are shown."""


class Collector(_Collector):
    """The metrics of any number of stores, told apart by the label `service`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: dict[str, AuditStore] = {}
        self._last: dict[str, _Seen] = {}

    def add(self, store: AuditStore, service: str) -> None:
        """Show a store's metrics too.

        Raises:
            ValueError: another store goes by this name.
        """
        with self._lock:
            if service in self._stores:
                raise ValueError(f"the metrics of a store of service {service!r} are shown already")
            self._stores[service] = store

    def remove(self, service: str) -> None:
        """Show the metrics of a store no more."""
        with self._lock:
            self._stores.pop(service, None)
            self._last.pop(service, None)

    def describe(self) -> Iterable[Metric]:
        """The metrics without values; a registry asks for them to find names used twice."""
        return [_family(described) for described in METRICS]

    def collect(self) -> Iterator[Metric]:
        """The metrics with their values now; those of a closed store are its last."""
        with self._lock:
            stores = dict(self._stores)
        looks = {service: self._look(service, store) for service, store in stores.items()}
        for each in _ALL:
            family = _family(each.described)
            for service, seen in looks.items():
                if seen is not None:
                    _fill(family, each, service, seen)
                elif each.described.name == "audit_healthy":
                    _add(family, [service], 0)
            yield family

    def _look(self, service: str, store: AuditStore) -> _Seen | None:
        try:
            seen = _Seen(store.stats(), store.durations(), store.health().status == "healthy")
        except (JournalError, StoreClosedError):
            last = self._last.get(service)
            return None if last is None else last._replace(healthy=False)
        with self._lock:
            if self._stores.get(service) is store:
                self._last[service] = seen
        return seen


def _family(described: Described) -> Metric:
    return _FAMILIES[described.type](described.name, described.meaning, labels=described.labels)


def _fill(family: Metric, each: _Value | _Durations, service: str, seen: _Seen) -> None:
    if isinstance(each, _Durations):
        counts, seconds = seen.durations[each.of]
        bounds = [*map(str, BOUNDS), "+Inf"]
        assert isinstance(family, HistogramMetricFamily)  # noqa: S101  (made so from its type)
        family.add_metric([service], list(zip(bounds, accumulate(counts), strict=True)), seconds)
        return
    value = each.read(seen)
    if isinstance(value, Mapping):
        for label, one in value.items():
            _add(family, [service, label], one)
    else:
        _add(family, [service], value)


def _add(family: Metric, labels: list[str], value: float) -> None:
    assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)  # noqa: S101  (as above)
    family.add_metric(labels, value)


_lock: Final = threading.Lock()
_collectors: Final[weakref.WeakKeyDictionary[CollectorRegistry, Collector]] = (
    weakref.WeakKeyDictionary()
)


def register(
    store: AuditStore, service: str, registry: CollectorRegistry = REGISTRY
) -> Callable[[], None]:
    """Show a store's metrics in a registry; those of one registry share a collector.

    Args:
        store: an audit store, whether or not it is closed later.
        service: value of the label `service`, another one for each store.
        registry: where; `prometheus_client` shows its global one by itself.

    Returns:
        A function that ends it.

    Raises:
        ValueError: another store of the registry goes by this name, or something else in it has
            one of these metrics.
    """
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            collector = Collector()
            registry.register(collector)
            _collectors[registry] = collector
        collector.add(store, service)
    return partial(collector.remove, service)
