"""Modes by class of event, and limits that make sense."""

import pytest

from kubernaut.audit import DeliveryLimits, uuid7
from kubernaut.audit._entries import Entry
from kubernaut.audit._limits import Caps
from kubernaut.audit._modes import Mode, Modes


@pytest.mark.parametrize(
    ("event_type", "mode"),
    [
        ("workflowexecution.workflow.started", "strict"),
        ("workflowexecution", "durable"),
        ("gateway.signal.received", "best_effort"),
        ("gateway.signal.refused", "durable"),
        ("Gateway.signal.received", "durable"),
        ("x", "durable"),
    ],
)
def test_the_first_pattern_that_matches_counts(event_type: str, mode: Mode) -> None:
    modes = Modes(
        "durable",
        {
            "workflowexecution.*": "strict",
            "gateway.*.refused": "durable",
            "gateway.*": "best_effort",
            "workflowexecution.workflow.*": "best_effort",
        },
    )
    assert modes.of(event_type) == mode


def test_without_patterns_there_is_one_mode() -> None:
    assert Modes("strict", {}).of("anything") == "strict"


def test_a_mode_that_does_not_exist_is_refused() -> None:
    expected = "'sure' is not a mode; modes are best_effort, durable, strict"
    for default, by_type in (("sure", {}), ("durable", {"x.*": "sure"})):
        with pytest.raises(ValueError, match=expected):
            Modes(default, by_type)  # type: ignore[arg-type]  # That is the point.


@pytest.mark.parametrize("name", ["batch_events", "batch_bytes", "in_flight"])
def test_a_limit_is_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0, and must be at least 1"):
        DeliveryLimits(**{name: 0}).checked()
    assert DeliveryLimits(**{name: 1}).checked()


@pytest.mark.parametrize("name", ["linger", "backoff_base", "backoff_cap"])
def test_a_time_is_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is -0\.1, and must not be negative"):
        DeliveryLimits(**{name: -0.1}).checked()  # type: ignore[arg-type]  # A name of a time.
    assert DeliveryLimits(**{name: 0}).checked()


def test_caps_shrink_to_what_the_server_takes_and_never_to_nothing() -> None:
    caps = Caps(DeliveryLimits(batch_events=100, batch_bytes=1000))
    batch = [Entry(n, uuid7(), "rr-1", False, 0.0, 0, None, b"x" * 10) for n in range(40)]
    caps.too_many(batch)
    caps.too_long(batch)
    assert (caps.events, caps.bytes) == (20, 200)
    for _ in range(2):
        caps.too_many(batch[:1])
        caps.too_long([batch[0]._replace(body=b"x")])
    assert (caps.events, caps.bytes) == (1, 1)
