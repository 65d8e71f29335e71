"""Every Event that the operator shows is on its page, and no other."""

import ast
from typing import Final

from test.unit.docs.pages import ROOT, read, rows

SOURCES: Final = ROOT / "src/kubernaut/workflowexecution"


def shown() -> set[str]:
    """The reasons in calls of `announce`, `Announcement` and the recorder's `record`."""
    found = set()
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            position = {"announce": 0, "Announcement": 0, "record": 2}.get(name)
            if position is None or len(node.args) <= position:
                continue
            argument = node.args[position]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.add(argument.value)
    return found


def test_every_event_is_on_the_page_and_no_other() -> None:
    page = {row[0] for row in rows(read("reference/operator-events"))}
    assert page == shown()
