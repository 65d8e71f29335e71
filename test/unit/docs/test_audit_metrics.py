"""The page on the audit client's metrics and the collector are the same."""

import re
from typing import Final

from kubernaut.audit.metrics import METRICS, Collector
from test.unit.docs.pages import codes, read, table

PAGE: Final = read("reference/audit-metrics")
COLUMNS: Final = 4


def shown(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def samples(name: str, kind: str) -> set[str]:
    if kind == "histogram":
        return {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return {shown(name, kind)}


def test_every_metric_is_documented_with_its_type_and_labels_and_nothing_else() -> None:
    documented = {
        codes(row[0])[0]: (row[1], tuple(codes(row[2])))
        for row in table(PAGE, "Metrics")
        if len(row) == COLUMNS
    }
    assert documented == {
        shown(described.name, described.type): (described.type, described.labels)
        for described in METRICS
    }


def test_what_is_documented_is_what_is_collected() -> None:
    assert {
        (family.name, family.type, family.documentation) for family in Collector().collect()
    } == {(described.name, described.type, described.meaning) for described in METRICS}


def test_every_label_is_explained() -> None:
    rows = [row for row in table(PAGE, "Metrics") if len(row) != COLUMNS]
    labels = {label for described in METRICS for label in described.labels}
    assert {codes(row[0])[0] for row in rows} == labels


def test_alerts_name_metrics_that_exist() -> None:
    known = set().union(*(samples(described.name, described.type) for described in METRICS))
    alerts = [codes(row[1])[0] for row in table(PAGE, "Alerts")]
    named = {name for alert in alerts for name in re.findall(r"audit_[a-z_]+", alert)}
    assert named <= known
    for name in ("oldest_age", "unaccounted", "quarantined", "utilization", "dropped"):
        assert any(name in metric for metric in named), name
