"""Reads the documentation as the tests of it need it: sections, tables, code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(r"^( *)(```+)(\w*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^(#{1,6}) (.+?) *$", re.MULTILINE)
_CELLS: Final = re.compile(r"(?<!\\)\|")


def read(page: str) -> str:
    """The text of a page below `docs/`, named without its ending."""
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def all_pages() -> list[Path]:
    """Every Markdown file of the project: `docs/` and the root."""
    built = DOCS / "_build"
    pages = [path for path in DOCS.rglob("*.md") if not path.is_relative_to(built)]
    return sorted([*pages, *ROOT.glob("*.md")])


def prose(text: str) -> str:
    """The text without its code blocks."""
    return _FENCE.sub("", text)


def blocks(text: str, language: str) -> list[str]:
    """The contents of the code blocks in a language."""
    return [match[4] for match in _FENCE.finditer(text) if match[3] == language]


def headings(text: str) -> list[str]:
    return [match[2] for match in _HEADING.finditer(prose(text))]


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of the same or a higher level."""
    for match in _HEADING.finditer(text):
        if match[2] == heading:
            end = re.compile(rf"^#{{1,{len(match[1])}}} ", re.MULTILINE).search(text, match.end())
            return text[match.end() : end.start() if end else None]
    raise AssertionError(f"there is no heading {heading!r}")


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, without the rows that head them."""
    found: list[list[str]] = []
    for line in prose(text).splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in _CELLS.split(line)[1:-1]]
        if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            found.pop()  # The row above is the head.
        else:
            found.append(cells)
    return found


def codes(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def first_codes(table: list[list[str]]) -> list[str]:
    """All that stands in backticks in the first cells of rows."""
    return [code for row in table for code in codes(row[0])]


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the tables between a heading and the next of whatever level."""
    found = rows(_HEADING.split(section(text, heading), maxsplit=1)[0])
    assert found, f"there is no table below {heading!r}"
    return found


def headed_rows(text: str, head: str) -> list[list[str]]:
    """The rows of the tables whose first column is headed so."""
    found: list[list[str]] = []
    for match in re.finditer(rf"^\| {re.escape(head)} \|.*\n(?:\|.*\n?)+", text, re.MULTILINE):
        found += rows(match[0])
    return found


@cache
def ids_of_tests(path: str) -> frozenset[str]:
    """The tests of a file, as pytest names them; a state machine is a name that is assigned."""
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) if name.startswith("Test"):
                names.add(name)
    return frozenset(f"{path}::{name}" for name in names)


def anchors(text: str) -> Iterator[str]:
    """The anchors that headings make (as GitHub and MyST do)."""
    seen: dict[str, int] = {}
    for heading in headings(text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        yield f"{slug}-{number}" if number else slug
