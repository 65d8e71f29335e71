"""The stream of a watch: bytes to lines, lines to events.

Lines end with a line feed and with nothing else. JSON text holds U+0085, U+2028 and a carriage
return within strings as they are, and `str.splitlines` would cut there.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final, Generic

import msgspec

from kubernaut.kubernetes._errors import DecodeError, TransportError, error_of_status
from kubernaut.kubernetes._objects import (
    Failed,
    Items,
    MetadataOnly,
    ObjectMeta,
    Resource,
    T,
    WatchEvent,
)

_LONGEST_LINE: Final = 64 * 2**20
"""Bytes; etcd keeps objects of 1.5 MiB at most, so more is no watch."""


@dataclass(frozen=True)
class Unreadable:
    """An object that does not fit its type.

    Attributes:
        metadata: which object.
        error: the member, and what is wrong with it.
        deleted: the server says that it is gone.
    """

    metadata: ObjectMeta
    error: str
    deleted: bool = False


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: the objects.
        unreadable: those that do not fit the type.
        resource_version: of the whole list, the same on each page.
        last: whether this page is the end of it.
    """

    items: list[T]
    unreadable: list[Unreadable]
    resource_version: str
    last: bool


Portion = list[WatchEvent[T] | Unreadable]
"""Events that came together."""


class _AnyEvent(msgspec.Struct, frozen=True):
    type: str
    object: MetadataOnly


_items_decoder: Final = msgspec.json.Decoder(Items)
_metadata_decoder: Final = msgspec.json.Decoder(MetadataOnly)
_any_event_decoder: Final = msgspec.json.Decoder(_AnyEvent)


class LineSplitter:
    """Cuts chunks into lines, however they are cut themselves. Empty lines are left out."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends.

        Raises:
            TransportError: a line is too long to be an event.
        """
        first, *more = chunk.split(b"\n")
        self._rest.append(first)  # Joined once, at the line's end: a long line costs its length.
        self._size += len(first)
        if self._size > _LONGEST_LINE:
            raise TransportError(f"a line of the watch is longer than {_LONGEST_LINE} bytes")
        if not more:
            return []
        lines = [b"".join(self._rest), *more[:-1]]
        self._rest, self._size = [more[-1]], len(more[-1])
        return [line for line in lines if line and not line.isspace()]

    @property
    def half(self) -> bool:
        """Whether a line has begun and not ended."""
        return self._size > 0


async def watch_events(
    resource: Resource[T], chunks: AsyncIterator[bytes]
) -> AsyncGenerator[Portion[T], None]:
    """The events of a stream, in the order and the portions in which they come.

    Raises:
        ApiError: the server ended the watch with an error (`GoneError`: list again).
        TransportError: the stream ended within an event, or holds what is no event.
    """
    splitter = LineSplitter()
    async for chunk in chunks:
        events: Portion[T] = []
        for line in splitter.feed(chunk):
            try:
                event = decode_event(resource, line)
            except DecodeError as error:
                yield events
                raise TransportError(str(error)) from error
            if isinstance(event, Failed):
                yield events  # What came before it is as good as ever.
                raise error_of_status(event.object, 500)
            events.append(event)
        if events:
            yield events
    if splitter.half:
        raise TransportError("the watch ended in the middle of an event")


def decode_event(resource: Resource[T], line: bytes) -> WatchEvent[T] | Failed | Unreadable:
    """One line of a watch.

    Raises:
        DecodeError: it is no event at all.
    """
    try:
        return resource.event_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            found = _any_event_decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise DecodeError(f"no watch event: {error}: {line[:200]!r}") from error
        return Unreadable(found.object.metadata, str(error), deleted=found.type == "DELETED")


def decode_page(resource: Resource[T], body: bytes) -> tuple[Page[T], str]:
    """A page and the token of the next one, "" at the end.

    Raises:
        DecodeError: it is no list.
    """
    try:
        found = _items_decoder.decode(body)
        items: list[T] = []
        unreadable: list[Unreadable] = []
        for raw in found.items or ():
            try:
                items.append(resource.decoder.decode(raw))
            except msgspec.ValidationError as error:
                unreadable.append(Unreadable(_metadata_decoder.decode(raw).metadata, str(error)))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"no list of {resource.plural}: {error}") from error
    token = found.metadata.continue_token
    return Page(items, unreadable, found.metadata.resource_version, not token), token


def decode_object(resource: Resource[T], body: bytes) -> T:
    """One object.

    Raises:
        DecodeError: it does not fit the resource's type.
    """
    try:
        return resource.decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"no {resource.kind} as {resource.type.__name__}: {error}") from error
