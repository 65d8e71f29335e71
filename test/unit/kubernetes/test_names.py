"""The names that the kernel exports: users rely on them."""

import kubernaut.kubernetes
from kubernaut.kubernetes import testing

KERNEL = """
AlreadyExistsError ApiError CONFIG_MAPS Change Client ClientConfig Clock Condition ConditionStatus
ConfigError ConfigMap ConflictError Controller DecodeError EVENTS Event EventRecorder EventSeries
ExponentialBackoff ForbiddenError GoneError InvalidError KeyBackoff KubernetesError
KubernetesObject LEASES LeaderElection LeadershipLostError Lease LeaseLock LeaseSpec Lock
NAMESPACES Namespace NotFoundError NotServedError ObjectMeta ObjectReference OwnerReference PODS
Page Pod
QueueShutDownError RealClock Reflector Request Resource Result ServerUnavailableError Source Store
SyncTimeoutError Tenure TerminalError Timer Tokens TooManyRequestsError TransportError
UnauthorizedError Unreadable WorkQueue add_finalizer apply by_label by_owner changed_key
controller_of generation_changed get_condition has_status is_controlled_by is_true key_of label_of
namespace_of owner_uids_of patch_status reference_to remove_condition remove_finalizer
same_conditions set_condition split_key
"""


def test_the_kernel_exports_what_it_did() -> None:
    assert sorted(kubernaut.kubernetes.__all__) == sorted(KERNEL.split())


def test_the_testing_module_exports_what_it_did() -> None:
    assert sorted(testing.__all__) == ["Feed", "QueueDriver", "VirtualClock", "settle"]
