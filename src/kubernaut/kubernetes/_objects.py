"""Typed objects of the API, and descriptors of their resources.

Rules that keep writes safe:

- Objects are immutable: what a store holds is shared by everybody who looks.
- Fields that a model lacks are ignored on reading. So a model may be a part of the kind, and a
  `Resource` of such a model cannot be used to replace an object (`replaceable`): its write would
  erase what the model does not know. Patches name what they change.
- A field at its default is not written, so no `null` appears where the object had nothing: an
  update with an explicit `null` changes the spec and breaks rules such as `self == oldSelf`.
- `managedFields` is not modelled: it is most of an object's bytes, and an object that carries it
  cannot be applied.
- Neither are `apiVersion` and `kind`: items of a list lack them. The resource knows them.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from kubernaut.kubernetes._errors import Status


class OwnerReference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Who an object belongs to: in the same namespace, or without one."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, rename="camel"
):
    """`meta/v1.ObjectMeta` without `managedFields` and `selfLink`."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    generate_name: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for objects without a namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ListMeta(msgspec.Struct, frozen=True, rename={"continue_token": "continue"}):
    """`meta/v1.ListMeta`, as far as paging needs it."""

    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_token: str = ""
    remaining_item_count: int | None = msgspec.field(name="remainingItemCount", default=None)


class Condition(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, rename="camel"
):
    """`meta/v1.Condition`. Reads the conditions of core kinds too, which lack some members."""

    type: str
    status: str
    # A factory makes an empty text a value that is written: the schema requires these members.
    reason: str = msgspec.field(default_factory=str)
    message: str = msgspec.field(default_factory=str)
    last_transition_time: datetime | None = None
    observed_generation: int | None = None


class KubernetesObject(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"
):
    """The base of typed objects: subclass it with `spec`, `status` or whatever the kind has.

    Give every field a default, so that an object that lacks it can be read.
    """

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for objects without a namespace."""
        return self.metadata.key


T = TypeVar("T", bound=KubernetesObject)


class Items(msgspec.Struct, frozen=True):
    """A list's answer, its items still JSON, so that one bad object does not spoil a page."""

    items: list[msgspec.Raw] | None = None
    metadata: ListMeta = ListMeta()


class MetadataOnly(KubernetesObject, frozen=True):
    """Any object's metadata."""


class Added(msgspec.Struct, Generic[T], frozen=True, tag="ADDED"):
    """A watch event: the object is new to this watch."""

    object: T


class Modified(msgspec.Struct, Generic[T], frozen=True, tag="MODIFIED"):
    """A watch event: the object changed."""

    object: T


class Deleted(msgspec.Struct, Generic[T], frozen=True, tag="DELETED"):
    """A watch event: the object is gone, or left the selector; this is its last form."""

    object: T


class Bookmark(msgspec.Struct, frozen=True, tag="BOOKMARK"):
    """A watch event: all changes up to this version were sent."""

    object: MetadataOnly


class Failed(msgspec.Struct, frozen=True, tag="ERROR"):
    """A watch event: the watch cannot go on."""

    object: Status


@dataclass(frozen=True)
class Resource(Generic[T]):
    """One resource of the API and the type of its objects.

    Args:
        group: the API group, "" for the core.
        version: the version of the API, for example `v1`.
        plural: the name in paths.
        kind: the name in objects.
        namespaced: whether objects live in namespaces.
        type: what objects are decoded as.
        replaceable: `type` models every field of the kind, so that replacing loses none.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    type: type[T]
    replaceable: bool = False

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` for the core."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[T]:
        """Of one object."""
        return msgspec.json.Decoder(self.type)

    @cached_property
    def event_decoder(self) -> "msgspec.json.Decoder[StreamItem[T]]":
        """Of one line of a watch."""
        kind: Any = self.type
        return msgspec.json.Decoder(
            Added[kind] | Modified[kind] | Deleted[kind] | Bookmark | Failed
        )

    def path(
        self, name: str | None = None, namespace: str | None = None, subresource: str | None = None
    ) -> str:
        """The path of an object, or of the collection where `name` is None.

        Raises:
            ValueError: a namespace where there is none, or none where one is needed.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.plural} have no namespace, got {namespace!r}")
        if name is not None and self.namespaced and not namespace:
            raise ValueError(f"{self.plural} need a namespace")
        if name == "":
            raise ValueError(f"{self.plural} need a name")
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)

    def encode(self, obj: T) -> bytes:
        """The JSON of an object, with `apiVersion` and `kind`."""
        head = msgspec.json.encode({"apiVersion": self.api_version, "kind": self.kind})
        return head[:-1] + b"," + msgspec.json.encode(obj)[1:]  # `metadata` is always there.

    def owner_reference(self, owner: T, *, controller: bool = True) -> OwnerReference:
        """A reference to `owner`, for the metadata of what belongs to it."""
        return OwnerReference(
            api_version=self.api_version,
            kind=self.kind,
            name=owner.metadata.name,
            uid=owner.metadata.uid,
            controller=controller or None,
            block_owner_deletion=controller or None,
        )


WatchEvent = Added[T] | Modified[T] | Deleted[T] | Bookmark
"""What a watch yields."""
StreamItem = WatchEvent[T] | Failed
"""What a watch's stream may hold."""
