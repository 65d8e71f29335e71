"""The page on logs and the lines that the service writes are the same."""

from typing import Final

from test.unit.docs.declared import log_lines_of
from test.unit.docs.pages import ROOT, codes, read, rows

SOURCES: Final = ROOT / "src/kubernaut/datastorage"


def test_every_line_is_documented_with_its_level_and_members() -> None:
    documented = {
        (codes(row[0])[0], row[1], frozenset(codes(row[2])))
        for row in rows(read("reference/logs"))
        if len(row) == 4
    }
    assert documented == log_lines_of(SOURCES)
