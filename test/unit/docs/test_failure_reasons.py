"""The page on failure reasons and the rules in code are the same."""

from typing import Final, get_args

from kubernaut.workflowexecution._api import Reason
from kubernaut.workflowexecution._summary import RECOMMENDATIONS
from kubernaut.workflowexecution.engines._rules import (
    BEFORE_IT_RUNS,
    RULES,
    WHILE_IT_RUNS,
    Rule,
    Where,
)
from test.unit.docs.pages import codes, headed_rows, read, table

PAGE: Final = read("reference/failure-reasons")
RULE_COLUMNS: Final = 5
ACTED: Final = {"yes": True, "no": False, "": None}


def test_every_rule_has_its_row_in_order_and_nothing_else() -> None:
    rows = [row for row in table(PAGE, "Rules") if len(row) == RULE_COLUMNS]
    places: dict[str, Where | None] = {place: place for place in get_args(Where)}
    documented = tuple(
        Rule(
            reason=codes(reason)[0],  # type: ignore[arg-type]
            where=(places | {"text": None})[place],
            words=tuple(codes(words)),
            phrases=tuple(codes(phrases)),
            acted=ACTED[acted],
        )
        for place, words, phrases, reason, acted in rows
    )
    assert documented == RULES


def test_every_place_is_explained() -> None:
    explained = [row[0] for row in headed_rows(PAGE, "Place") if len(row) != RULE_COLUMNS]
    assert explained == [*get_args(Where), "text"]


def test_every_reason_has_its_recommendation() -> None:
    documented = {codes(row[0])[0]: row[1] for row in table(PAGE, "Reasons")}
    assert documented == RECOMMENDATIONS
    assert set(documented) == set(get_args(Reason))


def test_the_reasons_that_say_whether_it_acted_are_named() -> None:
    rows = {row[0]: set(codes(row[1])) for row in table(PAGE, "wasExecutionFailure")}
    assert rows["the run has begun (`status.startTime` of its object)"] == BEFORE_IT_RUNS
    assert rows["none of these"] == WHILE_IT_RUNS
