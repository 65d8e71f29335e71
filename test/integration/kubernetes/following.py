"""Run a reflector, keep a diary of its changes, and compare its store with a fresh list."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from kubernaut.kubernetes import Change, Client, Reflector, Store, namespace_of
from test.polling import async_wait_for
from test.unit.kubernetes.widgets import WIDGETS, Widget


class Followed:
    """A running reflector of widgets.

    Attributes:
        changes: all that handlers were told.
        mirror: what a handler that knows only the changes would have: key and version.
    """

    def __init__(self, reflector: Reflector[Widget], judge: Client, namespace: str | None) -> None:
        self.reflector = reflector
        self.store = reflector.store
        self.changes: list[Change[Widget]] = []
        self.mirror: dict[str, str] = {}
        self._judge = judge
        self._namespace = namespace
        reflector.add_handler(self._note)

    def _note(self, change: Change[Widget]) -> None:
        self.changes.append(change)
        if change.new is None:
            assert self.mirror.pop(change.key)
        else:
            assert (change.kind == "added") == (change.key not in self.mirror)
            self.mirror[change.key] = change.new.metadata.resource_version

    async def fresh(self) -> dict[str, Widget]:
        """What the API server has now."""
        pages = self._judge.list(WIDGETS, namespace=self._namespace)
        return {obj.key: obj async for page in pages for obj in page.items}

    async def equal(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109  (of polling)
        """Wait until the store, and what the handlers were told, is what a fresh list has."""

        async def same() -> bool:
            fresh = await self.fresh()
            versions = {key: obj.metadata.resource_version for key, obj in fresh.items()}
            return dict(self.store.items()) == fresh and self.mirror == versions

        await async_wait_for(same, timeout, "the store equals a fresh list")

    async def watching(self, more_than: int = 0) -> None:
        """Wait until it is on a watch, after so many earlier ones."""

        async def going() -> bool:
            reflector = self.reflector
            return reflector.watches > more_than and reflector.watching

        await async_wait_for(going, 30, "the reflector watches")


@asynccontextmanager
async def following(
    client: Client,
    namespace: str | None,
    *,
    judge: Client | None = None,
    label_selector: str | None = None,
    stall_after: float = 120.0,
    watch_seconds: int = 300,
) -> AsyncIterator[Followed]:
    """Run a reflector, synced at the beginning and cancelled at the end."""
    reflector = Reflector(
        client,
        WIDGETS,
        Store[Widget]({"namespace": namespace_of}),
        namespace=namespace,
        label_selector=label_selector,
        stall_after=stall_after,
        watch_seconds=watch_seconds,
    )
    followed = Followed(reflector, judge or client, namespace)
    running = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(30):
            await reflector.synced.wait()
        await followed.watching()
        yield followed
        assert not running.done(), "nothing ends a reflector"
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
