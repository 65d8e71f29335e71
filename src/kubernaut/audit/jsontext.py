"""Checks on JSON text that a decoder does not make, at the price of a few C calls.

Payloads are stored byte for byte, so they are looked at but not decoded and encoded again.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_WHITESPACE: Final = b" \t\r\n"
_STRINGS_AND_SCALARS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[^][{}"]+', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_HIGH: Final = range(0xD800, 0xDC00)
_LOW: Final = range(0xDC00, 0xE000)

_encode = msgspec.json.encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list_of_members = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def deeper_than(text: bytes, limit: int) -> bool:
    """Whether objects and arrays nest deeper than `limit`; the outermost is level 1."""
    if text.count(b"{") + text.count(b"[") <= limit:
        return False
    depth = deepest = 0
    for byte in _STRINGS_AND_SCALARS.sub(b"", text):
        depth += 1 if byte in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest > limit


def has_unstorable_escape(text: bytes) -> bool:
    r"""Whether a string holds `\u0000` or half a surrogate pair: JSON allows it, texts do not."""
    if b"\\" not in text or b"\\u" not in text:
        return False
    awaited = -1  # Where the low half of a pair must start.
    for match in _ESCAPE.finditer(text):
        code = int(match[1], 16) if match[1] else -1
        if awaited >= 0:
            if code not in _LOW or match.start() != awaited:
                return True
            awaited = -1
        elif code == 0 or code in _LOW:
            return True
        elif code in _HIGH:
            awaited = match.end()
    return awaited >= 0


def unstorable_path(document: Any, path: str = "$") -> str | None:
    """The JSON path of the first string with a NUL or half a surrogate pair."""
    if isinstance(document, str):
        return path if _UNSTORABLE.search(document) else None
    members: Iterator[tuple[str, Any]] = iter(())
    if isinstance(document, dict):
        for key in document:
            if _UNSTORABLE.search(key):
                return f"{path} (a member's name)"
        members = ((f"{path}.{key}", value) for key, value in document.items())
    elif isinstance(document, list):
        members = ((f"{path}[{index}]", value) for index, value in enumerate(document))
    for inner, value in members:
        if found := unstorable_path(value, inner):
            return found
    return None


def split_array(text: str) -> list[bytes]:
    """The elements of a JSON array, each as text.

    Slower than a decoder for `Raw`, but not stopped by half a surrogate pair.

    Raises:
        ValueError: the text is not a JSON array.
        RecursionError: it nests too deep.
    """
    scan = json.JSONDecoder().raw_decode
    skip = re.compile(r"[ \t\r\n]*").match
    elements: list[bytes] = []
    position = skip(text).end()  # type: ignore[union-attr]
    if text[position : position + 1] != "[":
        raise ValueError("the body is not a JSON array")
    while True:
        position = skip(text, position + 1).end()  # type: ignore[union-attr]
        _, end = scan(text, position)
        elements.append(text[position:end].encode())
        position = skip(text, end).end()  # type: ignore[union-attr]
        if text[position : position + 1] == "]":
            break
        if text[position : position + 1] != ",":
            raise ValueError(f"expected ',' or ']' at character {position}")
    if skip(text, position + 1).end() != len(text):  # type: ignore[union-attr]
        raise ValueError(f"trailing characters after character {position}")
    return elements


def _significant(text: bytes) -> int:
    return len(text.translate(None, _WHITESPACE))


def may_repeat_members(body: bytes, *, array: bool) -> bool:
    """Whether an object (or one in an array of objects) may name a member twice.

    A decoder keeps the last of two members of one name. So the text is decoded to its members
    and encoded again: nothing but white space, a repeated member or an escape in a name can make
    it shorter. False is certain; True wants a closer look.
    """
    members = _decode_list_of_members(body) if array else _decode_members(body)
    again = _encode(members)
    return len(again) != len(body) and _significant(again) != _significant(body)


def repeated_member(text: bytes) -> str | None:
    """The name of a member that stands twice in the outermost object, or None."""
    repeated: list[str] = []
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        outermost[:] = pairs  # The outermost object is closed, and so reported, last.

    json.loads(text, object_pairs_hook=keep)
    seen = set()
    for name, _ in outermost:
        if name in seen:
            repeated.append(name)
        seen.add(name)
    return repeated[0] if repeated else None


def located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Path and rule of msgspec's message, which ends in the path: "Expected ... - at `$.a`"."""
    rule, _, where = str(error).rpartition(" - at `")
    return (where.removesuffix("`"), rule) if rule else ("$", where)
