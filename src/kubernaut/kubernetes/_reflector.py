"""Keeps a store equal to what the API server has: list, then watch, for ever.

Invariants:

- Once `synced` is set, the store lacks nothing that the last complete list had, and changes follow
  in the server's order.
- A key that vanished while nobody watched is reported as deleted: a list is compared with the
  store. A key whose object has another uid is reported as deleted and added.
- A watch goes on from the last version seen. Only a version that the server has forgotten (410)
  leads to a new list; nothing but a complete list removes what it does not name.
- No failure ends `run`, and none makes it spin: pauses grow, with jitter, until a watch has lived.
- An object that does not fit its type stays as it was last seen (or unseen), is logged, and is in
  `unreadable` until it is readable or gone. It does not hold up the others.
"""

import logging
import random
from asyncio import Event
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, Generic, assert_never

from kubernaut.kubernetes._client import Client
from kubernaut.kubernetes._errors import GoneError, KubernetesError, described
from kubernaut.kubernetes._jitter import JitteredBackoff
from kubernaut.kubernetes._objects import (
    Added,
    Bookmark,
    Deleted,
    Modified,
    Resource,
    T,
    WatchEvent,
)
from kubernaut.kubernetes._store import Change, ChangeKind, Store
from kubernaut.kubernetes._watch import Unreadable

log = logging.getLogger("kubernaut.kubernetes")

Handler = Callable[[Change[T]], object]

_PAGE: Final = 500
_FIRST_PAUSE: Final = 0.4
_LONGEST_PAUSE: Final = 30.0  # As in client-go.
_LIVED: Final = 1.0
"""Seconds after which a watch that ends was a good one."""


