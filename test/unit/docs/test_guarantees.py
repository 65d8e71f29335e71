"""The tests that the page on guarantees names exist, and every guarantee names one."""

import ast
import re
from functools import cache
from typing import Final

from test.unit.docs.pages import ROOT, codes, read, rows

PAGE: Final = read("explanation/guarantees")
_TEST: Final = re.compile(r"(test/[\w/]+\.py)::(\w+)")
NAMED: Final = sorted({code for code in codes(PAGE) if code.startswith("test/")})


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_that_is_named_exists() -> None:
    assert NAMED
    for named in NAMED:
        match = _TEST.fullmatch(named)
        assert match, f"{named}: name it as test/folder/test_file.py::test_name"
        path, name = match.groups()
        assert (ROOT / path).is_file(), named
        assert name in functions(path), named


def test_every_guarantee_names_its_test() -> None:
    table = rows(PAGE)
    assert len(table) > 10
    for row in table:
        assert len(row) == 3
        assert any(code.startswith("test/") for code in codes(row[2])), row[0]
