"""What engines have in common whose children are objects of one kind in the execution namespace.

- A request that is about one child is tied to its uid: a namesake is not touched.
- A refusal to end a child is an error only while that child still runs.
- A name is free again only when nothing is left of what the former child created.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from kubernaut.kubernetes import (
    ApiError,
    Client,
    ConflictError,
    InvalidError,
    KubernetesObject,
    NotFoundError,
    Resource,
    Source,
)
from kubernaut.workflowexecution.engines._children import controlled_by
from kubernaut.workflowexecution.engines._engine import Child

T = TypeVar("T", bound=KubernetesObject)
Other = TypeVar("Other", bound=KubernetesObject)


class ObjectEngine(Generic[T]):
    """The part of an engine that is the same for every kind.

    Args:
        resource: the kind of the children.
        child_of: how one of them is understood.
        client: to ask with.
        children: a reflector of them; running it is the caller's business.
        namespace: the execution namespace.
    """

    def __init__(
        self,
        resource: Resource[T],
        child_of: Callable[[T], Child],
        client: Client,
        children: Source[T],
        namespace: str,
    ) -> None:
        self.children: Source[Any] = children
        self._resource = resource
        self._child_of = child_of
        self._client = client
        self._namespace = namespace

    def cached(self, name: str) -> Child | None:
        """The child of a name as last seen by the watch; only one that carries our labels."""
        found = self.children.store.get(f"{self._namespace}/{name}")
        return self._child_of(found) if found else None

    async def observe(self, name: str) -> Child | None:
        """The child of a name as it is now, whosever it is; None where there is none."""
        try:
            return self._child_of(await self._client.get(self._resource, name, self._namespace))
        except NotFoundError:
            return None

    async def _end(
        self,
        child: Child,
        body: Mapping[str, Any],
        *,
        moot: Collection[int] = (),
    ) -> None:
        """Ask a child to end, by a merge patch.

        Args:
            child: which one.
            body: of the patch.
            moot: further statuses of a refusal that may mean that there is nothing to end.
        """
        try:
            await self._client.patch(
                self._resource, child.name, body, namespace=self._namespace, uid=child.uid
            )
        except NotFoundError:
            return
        except ApiError as refusal:
            # Another uid is a conflict, or, of custom resources, invalid.
            another = isinstance(refusal, ConflictError | InvalidError)
            if not another and refusal.status not in moot:
                raise
            now = await self.observe(child.name)
            if now is not None and now.uid == child.uid and not now.is_over:
                raise

    async def _delete(self, name: str, uid: str | None) -> bool:
        """Delete a child with all that it created; False where it is gone already."""
        if uid is None:
            return False
        try:
            await self._client.delete(
                self._resource, name, namespace=self._namespace, uid=uid, propagation="Foreground"
            )
        except (NotFoundError, ConflictError):
            return False  # Ours is gone; a conflict says that another has the name.
        return True

    async def _is_free(self, name: str, left: Iterable[KubernetesObject]) -> bool:
        """Whether all that is there under a name belongs to the child that has it now."""
        found = list(left)
        if not found:
            return True
        now = await self.observe(name)
        return now is not None and all(controlled_by(each, now.uid) for each in found)

    async def _list(
        self,
        resource: Resource[Other],
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Other]:
        """All objects of a kind in the execution namespace that are selected."""
        pages = self._client.list(
            resource,
            namespace=self._namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        async with aclosing(pages):
            return [one async for page in pages for one in page.items]
