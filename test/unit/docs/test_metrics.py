"""The page on metrics and the registry are the same."""

import re
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from kubernaut.datastorage import metrics
from test.unit.docs.pages import all_pages, codes, read, table

PAGE: Final = read("reference/metrics")
OWN: Final = {
    found._name: found for found in vars(metrics).values() if isinstance(found, MetricWrapperBase)
}

OWN_COLUMNS: Final = 4
LABEL_COLUMNS: Final = 2


def shown(name: str, kind: str | None) -> str:
    return f"{name}_total" if kind == "counter" else name


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    documented = {
        codes(row[0])[0]: (row[1], codes(row[2]))
        for row in table(PAGE, "DataStorage")
        if len(row) == OWN_COLUMNS
    }
    assert documented == {
        shown(name, found._type): (found._type, list(found._labelnames))
        for name, found in OWN.items()
    }


def test_every_metric_of_the_process_is_documented_with_its_type() -> None:
    documented = {codes(name)[0]: kind for name, kind, _ in table(PAGE, "Process")}
    assert documented == {
        shown(family.name, family.type): family.type
        for family in metrics.REGISTRY.collect()
        if family.name not in OWN
    }


def test_every_label_is_explained() -> None:
    labels = {label for found in OWN.values() for label in found._labelnames}
    rows = [row for row in table(PAGE, "DataStorage") if len(row) == LABEL_COLUMNS]
    assert {codes(row[0])[0] for row in rows} == labels


def test_no_page_names_a_metric_that_does_not_exist() -> None:
    known = set()
    for name, found in OWN.items():
        known |= {shown(name, found._type)}
        known |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")}
    for path in all_pages():
        named = set(
            re.findall(r"(?<![\w./])datastorage_[a-z_]+\b", path.read_text(encoding="utf-8"))
        )
        assert named <= known, path
