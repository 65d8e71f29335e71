"""What the API server grants the operator and the runner of `config/rbac`, and what it does not."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from kubernaut.local import LocalCluster
from kubernaut.local.cluster import ApiRequests
from kubernaut.workflowexecution._crd import crd
from kubernaut.workflowexecution._manifests import rbac
from test.polling import wait_for

OURS: Final = "ops"
RUNS: Final = "runs"
OPERATOR: Final = "workflowexecution-operator"
LEASE: Final = "workflowexecution.kubernaut.ai"
CONFIG_MAPS: Final = f"/api/v1/namespaces/{OURS}/configmaps"
APPLY: Final = "application/apply-patch+yaml"
PLACES: Final = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}

# Verb, resource, subresource, group, namespace, name.
Access = tuple[str, str, str, str, str, str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A cluster with our kind and roles, in namespaces other than the usual."""
    with LocalCluster(scheduler=False, kwok=False, crds=[crd()]) as running:
        for one in rbac(OURS, RUNS):
            place = PLACES[one["kind"]].format(one["metadata"].get("namespace"))
            answer = running.api("POST", place, one)
            assert answer.status == 201, answer
        yield running


def of_account(cluster: LocalCluster, namespace: str, name: str) -> ApiRequests:
    """Requests of a service account, once its roles are known to the API server."""
    api = cluster.api_as(token=cluster.service_account_token(namespace, name))
    first: Access = ("get", "pods", "", "", "", "")
    if name == OPERATOR:
        first = ("get", "workflowexecutions", "", "kubernaut.ai", "", "")
    wait_for(lambda: allowed(api, first), 30, "the roles")
    return api


@pytest.fixture
def operator(cluster: LocalCluster) -> ApiRequests:
    return of_account(cluster, OURS, OPERATOR)


@pytest.fixture
def runner(cluster: LocalCluster) -> ApiRequests:
    return of_account(cluster, RUNS, "kubernaut-workflow-runner")


def allowed(api: ApiRequests, access: Access) -> bool:
    """Whether one may do something, as one may ask without any grant."""
    names = ("verb", "resource", "subresource", "group", "namespace", "name")
    body = {"spec": {"resourceAttributes": dict(zip(names, access, strict=True))}}
    answer = api("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert answer.status == 201, answer
    return bool(answer.body["status"]["allowed"])


GRANTED: Final[tuple[Access, ...]] = (
    ("watch", "workflowexecutions", "", "kubernaut.ai", "", ""),
    ("patch", "workflowexecutions", "", "kubernaut.ai", "default", "a"),
    ("patch", "workflowexecutions", "status", "kubernaut.ai", "default", "a"),
    ("create", "events", "", "events.k8s.io", "default", ""),
    ("create", "pipelineruns", "", "tekton.dev", RUNS, ""),
    ("delete", "pipelineruns", "", "tekton.dev", RUNS, "wfe-1"),
    ("list", "taskruns", "", "tekton.dev", RUNS, ""),
    ("create", "jobs", "", "batch", RUNS, ""),
    ("list", "pods", "", "", RUNS, ""),
    ("list", "events", "", "events.k8s.io", RUNS, ""),
    ("create", "leases", "", "coordination.k8s.io", OURS, ""),
    ("update", "leases", "", "coordination.k8s.io", OURS, LEASE),
    ("watch", "configmaps", "", "", OURS, OPERATOR),
)

REFUSED: Final[tuple[Access, ...]] = (
    ("create", "workflowexecutions", "", "kubernaut.ai", "default", ""),
    ("update", "workflowexecutions", "", "kubernaut.ai", "default", "a"),
    ("delete", "workflowexecutions", "", "kubernaut.ai", "default", "a"),
    ("update", "workflowexecutions", "finalizers", "kubernaut.ai", "default", "a"),
    ("create", "pipelineruns", "", "tekton.dev", "default", ""),
    ("list", "jobs", "", "batch", "", ""),
    ("delete", "taskruns", "", "tekton.dev", RUNS, "a"),
    ("get", "secrets", "", "", RUNS, "a"),
    ("get", "secrets", "", "", OURS, "a"),
    ("list", "pods", "", "", OURS, ""),
    ("create", "pods", "", "", RUNS, ""),
    ("update", "leases", "", "coordination.k8s.io", OURS, "other"),
    ("list", "configmaps", "", "", OURS, ""),
    ("get", "configmaps", "", "", OURS, "other"),
    ("get", "configmaps", "", "", RUNS, OPERATOR),
    ("create", "serviceaccounts", "token", "", RUNS, "a"),
)


@pytest.mark.parametrize("access", GRANTED, ids=" ".join)
def test_the_operator_may(operator: ApiRequests, access: Access) -> None:
    assert allowed(operator, access)


@pytest.mark.parametrize("access", REFUSED, ids=" ".join)
def test_the_operator_may_not(operator: ApiRequests, access: Access) -> None:
    assert not allowed(operator, access)


def test_the_operator_has_one_config_map_and_may_make_it_by_applying_it(
    operator: ApiRequests,
) -> None:
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": OPERATOR},
        "data": {"suspended": "true"},
    }
    assert operator("POST", CONFIG_MAPS, body).status == 403
    one = f"{CONFIG_MAPS}/{OPERATOR}?fieldManager=test"
    made = operator("PATCH", one, body, content_type=APPLY)
    assert made.status == 201, made
    assert operator("GET", one).body["data"] == {"suspended": "true"}
    selected = operator("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name%3D{OPERATOR}")
    assert [found["metadata"]["name"] for found in selected.body["items"]] == [OPERATOR]
    assert operator("GET", CONFIG_MAPS).status == 403
    body["metadata"]["name"] = "other"
    other = operator("PATCH", f"{CONFIG_MAPS}/other?fieldManager=test", body, content_type=APPLY)
    assert other.status == 403


def test_the_runner_repairs_and_reads_no_secret(runner: ApiRequests) -> None:
    for access in (
        ("patch", "deployments", "", "apps", "shop", "checkout"),
        ("patch", "deployments", "scale", "apps", "shop", "checkout"),
        ("create", "pods", "eviction", "", "shop", "a"),
        ("delete", "pods", "", "", "shop", "a"),
        ("patch", "nodes", "", "", "", "worker-7"),
    ):
        assert allowed(runner, access), access
    for access in (
        ("get", "secrets", "", "", "shop", "a"),
        ("create", "pods", "", "", "shop", ""),
        ("create", "jobs", "", "batch", "shop", ""),
        ("delete", "deployments", "", "apps", "shop", "checkout"),
        ("patch", "workflowexecutions", "", "kubernaut.ai", "default", "a"),
        ("create", "clusterrolebindings", "", "rbac.authorization.k8s.io", "", ""),
    ):
        assert not allowed(runner, access), access
