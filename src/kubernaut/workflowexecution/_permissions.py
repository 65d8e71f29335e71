"""What the operator may do in a cluster, and the question to the API server whether it may.

The list here is the one that `config/rbac/operator.yaml` grants; a test compares the two. So what
is asked at the start is what the manifests give, and neither can grow alone.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from kubernaut.kubernetes import Client, KubernetesObject, Resource

Place = Literal["watched", "executions", "own"]
"""Where: in the namespaces of WorkflowExecutions, of what runs them, of the operator."""
Purpose = Literal["always", "tekton", "job", "leader election"]

SUSPENSION_NAME: Final = "workflowexecution-operator"
"""The config map by which the operator is suspended."""
LEASE_NAME: Final = "workflowexecution.kubernaut.ai"
"""The lease, unless a setting gives it another name."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Verbs on one resource.

    Attributes:
        group: "" for the core.
        resource: plural, with a subresource after `/`.
        place: where.
        purpose: what needs it.
        name: of the one object that it is about; "" for all.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    place: Place
    purpose: Purpose = "always"
    name: str = ""

    @property
    def shown(self) -> str:
        """The resource for people, as kubectl takes it."""
        plural, slash, subresource = self.resource.partition("/")
        full = f"{plural}.{self.group}" if self.group else plural
        return f"{full}{slash}{subresource}" + (f" {self.name}" if self.name else "")


PERMISSIONS: Final = (
    Permission("kubernaut.ai", "workflowexecutions", ("get", "list", "watch", "patch"), "watched"),
    Permission("kubernaut.ai", "workflowexecutions/status", ("patch",), "watched"),
    Permission("events.k8s.io", "events", ("create", "patch"), "watched"),
    Permission(
        "tekton.dev",
        "pipelineruns",
        ("get", "list", "watch", "create", "patch", "delete"),
        "executions",
        "tekton",
    ),
    Permission("tekton.dev", "taskruns", ("get", "list"), "executions", "tekton"),
    Permission(
        "batch",
        "jobs",
        ("get", "list", "watch", "create", "patch", "delete"),
        "executions",
        "job",
    ),
    Permission("", "pods", ("list",), "executions", "job"),
    Permission("events.k8s.io", "events", ("list",), "executions", "job"),
    Permission("coordination.k8s.io", "leases", ("create",), "own", "leader election"),
    Permission(
        "coordination.k8s.io", "leases", ("get", "update"), "own", "leader election", LEASE_NAME
    ),
    Permission(
        "", "configmaps", ("get", "list", "watch", "create", "patch"), "own", name=SUSPENSION_NAME
    ),
)


class Attributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`authorization.k8s.io/v1.ResourceAttributes`."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class ReviewSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is asked."""

    resource_attributes: Attributes | None = None


class ReviewStatus(msgspec.Struct, frozen=True):
    """The answer."""

    allowed: bool = False


class AccessReview(KubernetesObject, frozen=True):
    """`authorization.k8s.io/v1.SelfSubjectAccessReview`: may I do this?"""

    spec: ReviewSpec = ReviewSpec()
    status: ReviewStatus = ReviewStatus()


class UserInfo(msgspec.Struct, frozen=True):
    """`authentication.k8s.io/v1.UserInfo`, as far as it is shown."""

    username: str = ""


class IdentityStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The answer."""

    user_info: UserInfo = UserInfo()


class IdentityReview(KubernetesObject, frozen=True):
    """`authentication.k8s.io/v1.SelfSubjectReview`: who am I?"""

    status: IdentityStatus = IdentityStatus()


ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    False,
    AccessReview,
)
IDENTITY_REVIEWS: Final = Resource(
    "authentication.k8s.io",
    "v1",
    "selfsubjectreviews",
    "SelfSubjectReview",
    False,
    IdentityReview,
)


async def own_username(client: Client) -> str:
    """Who the API server takes this client for.

    Raises:
        KubernetesError: it does not say.
    """
    review = await client.create(IDENTITY_REVIEWS, IdentityReview())
    return review.status.user_info.username


async def denied(
    client: Client, permission: Permission, namespace: str | None, *, name: str | None = None
) -> Sequence[str]:
    """The verbs of a permission that this client does not have.

    Args:
        client: asks for itself.
        permission: what is to be asked.
        namespace: None for all.
        name: of the object, where it is another than the permission's.

    Raises:
        KubernetesError: the API server does not say.
    """
    resource, _, subresource = permission.resource.partition("/")

    async def allowed(verb: str) -> bool:
        attributes = Attributes(
            verb=verb,
            group=permission.group,
            resource=resource,
            subresource=subresource,
            namespace=namespace or "",
            name=permission.name if name is None else name,
        )
        review = AccessReview(spec=ReviewSpec(attributes))
        return (await client.create(ACCESS_REVIEWS, review)).status.allowed

    answers = await asyncio.gather(*map(allowed, permission.verbs))
    return [verb for verb, yes in zip(permission.verbs, answers, strict=True) if not yes]


def needed_for(purposes: Iterable[Purpose]) -> list[Permission]:
    """The permissions that some purposes need, and those that are always needed."""
    wanted = {"always", *purposes}
    return [permission for permission in PERMISSIONS if permission.purpose in wanted]
