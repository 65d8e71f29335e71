"""From what the cluster says of a failed run to a reason of the API. Pure, and never raises."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from kubernaut.workflowexecution._api import Reason
from kubernaut.workflowexecution.engines._rules import (
    BEFORE_IT_RUNS,
    RULES,
    WHILE_IT_RUNS,
    Rule,
    Where,
)

_GAP: Final = r"[^\n]{0,200}?"
"""What `*` in a phrase stands for."""
_BEFORE: Final = r"(?<![\w./=-])"
_AFTER: Final = r"(?![\w/=-]|\.\w)"
"""No letter, digit, hyphen, slash or equals sign touches a phrase: those make names of words."""

UNKNOWN: Final = Rule("Unknown")
"""What counts where no rule fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a failure.

    Attributes:
        words: fixed words, each with where it stands.
        text: all that is said freely, in lines.
        started: the engine has begun with the run.
        has_tasks: something was created to do its work.
        ran: some program of the workflow is seen to have been started.
    """

    words: frozenset[tuple[Where, str]] = frozenset()
    text: str = ""
    started: bool = False
    has_tasks: bool = False
    ran: bool = False


def rule_for(facts: Facts) -> Rule:
    """The first rule that fits, or `UNKNOWN`."""
    return next((rule for rule in RULES if _fits(rule, facts)), UNKNOWN)


def classify(facts: Facts) -> tuple[Reason, bool]:
    """The reason, and whether the workflow may have acted on the target (`wasExecutionFailure`).

    The second is true where it is not known: a run that acted must not be repeated blindly.
    """
    rule = rule_for(facts)
    return rule.reason, facts.ran or _may_have_acted(rule, facts)


def facts_text(parts: Iterable[str]) -> str:
    """Texts as the lines of one."""
    return "\n".join(part for part in parts if part)


def _may_have_acted(rule: Rule, facts: Facts) -> bool:
    if rule.acted is not None:
        return rule.acted
    if facts.started:
        return rule.reason not in BEFORE_IT_RUNS
    return facts.has_tasks or rule.reason in WHILE_IT_RUNS


def _fits(rule: Rule, facts: Facts) -> bool:
    if rule.where and not any((rule.where, word) in facts.words for word in rule.words):
        return False
    return not rule.phrases or _pattern(rule.phrases).search(facts.text) is not None


@cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Finds one of the phrases."""
    found = "|".join(
        _GAP.join(r"\s+".join(map(re.escape, part.split(" "))) for part in phrase.split("*"))
        for phrase in phrases
    )
    return re.compile(f"{_BEFORE}(?:{found}){_AFTER}", re.IGNORECASE)
