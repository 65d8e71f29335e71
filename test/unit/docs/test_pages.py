"""What holds for every page: links lead somewhere, examples parse, the first line says what for."""

import ast
import json
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from test.unit.docs import catalogue
from test.unit.docs.pages import DOCS, ROOT, all_pages, anchors, blocks, prose, read, rows, table

PAGES: Final = all_pages()
_LINK: Final = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"`[^`\n]*`")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors_of(path: Path) -> set[str]:
    if path == DOCS / "reference/payloads.md":
        return set(anchors(catalogue.page()))
    return set(anchors(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_no_relative_link_is_dead(path: Path) -> None:
    for link in _LINK.findall(_CODE.sub("", prose(path.read_text(encoding="utf-8")))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = unquote(link).partition("#")
        wanted = (path.parent / target).resolve() if target else path
        assert wanted.exists(), link
        assert wanted.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors_of(wanted), link


@pytest.mark.parametrize("path", [page for page in PAGES if DOCS in page.parents], ids=named)
def test_the_first_line_says_what_the_page_is_for(path: Path) -> None:
    title, blank, first = path.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert not blank
    assert re.match(r"[A-Z]", first), first


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_examples_parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for example in blocks(text, "python"):
        ast.parse(example)
    for example in blocks(text, "json"):
        json.loads(example)


def test_every_make_target_is_documented_and_nothing_else() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    documented = {
        row[0].strip("`").removeprefix("make ")
        for row in table(read("how-to/write-a-test"), "Run tests")
    }
    assert documented == targets
    for path in PAGES:
        used = re.findall(r"(?:`|\$ |= )make ([a-z-]+)", path.read_text(encoding="utf-8"))
        assert set(used) <= targets, path


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_file_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    files = re.findall(r"`((?:src|test|docs|hack|benchmarks|\.ci)/[\w./-]+)`", text)
    for file in files:
        assert (ROOT / file).exists() or file.startswith("docs/_build"), file


def test_the_fixtures_for_contributors_exist() -> None:
    for name, file, _ in table(read("how-to/write-a-test"), "Fixtures"):
        source = (ROOT / file.strip("`")).read_text()
        assert re.search(rf"^(async )?def {name.strip('`')}\(", source, re.MULTILINE), name


@pytest.mark.parametrize("package", ["audit", "datastorage"])
def test_modules_named_in_the_architecture_exist_and_all_are_named(package: str) -> None:
    folder = ROOT / "src/kubernaut" / package
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    folders = {path.name for path in folder.iterdir() if path.is_dir()} - {"__pycache__"}
    _, rest = read("architecture").split(f"| Module of `kubernaut.{package}` |")
    cells = [row[0] for row in rows("||" + rest.split("\n\n")[0])]
    listed = {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}
    assert listed == modules | folders
