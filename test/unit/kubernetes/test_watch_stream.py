"""The watch's stream: lines however they are cut, events whatever they hold."""

from collections.abc import AsyncIterator, Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.kubernetes import DecodeError, GoneError, TransportError, Unreadable
from kubernaut.kubernetes._objects import Added, Bookmark, Deleted, Modified
from kubernaut.kubernetes._watch import (
    LineSplitter,
    Portion,
    decode_event,
    decode_page,
    watch_events,
)
from test.unit.kubernetes.widgets import WIDGETS, Widget

NEXT_LINE = "a\u0085b\u2028c\rd"  # What str.splitlines would cut.


def line(kind: str, name: str, version: str, note: str = "") -> bytes:
    metadata = {"name": name, "namespace": "default", "resourceVersion": version}
    found = {"type": kind, "object": {"metadata": metadata, "spec": {"note": note}}}
    return msgspec.json.encode(found) + b"\n"


async def chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def collect(seen: Portion[Widget], *parts: bytes) -> None:
    async for portion in watch_events(WIDGETS, chunks(parts)):
        seen += portion


async def events(*parts: bytes) -> Portion[Widget]:
    seen: Portion[Widget] = []
    await collect(seen, *parts)
    return seen


@given(st.lists(st.binary(min_size=1).filter(lambda text: b"\n" not in text)), st.data())
def test_lines_survive_any_cut(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(text + b"\n" for text in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    splitter = LineSplitter()
    assert [got for part in parts for got in splitter.feed(part)] == [
        text for text in lines if not text.isspace()
    ]
    assert not splitter.half


def test_half_a_line_is_known_as_half() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":') == []
    assert splitter.half
    assert splitter.feed(b"1}\n") == [b'{"a":1}']
    assert not splitter.half


def test_a_line_without_end_is_refused() -> None:
    splitter = LineSplitter()
    block = b"x" * 2**20
    assert not any(splitter.feed(block) for _ in range(64))
    with pytest.raises(TransportError, match="longer than"):
        splitter.feed(block)


async def test_next_line_characters_stay_within_their_string() -> None:
    raw = line("ADDED", "a", "1", NEXT_LINE)
    assert "\u0085".encode() in raw
    found = await events(raw[:20], raw[20:])
    assert isinstance(found[0], Added)
    assert found[0].object.spec.note == NEXT_LINE


async def test_every_kind_of_event() -> None:
    kinds = [("ADDED", Added), ("MODIFIED", Modified), ("DELETED", Deleted), ("BOOKMARK", Bookmark)]
    found = await events(*(line(kind, "a", "1") for kind, _ in kinds))
    assert [type(event) for event in found] == [kind for _, kind in kinds]


async def test_an_error_event_is_raised_after_what_came_before_it() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    error = msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n"
    seen: Portion[Widget] = []
    with pytest.raises(GoneError, match="too old"):
        await collect(seen, line("ADDED", "a", "1") + error)
    assert len(seen) == 1


async def test_an_end_in_the_middle_of_an_event_is_an_error() -> None:
    with pytest.raises(TransportError, match="middle"):
        await events(line("ADDED", "a", "1"), line("ADDED", "b", "2")[:-9])


async def test_what_is_no_event_is_an_error_after_what_came_before_it() -> None:
    seen: Portion[Widget] = []
    with pytest.raises(TransportError, match="no watch event"):
        await collect(seen, line("ADDED", "a", "1") + b"oops\n")
    assert len(seen) == 1


@pytest.mark.parametrize(("kind", "deleted"), [("MODIFIED", False), ("DELETED", True)])
def test_an_object_that_does_not_fit_is_named(kind: str, deleted: bool) -> None:  # noqa: FBT001
    raw = line(kind, "a", "7").replace(b'"note":""', b'"size":"big"')
    found = decode_event(WIDGETS, raw)
    assert isinstance(found, Unreadable)
    assert (found.metadata.key, found.metadata.resource_version) == ("default/a", "7")
    assert found.deleted is deleted
    assert "spec.size" in found.error


def test_a_page_with_one_bad_object_keeps_the_others() -> None:
    body = b"""{"metadata":{"resourceVersion":"9","continue":"abc"},"items":[
        {"metadata":{"name":"a"},"spec":{"size":1}},
        {"metadata":{"name":"b"},"spec":{"size":"big"}},
        {"metadata":{"name":"c","managedFields":[{"manager":"x"}]},"unknown":{"x":null}}]}"""
    page, token = decode_page(WIDGETS, body)
    assert [item.metadata.name for item in page.items] == ["a", "c"]
    assert [bad.metadata.name for bad in page.unreadable] == ["b"]
    assert (page.resource_version, token, page.last) == ("9", "abc", False)


@pytest.mark.parametrize("items", [b"null", b"[]"])
def test_an_empty_page(items: bytes) -> None:
    page, token = decode_page(WIDGETS, b'{"metadata":{"resourceVersion":"9"},"items":%s}' % items)
    assert (page.items, token, page.last) == ([], "", True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b'{"items":[3]}'])
def test_what_is_no_list_is_an_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_page(WIDGETS, body)
