"""The client: the API's verbs on typed resources.

Rules:

- Writes name their field manager.
- What is replaced carries its `resourceVersion`, and its type models the whole kind.
- Patches and deletions may be tied to a uid and a version, so that an object that was deleted and
  made again under the same name is not what is changed.
- Reads are consistent: neither `get` nor `list` asks for a cached version.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from kubernaut.kubernetes._backoff import Tokens
from kubernaut.kubernetes._clock import Clock, RealClock
from kubernaut.kubernetes._config import ClientConfig
from kubernaut.kubernetes._objects import Resource, T
from kubernaut.kubernetes._transport import AfterAttempt, BeforeRequest, Request, Transport
from kubernaut.kubernetes._watch import (
    Page,
    Portion,
    decode_object,
    decode_page,
    watch_events,
)

PatchType = Literal["merge", "json", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]
PatchBody = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_CONTENT_TYPES: Final[Mapping[PatchType, str]] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML.
}
_LIST_SECONDS: Final = 60.0
_WATCH_GRACE_SECONDS: Final = 30.0
"""How much later than the server we end a watch that the server should have ended."""


class Client:
    """A client of one API server, for one event loop.

    Use it in `async with`, or call `close`.

    Args:
        config: where the server is and who we are.
        field_manager: the name under which fields are owned; at most 128 characters.
        qps: requests per second in the long run, retries included; 0 for no limit. client-go's
            5 is too little for an operator; the server has priority and fairness as well.
        burst: requests that may go at once.
        timeout: seconds for one attempt of a request, from connection to the end of the body.
        retry_for: seconds within which requests that are safe to repeat are repeated; see
            `_transport`.
        user_agent: of the requests; made of the field manager where it is not given.
        before_request: called right before each attempt with the `Request`; what it raises is
            raised to the caller, and nothing is sent. It may shorten `request.timeout`.
        after_attempt: called with the request, the HTTP status (None: no answer) and the seconds.
        clock: for waits and rates.
    """

    def __init__(  # noqa: PLR0913  (settings with defaults)
        self,
        config: ClientConfig,
        *,
        field_manager: str,
        qps: float = 50.0,
        burst: int = 100,
        timeout: float = 30.0,
        retry_for: float = 30.0,
        user_agent: str | None = None,
        before_request: BeforeRequest | None = None,
        after_attempt: AfterAttempt | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.field_manager = field_manager
        self.clock = clock or RealClock()
        self._timeout = timeout
        self._transport = Transport(
            config,
            user_agent=user_agent or f"{field_manager} kubernaut-py/{version('kubernaut-py')}",
            bucket=Tokens(qps, burst, self.clock) if qps > 0 else None,
            clock=self.clock,
            retry_for=retry_for,
            before_request=before_request,
            after_attempt=after_attempt,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def raw(self, path: str) -> bytes:
        """What the server answers to GET at a path that is no resource, such as `/readyz`."""
        return await self._transport.send(Request("GET", path, timeout=self._timeout))

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """The object as it is now.

        Raises:
            NotFoundError: there is none.
            KubernetesError: any other failure; so for all verbs.
        """
        return await self._one(resource, Request("GET", resource.path(name, namespace)))

    async def create(self, resource: Resource[T], obj: T, *, namespace: str | None = None) -> T:
        """Create an object, in the namespace of its metadata or the one given.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidError: the schema or a rule refuses it.
        """
        namespace = namespace or obj.metadata.namespace or None
        if resource.namespaced and namespace is None:
            raise ValueError(f"{resource.plural} need a namespace")
        path = resource.path(None, namespace)
        return await self._one(
            resource, Request("POST", path, self._written(), resource.encode(obj))
        )

    async def replace(self, resource: Resource[T], obj: T, *, subresource: str | None = None) -> T:
        """Replace an object that was read, if nobody changed it since.

        Raises:
            ConflictError: somebody did, or it was made anew.
            TypeError: the type models a part of the kind only; patch instead.
            ValueError: the object has no `resourceVersion`.
        """
        if not resource.replaceable:
            raise TypeError(f"{resource.type.__name__} is a part of {resource.kind}: patch it")
        meta = obj.metadata
        if not meta.resource_version:
            raise ValueError(f"{resource.kind} {meta.key} has no resourceVersion: read it first")
        path = resource.path(meta.name, meta.namespace or None, subresource)
        return await self._one(
            resource, Request("PUT", path, self._written(), resource.encode(obj))
        )

    async def patch(  # noqa: PLR0913  (the API's own options)
        self,
        resource: Resource[T],
        name: str,
        body: PatchBody,
        *,
        namespace: str | None = None,
        patch: PatchType = "merge",
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> T:
        """Change what `body` names.

        Args:
            resource: of the object.
            name: of the object.
            body: a merge patch (RFC 7386), a list of JSON patch operations (RFC 6902), or the
                fields to own (server-side apply; `apiVersion`, `kind` and name are filled in).
            namespace: of the object.
            patch: which of the three.
            subresource: for example `status`.
            field_manager: other than the client's.
            force: with apply: take fields from other managers.
            uid: change only the object with this uid. The server heeds it in `metadata`, which
                it ignores on `/status`: tie such a patch to a version.
            resource_version: change only this version.

        Raises:
            ConflictError: another version or uid, or (apply) fields of another manager.
            InvalidError: refused; for a JSON patch also: a test failed, so another version or uid.
            NotFoundError: no such object; apply without a subresource creates it instead.
            ValueError: a uid that the server would ignore.
        """
        if uid and subresource and not resource_version and patch != "json":
            raise ValueError(f"a uid does not guard {subresource}: give the resource_version")
        params = self._written(field_manager)
        if patch == "apply":
            params["force"] = "true" if force else "false"
        request = Request(
            "PATCH",
            resource.path(name, namespace, subresource),
            params,
            _patch_body(resource, name, body, patch, _preconditions(uid, resource_version)),
            _CONTENT_TYPES[patch],
        )
        return await self._one(resource, request)

    async def delete(  # noqa: PLR0913  (the API's own options)
        self,
        resource: Resource[T],
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        """Ask for a deletion; with finalizers it happens later.

        Raises:
            ConflictError: the object has another uid or version.
            NotFoundError: there is none.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if conditions := _preconditions(uid, resource_version):
            options["preconditions"] = conditions
        if propagation:
            options["propagationPolicy"] = propagation
        path = resource.path(name, namespace)
        request = Request("DELETE", path, body=msgspec.json.encode(options), timeout=self._timeout)
        await self._transport.send(request)

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> AsyncGenerator[Page[T], None]:
        """All objects at one version, page by page.

        Args:
            resource: of the objects.
            namespace: None for all.
            label_selector: for example `app=web,tier!=cache`.
            field_selector: for example `metadata.name=a`.
            limit: objects on a page; 0 for all at once.

        Raises:
            GoneError: paging took longer than the server keeps old versions (5 minutes); begin
                again.
        """
        path = resource.path(None, namespace)
        params = _selected(label_selector, field_selector)
        params["limit"] = str(limit)
        while True:
            request = Request("GET", path, dict(params), timeout=max(_LIST_SECONDS, self._timeout))
            page, token = decode_page(resource, await self._transport.send(request))
            yield page
            if page.last:
                return
            params["continue"] = token

    async def watch(  # noqa: PLR0913  (the API's own options)
        self,
        resource: Resource[T],
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout_seconds: int = 300,
        stall_after: float = 120.0,
    ) -> AsyncGenerator[Portion[T], None]:
        """Changes after a version, in the portions in which they come, bookmarks included.

        The first portion is empty and says that the server has accepted the watch.
        Ends when the server ends it, which it does after `timeout_seconds`: watch again from the
        last version seen.

        Args:
            resource: of the objects.
            resource_version: of a list, an event or a bookmark.
            namespace: None for all.
            label_selector: as for `list`.
            field_selector: as for `list`.
            timeout_seconds: for the server.
            stall_after: seconds of silence after which the connection counts as dead; more than
                the minute between two bookmarks.

        Raises:
            GoneError: the version is older than what the server keeps: list again.
            TransportError: connection lost, or silence.
        """
        params = _selected(label_selector, field_selector)
        params |= {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        path = resource.path(None, namespace)
        request = Request("GET", path, params, timeout=timeout_seconds + _WATCH_GRACE_SECONDS)
        async with (
            self._transport.stream(request, silence=stall_after) as chunks,
            aclosing(watch_events(resource, chunks)) as portions,
        ):
            yield []
            async for events in portions:
                yield events

    async def _one(self, resource: Resource[T], request: Request) -> T:
        request.timeout = self._timeout
        return decode_object(resource, await self._transport.send(request))

    def _written(self, field_manager: str | None = None) -> dict[str, str]:
        return {"fieldManager": field_manager or self.field_manager}


def _selected(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    found = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in found.items() if value}


def _preconditions(uid: str | None, resource_version: str | None) -> dict[str, str]:
    found = {"uid": uid, "resourceVersion": resource_version}
    return {name: value for name, value in found.items() if value}


def _patch_body(
    resource: Resource[Any],
    name: str,
    body: PatchBody,
    patch: PatchType,
    conditions: dict[str, str],
) -> bytes:
    if not isinstance(body, Mapping):
        tests = [
            {"op": "test", "path": f"/metadata/{member}", "value": value}
            for member, value in conditions.items()
        ]
        return msgspec.json.encode([*tests, *body])
    if patch == "json":
        raise TypeError("a JSON patch is a list of operations")
    whole = dict(body)
    metadata = {**whole.get("metadata", {}), **conditions}
    if patch == "apply":
        whole = {"apiVersion": resource.api_version, "kind": resource.kind} | whole
        metadata = {"name": name} | metadata
        metadata.pop("managedFields", None)  # An apply that carries it is refused.
    if metadata:
        whole["metadata"] = metadata
    return msgspec.json.encode(whole)
