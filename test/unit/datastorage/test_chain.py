"""The formulas of the chain: fixed for ever, and sensitive to everything."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.datastorage.chain import (
    ACTOR_IP,
    EVENT_COLUMNS,
    GENESIS,
    event_digest,
    link_hash,
    link_prefix,
)

ROW: dict[str, Any] = {
    "event_timestamp": datetime(2026, 11, 24, 9, 30, 0, 125000, UTC),
    "event_id": UUID("0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4f"),
    "parent_event_date": date(2026, 11, 23),
    "duration_ms": 1200,
    "retention_days": 2555,
    "is_sensitive": False,
    "parent_event_id": UUID("0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4e"),
    "event_version": "1.0",
    "event_type": "workflow.started",
    "event_category": "workflow",
    "event_action": "started",
    "event_outcome": "success",
    "actor_type": "service",
    "actor_id": "workflow-service",
    "actor_ip": "2001:db8::1",
    "resource_type": "workflow",
    "resource_id": "rr-1",
    "resource_name": None,
    "correlation_id": "rr-1",
    "trace_id": None,
    "span_id": None,
    "namespace": "payments",
    "cluster_id": None,
    "severity": "info",
    "error_code": None,
    "error_message": None,
    "event_metadata": None,
    "event_data": '{"a": 1e2}',
}


def digest(**changes: Any) -> bytes:
    return event_digest(list((ROW | changes).values()))


def test_the_row_has_the_columns() -> None:
    assert tuple(ROW) == EVENT_COLUMNS
    assert EVENT_COLUMNS[ACTOR_IP] == "actor_ip"


def test_the_digest_of_a_fixed_row_never_changes() -> None:
    assert digest().hex() == "f8a147cb6f9907efa4a23cbf30e6620c3ea6562c8b43f2d91c0eeb7a86e01a7c"


def test_the_hash_of_a_fixed_link_never_changes() -> None:
    assert (
        link_hash(link_prefix("rr-1"), 1, GENESIS, bytes(32)).hex()
        == "027ee118bbd392a9f81e9f98073aad9529d600b98ce5b6ea5d87136373074557"
    )


@pytest.mark.parametrize("column", EVENT_COLUMNS)
def test_every_column_counts(column: str) -> None:
    other: Any = {bool: True, int: 7, date: date(2020, 1, 1)}.get(type(ROW[column]), "other")
    if column == "event_timestamp":
        other = ROW[column].replace(microsecond=125001)
    if column.endswith("event_id"):
        other = UUID(int=7)
    if column == "actor_ip":
        other = "2001:db8::2"
    assert digest(**{column: other}) != digest()
    if ROW[column] is not None:
        assert digest(**{column: None}) != digest()


def test_an_address_counts_by_its_bytes_not_by_its_form() -> None:
    assert digest(actor_ip="2001:0DB8:0::1") == digest()
    assert digest(actor_ip="::ffff:1.2.3.4") == digest(actor_ip="::ffff:102:304")
    assert digest(actor_ip="1.2.3.4") != digest(actor_ip="::ffff:1.2.3.4")


@given(st.text(), st.text(), st.text(), st.text())
def test_no_two_divisions_of_a_text_are_alike(a: str, b: str, c: str, d: str) -> None:
    same = (a, b) == (c, d)
    first = digest(error_code=a, error_message=b)
    assert (first == digest(error_code=c, error_message=d)) == same


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**40), st.text(max_size=20))
def test_every_part_of_a_link_counts(other: bytes, seq: int, name: str) -> None:
    base = link_hash(link_prefix(name), seq, bytes(32), bytes(32))
    assert link_hash(link_prefix(name), seq + 1, bytes(32), bytes(32)) != base
    assert link_hash(link_prefix(name + "x"), seq, bytes(32), bytes(32)) != base
    if other != bytes(32):
        assert link_hash(link_prefix(name), seq, other, bytes(32)) != base
        assert link_hash(link_prefix(name), seq, bytes(32), other) != base
