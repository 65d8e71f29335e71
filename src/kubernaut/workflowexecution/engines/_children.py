"""What children of all engines have in common: whose they are, how they are watched, their time."""

import math
from typing import TypeVar

from kubernaut.kubernetes import (
    Client,
    KubernetesObject,
    ObjectMeta,
    Reflector,
    Resource,
    Store,
    controller_of,
)
from kubernaut.workflowexecution._names import (
    EXECUTION_ANNOTATION,
    EXECUTION_LABEL,
    NAMESPACE_LABEL,
    UID_LABEL,
)
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution.engines._engine import Owner

T = TypeVar("T", bound=KubernetesObject)


def reflector_of(client: Client, resource: Resource[T], namespace: str) -> Reflector[T]:
    """Watches the objects of a namespace that carry our labels."""
    return Reflector(client, resource, Store(), namespace=namespace, label_selector=UID_LABEL)


def owner_of(metadata: ObjectMeta) -> Owner | None:
    """Whose child it is; None where it does not say.

    The annotation leads: a label's value may be a cut name. The uid is "" where only that is
    missing, so that nobody takes the child for their own.
    """
    uid = metadata.labels.get(UID_LABEL, "")
    namespace, _, name = metadata.annotations.get(EXECUTION_ANNOTATION, "").partition("/")
    if namespace and name:
        return Owner(namespace, name, uid)
    namespace = metadata.labels.get(NAMESPACE_LABEL, "")
    name = metadata.labels.get(EXECUTION_LABEL, "")
    return Owner(namespace, name, uid) if namespace and name else None


def metadata_of(run: Run) -> ObjectMeta:
    """The metadata of a child.

    Without an owner reference: those do not cross namespaces.
    """
    return ObjectMeta(
        name=run.name,
        namespace=run.namespace,
        labels=dict(run.labels),
        annotations=dict(run.annotations),
    )


def seconds_left(run: Run, now: float) -> int | None:
    """Whole seconds until a run must have ended, at least 1; None where it may go on.

    Args:
        run: what is to be created.
        now: Unix time.
    """
    if run.times_out_at is None:
        return None
    return max(1, math.floor(run.times_out_at.timestamp() - now))


def controlled_by(obj: KubernetesObject, uid: str | None) -> bool:
    """Whether the object that controls `obj` has this uid."""
    owner = controller_of(obj)
    return uid is not None and owner is not None and owner.uid == uid


def one_line(text: str) -> str:
    """A text without line breaks, as lists of objects and events show it."""
    return " ".join(text.split())
