"""A level-triggered reconciler kernel for controllers of Kubernetes.

A typed client, reflectors that keep stores, work queues, controllers, leader election on leases and
an event recorder; `testing` has a virtual clock for users' tests.
"""

from kubernaut.kubernetes._apply import add_finalizer, apply, patch_status, remove_finalizer
from kubernaut.kubernetes._backoff import ExponentialBackoff, KeyBackoff, Tokens
from kubernaut.kubernetes._client import Client
from kubernaut.kubernetes._clock import Clock, RealClock, Timer
from kubernaut.kubernetes._conditions import (
    ConditionStatus,
    get_condition,
    has_status,
    is_true,
    remove_condition,
    same_conditions,
    set_condition,
)
from kubernaut.kubernetes._config import ClientConfig
from kubernaut.kubernetes._controller import (
    Controller,
    Result,
    Source,
    SyncTimeoutError,
    TerminalError,
    changed_key,
)
from kubernaut.kubernetes._core_kinds import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    NAMESPACES,
    PODS,
    ConfigMap,
    Event,
    EventSeries,
    Lease,
    LeaseSpec,
    Namespace,
    ObjectReference,
    Pod,
)
from kubernaut.kubernetes._errors import (
    AlreadyExistsError,
    ApiError,
    ConfigError,
    ConflictError,
    DecodeError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubernetesError,
    NotFoundError,
    NotServedError,
    ServerUnavailableError,
    TooManyRequestsError,
    TransportError,
    UnauthorizedError,
)
from kubernaut.kubernetes._leader import LeaderElection, LeadershipLostError
from kubernaut.kubernetes._lease import LeaseLock, Lock, Tenure
from kubernaut.kubernetes._objects import (
    Condition,
    KubernetesObject,
    ObjectMeta,
    OwnerReference,
    Resource,
)
from kubernaut.kubernetes._owners import (
    by_label,
    by_owner,
    controller_of,
    generation_changed,
    is_controlled_by,
    key_of,
    split_key,
)
from kubernaut.kubernetes._recorder import EventRecorder, reference_to
from kubernaut.kubernetes._reflector import Reflector
from kubernaut.kubernetes._store import Change, Store, label_of, namespace_of, owner_uids_of
from kubernaut.kubernetes._transport import Request
from kubernaut.kubernetes._watch import Page, Unreadable
from kubernaut.kubernetes._workqueue import QueueShutDownError, WorkQueue

__all__ = [
    "CONFIG_MAPS",
    "EVENTS",
    "LEASES",
    "NAMESPACES",
    "PODS",
    "AlreadyExistsError",
    "ApiError",
    "Change",
    "Client",
    "ClientConfig",
    "Clock",
    "Condition",
    "ConditionStatus",
    "ConfigError",
    "ConfigMap",
    "ConflictError",
    "Controller",
    "DecodeError",
    "Event",
    "EventRecorder",
    "EventSeries",
    "ExponentialBackoff",
    "ForbiddenError",
    "GoneError",
    "InvalidError",
    "KeyBackoff",
    "KubernetesError",
    "KubernetesObject",
    "LeaderElection",
    "LeadershipLostError",
    "Lease",
    "LeaseLock",
    "LeaseSpec",
    "Lock",
    "Namespace",
    "NotFoundError",
    "NotServedError",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "Page",
    "Pod",
    "QueueShutDownError",
    "RealClock",
    "Reflector",
    "Request",
    "Resource",
    "Result",
    "ServerUnavailableError",
    "Source",
    "Store",
    "SyncTimeoutError",
    "Tenure",
    "TerminalError",
    "Timer",
    "Tokens",
    "TooManyRequestsError",
    "TransportError",
    "UnauthorizedError",
    "Unreadable",
    "WorkQueue",
    "add_finalizer",
    "apply",
    "by_label",
    "by_owner",
    "changed_key",
    "controller_of",
    "generation_changed",
    "get_condition",
    "has_status",
    "is_controlled_by",
    "is_true",
    "key_of",
    "label_of",
    "namespace_of",
    "owner_uids_of",
    "patch_status",
    "reference_to",
    "remove_condition",
    "remove_finalizer",
    "same_conditions",
    "set_condition",
    "split_key",
]
