"""The page that maps the report's cases to tests: they exist, they are 41, and the rules hold."""

import re
from typing import Final

import pytest

from test.unit.docs.pages import ROOT, codes, ids_of_tests, read, table

PAGE: Final = read("reference/operator-cases")
SUITE: Final = sorted((ROOT / "test/integration/workflowexecution").glob("*.py"))
_TEST: Final = re.compile(r"(test/[\w/]+\.py)::(\w+)")
_NAMED: Final = sorted({code for code in codes(PAGE) if _TEST.fullmatch(code)})
_RANGE: Final = re.compile(r"(\d\.\d+)-(\d+)")


@pytest.mark.parametrize("named", _NAMED)
def test_every_test_that_is_named_exists(named: str) -> None:
    match = _TEST.fullmatch(named)
    assert match
    assert named in ids_of_tests(match[1])


def test_all_41_cases_of_the_report_are_there() -> None:
    cases = [row[0] for row in table(PAGE, "The 41 cases of the report")]
    numbers = [number for case in cases for number in _RANGE.findall(case)]
    expected = {"2.1": 15, "2.2": 5, "2.4": 5, "2.10": 9}
    for section, count in expected.items():
        found = sorted(int(number) for of, number in numbers if of == section)
        assert found == list(range(1, count + 1)), section
    rest = [case for case in cases if not _RANGE.search(case)]
    assert rest == ["A5", "A6", "A7", "A8", "1, the buffered store", "P1", "P2"]
    assert len(numbers) + len(rest) == 41


def test_every_rule_names_a_test() -> None:
    for row in table(PAGE, "The report's rules"):
        assert any(_TEST.fullmatch(code) for code in codes(row[2])), row[0]


def test_the_suite_has_no_mock_no_sleep_and_no_skip() -> None:
    """`hack/check_tests.py` looks at the syntax; this at the words."""
    forbidden = re.compile(r"unittest\.mock|monkeypatch|\bsleep\(|pytest\.skip|mark\.skip|xfail")
    for path in SUITE:
        assert not forbidden.search(path.read_text(encoding="utf-8")), path


def test_no_test_has_a_fixed_port() -> None:
    fixed = re.compile(r"(?:127\.0\.0\.1|localhost):\d{4,5}")
    for path in SUITE:
        assert not fixed.search(path.read_text(encoding="utf-8")), path