class Reflector(Generic[T]):
    """Fills a store and tells handlers what changed.

    Args:
        client: to ask with.
        resource: what to watch.
        store: where to; nobody else may write it.
        namespace: None for all.
        label_selector: as for `Client.list`.
        field_selector: the same.
        watch_seconds: how long the server keeps a watch, at least; up to twice that, at random, so
            that many watches do not end together (client-go: 5 to 10 minutes).
        stall_after: seconds of silence after which a watch counts as dead and is opened again;
            more than the minute between bookmarks.

    Attributes:
        synced: set once the first list is complete in the store, and handlers were told.
        lists: complete lists so far.
        watches: watches opened so far.
        unreadable: what does not fit the type, by key.
        watching: whether the server has accepted a watch that has not ended.
        last_error: why the last list or watch failed; None once one is going again.
    """

    def __init__(  # noqa: PLR0913  (settings with defaults)
        self,
        client: Client,
        resource: Resource[T],
        store: Store[T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        watch_seconds: int = 300,
        stall_after: float = 120.0,
    ) -> None:
        self.store = store
        self.resource = resource
        self.synced = Event()
        self.lists = 0
        self.watches = 0
        self.watching = False
        self.unreadable: dict[str, Unreadable] = {}
        self.last_error: KubernetesError | None = None
        self._client = client
        self._namespace = namespace
        self._labels = label_selector
        self._fields = field_selector
        self._watch_seconds = watch_seconds
        self._stall_after = stall_after
        self._handlers: list[Handler[T]] = []
        self._version: str | None = None  # None: the next thing to do is a list.
        self._page = _PAGE
        self._backoff = JitteredBackoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    @property
    def has_synced(self) -> bool:
        """Whether the first list is complete."""
        return self.synced.is_set()

    def add_handler(self, handler: Handler[T]) -> None:
        """Call `handler` with each change, in order, and now with what is there already, as added.

        It must not block and not await. What it raises is logged and otherwise ignored: one
        handler's bug must not keep the others from the change.
        """
        self._handlers.append(handler)
        for key, obj in self.store.items():
            _call(handler, Change("added", key, None, obj))

    async def run(self) -> None:
        """List and watch until cancelled."""
        clock = self._client.clock
        while True:
            started = clock.monotonic()
            try:
                await self._round()
                error = None
            except KubernetesError as failure:
                error = self.last_error = failure
            if clock.monotonic() - started >= _LIVED:
                self._backoff.reset()
                if error is None:
                    continue  # The server ended the watch when it should.
            asked = (error.retry_after if error else None) or 0.0
            pause = max(self._backoff.next(), asked * random.uniform(1, 1.25))  # noqa: S311
            log.log(
                logging.WARNING if self._backoff.failures > 1 else logging.INFO,
                "%s: again in %.2f s: %s",
                self.resource.plural,
                pause,
                described(error) if error else "the watch ended early",
            )
            await clock.sleep_until(clock.monotonic() + pause)

    async def _round(self) -> None:
        """List if need be, then one watch."""
        try:
            if self._version is None:
                await self._list()
            await self._watch()
        except GoneError:
            if self._version is None:
                self._page = 0  # Paging is too slow for this server: all at once.
            self._version = None
            raise

    async def _list(self) -> None:
        """Take over a complete list. Pages go into the store one by one, so memory stays small."""
        version = ""
        listed: set[str] = set()
        unreadable: dict[str, Unreadable] = {}
        pages = self._client.list(
            self.resource,
            namespace=self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
            limit=self._page,
        )
        async with aclosing(pages):
            async for page in pages:
                version = page.resource_version
                for obj in page.items:
                    listed.add(obj.metadata.key)
                    self._put(obj)
                for bad in page.unreadable:
                    listed.add(bad.metadata.key)
                    unreadable[bad.metadata.key] = bad
        for gone in set(self.store.keys()) - listed:
            self._remove(gone, None)
        self.unreadable.clear()
        for bad in unreadable.values():
            self._set_aside(bad)
        self._page = _PAGE
        self._version = version
        self.lists += 1
        self.last_error = None
        self.synced.set()

    async def _watch(self) -> None:
        assert self._version is not None  # noqa: S101  (`_round` has listed)
        self.watches += 1
        portions = self._client.watch(
            self.resource,
            resource_version=self._version,
            namespace=self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
            timeout_seconds=int(self._watch_seconds * random.uniform(1, 2)),  # noqa: S311
            stall_after=self._stall_after,
        )
        try:
            async with aclosing(portions):
                async for events in portions:
                    self.watching, self.last_error = True, None
                    for event in events:
                        self._take(event)
        finally:
            self.watching = False

    def _take(self, event: WatchEvent[T] | Unreadable) -> None:
        match event:
            case Unreadable():
                version = event.metadata.resource_version
                if event.deleted:
                    self._remove(event.metadata.key, None)
                else:
                    self._set_aside(event)
            case Bookmark():
                version = event.object.metadata.resource_version
            case Added() | Modified():
                version = event.object.metadata.resource_version
                self._put(event.object)
            case Deleted():
                version = event.object.metadata.resource_version
                self._remove(event.object.metadata.key, event.object)
            case _:
                assert_never(event)
        self._version = version or self._version

    def _put(self, obj: T) -> None:
        key = obj.metadata.key
        self.unreadable.pop(key, None)
        before = self.store.get(key)
        if before is not None:
            if before.metadata.uid != obj.metadata.uid:
                self._remove(key, None)
            elif before.metadata.resource_version == obj.metadata.resource_version:
                return
        old = self.store.put(obj)
        self._tell("added" if old is None else "modified", key, old, obj)

    def _remove(self, key: str, last: T | None) -> None:
        """Forget a key; `last` is its last form, where the server has told it."""
        self.unreadable.pop(key, None)
        old = self.store.remove(key)
        if old is not None:
            self._tell("deleted", key, last or old, None)

    def _set_aside(self, bad: Unreadable) -> None:
        self.unreadable[bad.metadata.key] = bad
        log.error(
            "%s %s does not fit %s and stays as it was last seen: %s",
            self.resource.kind,
            bad.metadata.key,
            self.resource.type.__name__,
            bad.error,
        )

    def _tell(self, kind: ChangeKind, key: str, old: T | None, new: T | None) -> None:
        change = Change(kind, key, old, new)
        for handler in self._handlers:
            _call(handler, change)


def _call(handler: Handler[T], change: Change[T]) -> None:
    try:
        handler(change)
    except Exception:
        log.exception("a handler failed on %s %s", change.kind, change.key)
