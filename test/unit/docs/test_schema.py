"""The page on the schema and the SQL of the migrations are the same."""

import re
from typing import Final

import pytest

from test.unit.docs.pages import ROOT, codes, first_codes, headings, read, table

PAGE: Final = read("reference/schema")
VERSIONS: Final = ROOT / "src/kubernaut/datastorage/migrations/versions"
SQL: Final = re.sub(
    r"--[^\n]*", "", "\n".join(path.read_text() for path in sorted(VERSIONS.glob("*.sql")))
)
_TABLE: Final = re.compile(r"^CREATE TABLE (\w+) \((.*?)^\)", re.MULTILINE | re.DOTALL)
TABLES: Final = {match[1]: match[2] for match in _TABLE.finditer(SQL)}
OF_ALEMBIC: Final = "alembic_version"


def columns(name: str) -> dict[str, tuple[str, bool]]:
    """Of each column its type, and whether it may be null."""
    found = {}
    for line in TABLES[name].splitlines():
        match = re.match(r"    ([a-z_]+)\s+([a-z]+(?:\(\d+\))?)", line)
        if match:
            found[match[1]] = (match[2], "NOT NULL" not in line and "PRIMARY KEY" not in line)
    return found


def indexes() -> dict[str, str]:
    """The indexes by name, those of constraints too, as PostgreSQL names them."""
    found = {
        match[1]: f"{match[2]} ({match[3]})"
        for match in re.finditer(r"CREATE INDEX (\w+) ON (\w+) \(([^)]*)\)", SQL)
    }
    for name, body in TABLES.items():
        for match in re.finditer(r"PRIMARY KEY \(([^)]*)\)", body):
            found[f"{name}_pkey"] = f"{name} ({match[1]})"
        for match in re.finditer(r"^    (\w+) [^,]*PRIMARY KEY,?$", body, re.MULTILINE):
            found[f"{name}_pkey"] = f"{name} ({match[1]})"
        for match in re.finditer(r"UNIQUE \(([^)]*)\)", body):
            joined = match[1].replace(", ", "_")
            found[f"{name}_{joined}_key"] = f"{name} ({match[1]})"
    return found


def test_every_table_is_documented_and_nothing_else() -> None:
    overview = read("reference/schema").partition("\n## ")[0]
    documented = set(first_codes(table(overview, "Schema")))
    assert documented == {*TABLES, OF_ALEMBIC}
    assert set(TABLES) <= set(headings(PAGE))


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_documented_with_its_type(name: str) -> None:
    documented = {
        codes(column)[0]: (kind, null == "yes") for column, kind, null, _ in table(PAGE, name)
    }
    assert documented == columns(name)


def test_every_index_is_documented_with_its_columns_and_its_query() -> None:
    documented = {codes(row[0])[0]: codes(row[1])[0] for row in table(PAGE, "Indexes")}
    assert documented == indexes()
    for row in table(PAGE, "Indexes"):
        assert row[2], "each index needs a query that needs it"
        assert row[3], "each index needs its cost, or a word on where it will be"


def test_every_trigger_and_function_is_documented_and_nothing_else() -> None:
    triggers = set(re.findall(r"CREATE TRIGGER (\w+)", SQL))
    assert set(first_codes(table(PAGE, "Triggers"))) == triggers
    functions = set(re.findall(r"CREATE FUNCTION (\w+)", SQL))
    named = {code.partition("(")[0] for code in first_codes(table(PAGE, "Functions"))}
    assert named == functions


def test_every_grant_of_the_service_is_documented() -> None:
    (role,) = [row for row in table(PAGE, "Roles") if codes(row[0])]
    granted = re.findall(r"GRANT ([A-Z, ]+) ON ([a-z_, ]+) TO kubernaut_datastorage", SQL)
    assert granted
    for privileges, tables in granted:
        for word in re.findall(r"[A-Z]+", privileges):
            assert word in role[1]
        for name in tables.split(", "):
            assert name in codes(role[1])
