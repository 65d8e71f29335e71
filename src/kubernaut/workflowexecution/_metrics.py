"""The operator's Prometheus metrics, in a registry that is given.

`docs/reference/operator-metrics.md` documents each; a test compares the two. What can be counted
from the cache or asked of the audit store is looked up when it is scraped, so that it cannot drift
from what is there. Values of labels exist from the start, so that the first failure is an increase.
"""

import contextlib
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from kubernaut.audit import AuditStore, JournalError, StoreClosedError
from kubernaut.kubernetes import Store, is_true
from kubernaut.workflowexecution._api import EngineName, Phase, WorkflowExecution
from kubernaut.workflowexecution._conditions import AUDITED, STALLED

Ended = Literal["Completed", "Failed"]

DURATION_BUCKETS: Final = (5, 10, 20, 40, 80, 160, 320)
"""Seconds."""


def new_registry() -> CollectorRegistry:
    """A registry with what every process tells of itself."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class OperatorMetrics:
    """What the operator counts.

    Args:
        registry: where the metrics are.

    Raises:
        ValueError: the registry has them already.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "workflowexecution_reconciler",
            "WorkflowExecutions that have ended, by their last phase",
            ["outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "workflowexecution_reconciler_duration_seconds",
            "How long WorkflowExecutions ran; 0 for those that never started",
            ["outcome"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._pipeline_runs = Counter(
            "workflowexecution_reconciler_pipelinerun_creations",
            "PipelineRuns that were created",
            registry=registry,
        )
        self._children = Counter(
            "workflowexecution_reconciler_execution_creations",
            "Objects that run a workflow and were created, by engine",
            ["engine"],
            registry=registry,
        )
        for outcome in get_args(Ended):
            self._total.labels(outcome)
            self._duration.labels(outcome)
        for engine in get_args(EngineName):
            self._children.labels(engine)
        self._looked_up = _LookedUp()
        registry.register(self._looked_up)

    def ended(self, outcome: Ended, seconds: float) -> None:
        """A WorkflowExecution has come to its last phase, after so many seconds of running."""
        self._total.labels(outcome).inc()
        self._duration.labels(outcome).observe(seconds)

    def child_created(self, engine: str) -> None:
        """An object that runs a workflow was created, not adopted."""
        self._children.labels(engine).inc()
        if engine == "tekton":
            self._pipeline_runs.inc()

    def count_in(self, executions: Store[WorkflowExecution]) -> None:
        """Show how many of a cache's objects are in which state."""
        self._looked_up.executions = executions

    def ask(self, audit: AuditStore) -> None:
        """Show how often the audit trail had other content under an id of ours."""
        self._looked_up.audit = audit

    def show_suspended(self, is_suspended: Callable[[], bool]) -> None:
        """Show whether the operator starts new runs."""
        self._looked_up.is_suspended = is_suspended


class _LookedUp(Collector):
    """What is looked up when it is scraped, from whatever thread that is."""

    def __init__(self) -> None:
        self.executions: Store[WorkflowExecution] | None = None
        self.audit: AuditStore | None = None
        self.is_suspended: Callable[[], bool] = lambda: False
        self._conflicts = 0

    def collect(self) -> Iterator[Metric]:
        wfes = [] if self.executions is None else self.executions.list()
        by_phase = Tally(wfe.phase for wfe in wfes)
        phases = GaugeMetricFamily(
            "workflowexecution_executions", "WorkflowExecutions by phase", labels=["phase"]
        )
        for phase in get_args(Phase):
            phases.add_metric([phase], by_phase[phase])
        yield phases
        yield GaugeMetricFamily(
            "workflowexecution_audit_pending",
            "WorkflowExecutions whose audit trail is not known to be stored",
            value=sum(map(_owes, wfes)),
        )
        yield GaugeMetricFamily(
            "workflowexecution_stalled",
            "Running WorkflowExecutions that show no progress",
            value=sum(
                wfe.phase == "Running" and is_true(wfe.status.conditions, STALLED) for wfe in wfes
            ),
        )
        yield GaugeMetricFamily(
            "workflowexecution_suspended",
            "1 while no new run is started, else 0",
            value=self.is_suspended(),
        )
        yield CounterMetricFamily(
            "workflowexecution_audit_conflicts",
            "Events that DataStorage had with other content under an id of ours; counted as stored",
            value=self._conflicts_by_now(),
        )

    def _conflicts_by_now(self) -> int:
        """The last number that was known, where the journal's disk is in trouble."""
        if self.audit is not None:
            with contextlib.suppress(JournalError, StoreClosedError):
                self._conflicts = self.audit.stats().own_conflicts
        return self._conflicts


def _owes(wfe: WorkflowExecution) -> bool:
    """Whether the status owes events that are not known to be stored."""
    return wfe.phase != "Pending" and not is_true(wfe.status.conditions, AUDITED)
