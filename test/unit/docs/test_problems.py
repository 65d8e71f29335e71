"""The page on problem types and the list in the code are the same."""

from kubernaut.datastorage.problems import BASE, MEDIA_TYPE, PROBLEMS
from test.unit.docs.pages import codes, read, table


def test_every_problem_type_is_documented_with_status_and_title() -> None:
    documented = {
        codes(slug)[0]: (int(status), title)
        for slug, status, title, _, _ in table(read("reference/problems"), "Slugs")
    }
    assert documented == dict(PROBLEMS)


def test_every_problem_type_says_when_it_comes() -> None:
    for row in table(read("reference/problems"), "Slugs"):
        assert row[3], row[0]


def test_the_base_of_the_types_is_documented() -> None:
    page = read("reference/problems")
    assert BASE in page
    assert MEDIA_TYPE in page
