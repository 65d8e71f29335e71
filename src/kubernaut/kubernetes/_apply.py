"""Writes that controllers make again and again, each with its rule about conflicts.

- `apply`: the fields given are ours; another manager's field is a conflict unless forced.
- `patch_status`: the whole status is ours, and of the version that was read: nothing else keeps a
  status away from another object of the same name (the server ignores a uid on `/status`).
- Finalizers: metadata alone is patched, at the version that was read, so that neither another
  finalizer gets lost nor a `null` appears in a spec with rules.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from kubernaut.kubernetes._client import Client
from kubernaut.kubernetes._errors import NotFoundError
from kubernaut.kubernetes._objects import Resource, T


async def apply(  # noqa: PLR0913  (names, and two settings)
    client: Client,
    resource: Resource[T],
    name: str,
    body: Mapping[str, Any] | T,
    *,
    namespace: str | None = None,
    field_manager: str | None = None,
    force: bool = False,
) -> T:
    """Server-side apply (KEP-555): create the object, or make the given fields what is given.

    Fields that were ours and are not given any more are removed.

    Args:
        client: to write with.
        resource: of the object.
        name: of the object.
        body: the fields to own. An object that was read has the server's fields too: give only
            what you mean.
        namespace: of the object.
        field_manager: other than the client's. Keep it the same for ever.
        force: take fields from other managers; controllers do, for what only they may decide.

    Raises:
        ConflictError: another manager has one of the fields.
    """
    fields: Any = body if isinstance(body, Mapping) else msgspec.to_builtins(body)
    return await client.patch(
        resource,
        name,
        fields,
        namespace=namespace,
        patch="apply",
        field_manager=field_manager,
        force=force,
    )


async def patch_status(  # noqa: PLR0913  (names, and two settings)
    client: Client,
    resource: Resource[T],
    obj: T,
    status: Mapping[str, Any] | msgspec.Struct,
    *,
    field_manager: str | None = None,
    force: bool = False,
) -> T:
    """Make `status` the status of `obj`: server-side apply on `/status`.

    What was in the status by this field manager and is not in `status` is removed.

    Args:
        client: to write with.
        resource: of the object.
        obj: as it was read.
        status: the whole of what this field manager says.
        field_manager: other than the client's.
        force: take fields from other managers.

    Raises:
        ConflictError: the object is not at the version of `obj` any more, or another manager has
            one of the fields.
        NotFoundError: the object is gone.
    """
    meta = obj.metadata
    fields = status if isinstance(status, Mapping) else msgspec.to_builtins(status)
    return await client.patch(
        resource,
        meta.name,
        {"status": fields},
        namespace=meta.namespace or None,
        patch="apply",
        subresource="status",
        field_manager=field_manager,
        force=force,
        resource_version=meta.resource_version,
    )


async def add_finalizer(
    client: Client,
    resource: Resource[T],
    obj: T,
    finalizer: str,
    *,
    field_manager: str | None = None,
) -> T:
    """Add a finalizer to an object that was read; nothing is sent where it has it.

    Raises:
        ConflictError: the object changed since.
        NotFoundError: it is gone.
        ForbiddenError, InvalidError: it is being deleted: no finalizer may be added any more.
    """
    if finalizer in obj.metadata.finalizers:
        return obj
    finalizers = [*obj.metadata.finalizers, finalizer]
    return await _set_finalizers(client, resource, obj, finalizers, field_manager)


async def remove_finalizer(
    client: Client,
    resource: Resource[T],
    obj: T,
    finalizer: str,
    *,
    field_manager: str | None = None,
) -> T | None:
    """Remove a finalizer from an object that was read; None where the object is gone by now.

    Raises:
        ConflictError: the object changed since, or another one has its name.
    """
    if finalizer not in obj.metadata.finalizers:
        return obj
    finalizers = [name for name in obj.metadata.finalizers if name != finalizer]
    try:
        return await _set_finalizers(client, resource, obj, finalizers, field_manager)
    except NotFoundError:
        return None


async def _set_finalizers(
    client: Client,
    resource: Resource[T],
    obj: T,
    finalizers: list[str],
    field_manager: str | None,
) -> T:
    meta = obj.metadata
    return await client.patch(
        resource,
        meta.name,
        {"metadata": {"finalizers": finalizers}},
        namespace=meta.namespace or None,
        field_manager=field_manager,
        resource_version=meta.resource_version,
    )
