"""The checks on JSON text, against slow and obvious models of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.audit import jsontext

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=25,
)
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def depth(document: Any) -> int:
    if isinstance(document, dict):
        return 1 + max(map(depth, document.values()), default=0)
    if isinstance(document, list):
        return 1 + max(map(depth, document), default=0)
    return 0


@given(DOCUMENTS, st.integers(0, 6), st.booleans())
def test_depth_is_that_of_the_document(document: Any, limit: int, ascii_only: bool) -> None:  # noqa: FBT001
    text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert jsontext.deeper_than(text, limit) == (depth(document) > limit)


def test_brackets_in_texts_do_not_count() -> None:
    assert not jsontext.deeper_than(rb'{"a": "[[[[{{{{\"[[[["}', 1)


def is_storable(text: str) -> bool:
    return "\0" not in text and text.encode("utf-8", "replace").decode() == text


@given(ANY_TEXT)
def test_escapes_that_cannot_be_stored_are_found(text: str) -> None:
    written = json.dumps({"a": text}).encode()  # Everything beyond ASCII is escaped.
    # json.dumps writes two halves beside each other as one pair: so does every JSON reader.
    meant = json.loads(written)["a"]
    assert jsontext.has_unstorable_escape(written) == (not is_storable(meant))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (rb'"\\u0000"', False),
        (rb'"\\\u0000"', True),
        (rb'"\ud83d\ude00"', False),
        (rb'"\ud83d x"', True),
        (rb'"\ude00"', True),
        (rb'"\ud83d\ud83d\ude00"', True),
        (rb'"\ud83d\n"', True),
    ],
)
def test_escapes_are_read_in_pairs(text: bytes, found: bool) -> None:  # noqa: FBT001
    assert jsontext.has_unstorable_escape(text) is found


def test_the_place_of_an_unstorable_text_is_named() -> None:
    document = {"a": [{"b": "fine"}, {"b": "x\0"}]}
    assert jsontext.unstorable_path(document) == "$.a[1].b"
    assert jsontext.unstorable_path({"a\0": 1}) == "$ (a member's name)"
    assert jsontext.unstorable_path([1, "x"]) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), DOCUMENTS), max_size=4), st.booleans())
def test_repeated_members_are_found(pairs: list[tuple[str, Any]], spaced: bool) -> None:  # noqa: FBT001
    colon, comma = (" : ", " ,\n") if spaced else (":", ",")
    members = comma.join(f'"{name}"{colon}{json.dumps(value)}' for name, value in pairs)
    text = ("{" + members + "}").encode()
    names = [name for name, _ in pairs]
    repeats = len(set(names)) < len(names)
    assert (jsontext.repeated_member(text) is not None) == repeats
    if repeats:
        assert jsontext.may_repeat_members(text, array=False)
        assert jsontext.may_repeat_members(b"[{}," + text + b"]", array=True)
    elif "\\" not in text.decode():
        assert not jsontext.may_repeat_members(text, array=False)


@given(st.lists(DOCUMENTS, min_size=1, max_size=6), st.booleans())
def test_an_array_is_split_into_its_elements(documents: list[Any], spaced: bool) -> None:  # noqa: FBT001
    text = json.dumps(documents, indent=1 if spaced else None)
    assert [json.loads(part) for part in jsontext.split_array(text)] == documents


@pytest.mark.parametrize("text", ["", "{}", "[1", "[1 2]", "[1] x", "[1,]", "[}"])
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsontext.split_array(text)
