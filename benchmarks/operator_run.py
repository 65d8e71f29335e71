"""Measures the operator: `make bench-operator`, or `python benchmarks/operator_run.py --help`.

(It is not called `operator.py`: the standard library has a module of that name.)

The operator runs as a process, on a real control plane with a real DataStorage and PostgreSQL; a
script ends its PipelineRuns two seconds after they appear (`operator_load.py`). All of it shares
the processors of one machine. Figures are medians of the rounds. Where two states of ours are
compared they are measured in turn, on a control plane of their own for each round. The whole takes
some twenty minutes on a quiet machine with two processors.
"""

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # This directory's parent.

from benchmarks.operator_cases import CASES, FULL, QUICK
from benchmarks.operator_report import ROWS, markdown, text
from benchmarks.report import RESULTS, machine, today
from benchmarks.worker import say

_QUOTED: Final = RESULTS / "operator.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = {row.key for row in ROWS}
    parser.add_argument("--quick", action="store_true", help="small numbers, not for quoting")
    parser.add_argument(
        "--only",
        action="append",
        metavar="WHAT",
        choices=[*CASES, *sorted(rows - set(CASES))],
        help=f"a case ({', '.join(CASES)}) or a row of one ({', '.join(sorted(rows))});"
        " may be repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"instead of {_QUOTED.name}")
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="measure nothing: print the table for the docs from what is kept",
    )
    return parser.parse_args()


def _wanted(only: list[str] | None) -> list[str]:
    if only is None:
        return list(CASES)
    names = {*only} | {row.case for row in ROWS if row.key in only}
    return [name for name in CASES if name in names]


def _kept(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _caveat(document: dict[str, Any]) -> list[str]:
    """What to know before a figure is quoted."""
    if document.get("quotable"):
        return []
    return ["NOT FOR QUOTING: the numbers were smaller than the rows say."]


def main() -> None:
    """Measure, print the table, and keep the figures as JSON."""
    options = _options()
    kept = options.json or (RESULTS / "operator-quick.local.json" if options.quick else _QUOTED)
    if options.markdown:
        document = _kept(kept)
        print(markdown(document.get("values", {})), *_caveat(document), sep="\n\n")
        return
    sizes = QUICK if options.quick else FULL
    document = _kept(kept) if options.only else {}
    document |= {"machine": machine(), "sizes": sizes._asdict(), "quotable": sizes == FULL}
    started = time.monotonic()
    for name in _wanted(options.only):
        say(name)
        found = CASES[name](sizes)
        gc.collect()
        document.setdefault("values", {}).update(found.values)
        document.setdefault("details", {})[name] = {"date": today(), **found.details}
        # After each case: a later one that fails does not take the others with it.
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(document, indent=2) + "\n")
    print(text(document.get("values", {})), *_caveat(document), sep="\n\n")
    say(f"written: {kept}; {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
