"""The page of the audit client names everything that the library exports, and nothing else."""

import inspect
from typing import get_args

import pytest

import kubernaut.audit
from kubernaut.audit import AuditStore, DeliveryLimits, Endpoint, Fate, Mode
from test.unit.docs.pages import codes, prose, read, rows

PAGE = read("reference/audit-client")
NAMED = {code.partition("(")[0] for code in codes(prose(PAGE))}
FIRST = {row[0].strip("`") for row in rows(PAGE)}


@pytest.mark.parametrize("name", sorted(kubernaut.audit.__all__))
def test_what_is_exported_is_named(name: str) -> None:
    assert name in NAMED


def test_every_setting_has_its_row() -> None:
    settings = set(inspect.signature(AuditStore).parameters)
    fields = set(DeliveryLimits._fields) | set(Endpoint.__struct_fields__)
    assert settings | fields <= FIRST


@pytest.mark.parametrize("words", [get_args(Mode), get_args(Fate)])
def test_every_word_has_its_row(words: tuple[str, ...]) -> None:
    assert set(words) <= FIRST


def test_defaults_are_those_of_the_code() -> None:
    defaults = {row[0].strip("`"): row[1] for row in rows(PAGE) if len(row) == 3}
    limits = DeliveryLimits()
    assert defaults["batch_events"] == str(limits.batch_events)
    assert defaults["in_flight"] == str(limits.in_flight)
    for name in ("linger", "backoff_base", "backoff_cap"):
        assert defaults[name] == f"{getattr(limits, name):g} s"
    for name, parameter in inspect.signature(AuditStore).parameters.items():
        if isinstance(parameter.default, float):
            assert defaults[name] == f"{parameter.default:g} s"


def test_every_method_has_its_row() -> None:
    methods = {
        name
        for name, member in inspect.getmembers(AuditStore, inspect.isfunction)
        if not name.startswith("_") and name not in ("before_fork", "after_fork")
    }
    text = PAGE.split("\n## ")[1]
    assert {name for name in methods if f"`{name}" not in text} == set()
