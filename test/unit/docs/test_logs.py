"""The page on logs and the lines that the service writes are the same."""

import ast
from collections.abc import Iterator
from typing import Final

from test.unit.docs.pages import ROOT, codes, read, rows

SOURCES: Final = ROOT / "src/kubernaut/datastorage"
LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
NOT_MEMBERS: Final = {"exc_info"}


def written() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Message, level and members of every call of the log."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(message))],
                    keywords=keywords,
                ) if level in LEVELS:
                    members = {keyword.arg for keyword in keywords if keyword.arg}
                    yield message, level, frozenset(members - NOT_MEMBERS)


def test_every_line_is_documented_with_its_level_and_members() -> None:
    documented = {
        (codes(row[0])[0], row[1], frozenset(codes(row[2])))
        for row in rows(read("reference/logs"))
        if len(row) == 4
    }
    assert documented == set(written())
