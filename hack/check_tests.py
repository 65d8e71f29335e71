"""Refuse tests that can hide a failure: no skip, no xfail, no sleep, no mock.

Reads the syntax tree, so that a word in a comment or a string is no finding.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN_NAMES = {
    "skip": "a missing part is a failure that says how to get it",
    "skipif": "a missing part is a failure that says how to get it",
    "importorskip": "a missing part is a failure that says how to get it",
    "xfail": "mend it or state it in docs/explanation/limits.md",
    "sleep": "poll with a deadline, or use a virtual clock",
    "usleep": "poll with a deadline, or use a virtual clock",
    "SkipTest": "a missing part is a failure that says how to get it",
}
FORBIDDEN_MODULES = {"unittest.mock", "mock", "pytest_mock"}
POLLING = "test/polling.py"  # The one place that may pause, between two looks with a deadline.


def findings(path: Path) -> list[str]:
    found = []
    where = path.relative_to(ROOT)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        name = None
        modules: list[str] = []
        match node:
            case ast.Attribute(attr=attr):
                name = attr
            case ast.Name(id=identifier):
                name = identifier
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                modules = [module, *(f"{module}.{alias.name}" for alias in names)]
                if any(alias.name in FORBIDDEN_NAMES for alias in names):
                    name = next(alias.name for alias in names if alias.name in FORBIDDEN_NAMES)
            case _:
                continue
        if name in FORBIDDEN_NAMES and str(where) != POLLING:
            found.append(f"{where}:{node.lineno}: {name}: {FORBIDDEN_NAMES[name]}")
        found += [
            f"{where}:{node.lineno}: {module}: use the real part"
            for module in modules
            if module in FORBIDDEN_MODULES
        ]
    return found


def main() -> None:
    problems = [line for path in sorted((ROOT / "test").rglob("*.py")) for line in findings(path)]
    print("\n".join(problems) or "tests: nothing that hides a failure")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
