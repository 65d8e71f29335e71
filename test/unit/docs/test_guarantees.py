"""The tests that the page on guarantees names exist, and every guarantee names one."""

import re
from typing import Final

from test.unit.docs.pages import ROOT, codes, ids_of_tests, read, rows

PAGE: Final = read("explanation/guarantees")
_TEST: Final = re.compile(r"(test/[\w/]+\.py)::(\w+)")
SCENARIOS: Final = read("explanation/scenarios")
NAMED: Final = sorted({code for code in codes(PAGE + SCENARIOS) if code.startswith("test/")})


def test_every_test_that_is_named_exists() -> None:
    assert NAMED
    for named in NAMED:
        match = _TEST.fullmatch(named)
        assert match, f"{named}: name it as test/folder/test_file.py::test_name"
        assert (ROOT / match[1]).is_file(), named
        assert named in ids_of_tests(match[1]), named


def test_every_guarantee_names_its_test() -> None:
    table = rows(PAGE)
    assert len(table) > 10
    for row in table:
        assert len(row) == 3
        assert any(code.startswith("test/") for code in codes(row[2])), row[0]


def test_every_scenario_has_its_guarantee_and_its_test() -> None:
    table = rows(SCENARIOS)
    assert [row[0] for row in table] == [f"S{number}" for number in range(1, 22)]
    for number, *_, guarantee, tests in table:
        assert "guarantees.md#" in guarantee
        names = [code.rpartition("::")[2] for code in codes(tests)]
        assert names
        assert all(name.startswith(f"test_s{int(number[1:]):02}_") for name in names), number
