"""What a running cluster does, asked of the real programs."""

import http.client
import json
import ssl
from typing import Any

import pytest

from kubernaut.local import LocalCluster
from test.integration.local.widgets import serve_widgets, widget
from test.kubernetes_cluster import new_namespace
from test.polling import wait_for

SIMULATION = "simulation.kubernaut.ai"


def job(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "example.test/nothing:1"}]
    return {
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotations or {}},
                "spec": {"restartPolicy": "Never", "containers": containers},
            },
            **spec,
        },
    }


def finished(cluster: LocalCluster, path: str) -> dict[str, str]:
    """The condition with which a Job ended."""

    def look() -> dict[str, str] | None:
        conditions = cluster.api("GET", path).body.get("status", {}).get("conditions", [])
        for one in conditions:
            if one["type"] in {"Complete", "Failed"} and one["status"] == "True":
                return dict(one)
        return None

    return wait_for(look, 30, "the end of the job") or {}


def pods(cluster: LocalCluster, namespace: str) -> list[dict[str, Any]]:
    return list(cluster.api("GET", f"/api/v1/namespaces/{namespace}/pods").body["items"])


def test_it_is_ready_and_shows_its_version(local_cluster: LocalCluster) -> None:
    assert local_cluster.api("GET", "/readyz").body == "ok"
    assert local_cluster.api("GET", "/version").body["gitVersion"].startswith("v1.")


def test_nobody_may_do_anything(local_cluster: LocalCluster) -> None:
    anonymous = local_cluster.api_as()("GET", "/api/v1/namespaces")
    assert anonymous.status == 403
    assert "system:anonymous" in anonymous.body["message"]
    assert local_cluster.api_as(token="wrong")("GET", "/api/v1/namespaces").status == 401


def test_a_token_and_a_certificate_of_the_administrator_are_taken(
    local_cluster: LocalCluster,
) -> None:
    by_token = local_cluster.api_as(token=local_cluster.token)
    assert by_token("GET", "/api/v1/namespaces").status == 200
    config = json.loads(local_cluster.kubeconfig_path.read_text())
    assert config["clusters"][0]["cluster"]["server"] == local_cluster.url
    user = config["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(local_cluster.ca_file))
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    connection = http.client.HTTPSConnection(
        local_cluster.url.removeprefix("https://"), context=context
    )
    connection.request("GET", "/api/v1/nodes")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_user_may_do_what_a_binding_says(local_cluster: LocalCluster) -> None:
    namespace = new_namespace(local_cluster)
    somebody = local_cluster.api_as(
        certificate=local_cluster.client_certificate_for("somebody", ["readers", "others"])
    )
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert somebody("GET", path).status == 403
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"}
    for kind, body in (
        ("roles", {"metadata": {"name": "read"}, "rules": rules}),
        ("rolebindings", {"metadata": {"name": "read"}, "roleRef": role, "subjects": [group]}),
    ):
        assert local_cluster.api("POST", f"{rbac}/{kind}", body).status == 201
    wait_for(lambda: somebody("GET", path).status == 200, 10, "the binding")
    assert somebody("POST", path, {"metadata": {"name": "x"}}).status == 403


def test_a_token_of_a_service_account_names_it(local_cluster: LocalCluster) -> None:
    namespace = new_namespace(local_cluster)
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    wait_for(
        lambda: local_cluster.api("GET", f"{accounts}/default").status == 200,
        30,
        "the default service account",
    )
    token = local_cluster.service_account_token(namespace, "default", ["product"])
    review = {"spec": {"token": token, "audiences": ["product"]}}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    status = local_cluster.api("POST", path, review).body["status"]
    assert status["authenticated"]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    review["spec"]["audiences"] = ["another"]
    assert not local_cluster.api("POST", path, review).body["status"].get("authenticated")


def test_a_kind_is_served_and_its_rules_are_kept(local_cluster: LocalCluster) -> None:
    group = serve_widgets(local_cluster)
    path = f"/apis/{group}/v1/namespaces/default/widgets"
    assert local_cluster.api("POST", path, widget(group, "good", min=1, max=2)).status == 201
    bad = local_cluster.api("POST", path, widget(group, "bad", min=3, max=2))
    assert bad.status == 422
    assert "min must not exceed max" in bad.body["message"]
    changed = widget(group, "good", min=1, max=99) | {"status": {"phase": "Ready"}}
    status = local_cluster.api(
        "PATCH", f"{path}/good/status", changed, content_type="application/merge-patch+json"
    )
    assert status.body["status"] == {"phase": "Ready"}
    assert status.body["spec"] == {"min": 1, "max": 2}


def test_a_watch_shows_changes(local_cluster: LocalCluster) -> None:
    namespace = new_namespace(local_cluster)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    version = local_cluster.api("GET", path).body["metadata"]["resourceVersion"]
    for name in ("seen", "seen-too"):
        assert local_cluster.api("POST", path, {"metadata": {"name": name}}).status == 201
    watch = f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=1"
    events = [json.loads(line) for line in local_cluster.api("GET", watch).body.splitlines()]
    told = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    # Every namespace gets a ConfigMap of the controller manager's as well, sooner or later.
    assert [each for each in told if each[1].startswith("seen")] == [
        ("ADDED", "seen"),
        ("ADDED", "seen-too"),
    ]


def test_a_job_completes_on_a_simulated_node(local_cluster: LocalCluster) -> None:
    namespace = new_namespace(local_cluster)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    assert local_cluster.api("POST", path, job("good")).status == 201
    assert finished(local_cluster, f"{path}/good")["type"] == "Complete"
    (pod,) = pods(local_cluster, namespace)
    assert pod["spec"]["nodeName"] in local_cluster.nodes
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert "simulated by kwok" in {one.get("message") for one in pod["status"]["conditions"]}


@pytest.mark.parametrize(
    ("annotations", "exit_code", "reason"),
    [
        ({"exit-code": "3"}, 3, "Error"),
        ({"exit-code": "137", "reason": "OOMKilled", "message": "too large"}, 137, "OOMKilled"),
    ],
)
def test_a_job_fails_as_its_pod_is_told(
    local_cluster: LocalCluster, annotations: dict[str, str], exit_code: int, reason: str
) -> None:
    namespace = new_namespace(local_cluster)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    chosen = {f"{SIMULATION}/{name}": value for name, value in annotations.items()}
    assert local_cluster.api("POST", path, job("bad", chosen)).status == 201
    assert finished(local_cluster, f"{path}/bad")["type"] == "Failed"
    (pod,) = pods(local_cluster, namespace)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (exit_code, reason)
    assert ended.get("message", "") == annotations.get("message", "")


@pytest.mark.parametrize(
    "annotations",
    [{"waiting": "ImagePullBackOff"}, {"waiting": "CreateContainerConfigError"}, {"hang": "true"}],
)
def test_a_job_that_gets_nowhere_ends_at_its_deadline(
    local_cluster: LocalCluster, annotations: dict[str, str]
) -> None:
    namespace = new_namespace(local_cluster)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    chosen = {f"{SIMULATION}/{name}": value for name, value in annotations.items()}
    late = job("late", chosen, activeDeadlineSeconds=3)
    assert local_cluster.api("POST", path, late).status == 201

    def state() -> dict[str, Any] | None:
        for pod in pods(local_cluster, namespace):
            for container in pod["status"].get("containerStatuses", []):
                return dict(container["state"])
        return None

    seen = wait_for(state, 10, "the state of the container") or {}
    assert seen.get("waiting", {}).get("reason") == annotations.get("waiting")
    assert ("running" in seen) == ("hang" in annotations)
    # Reported only when the pod is gone, which the simulation sees to.
    assert finished(local_cluster, f"{path}/late")["reason"] == "DeadlineExceeded"
    assert pods(local_cluster, namespace) == []


def test_a_delay_lets_it_run_for_a_while(local_cluster: LocalCluster) -> None:
    namespace = new_namespace(local_cluster)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    slow = job("slow", {f"{SIMULATION}/delay": "2s"})
    assert local_cluster.api("POST", path, slow).status == 201
    wait_for(
        lambda: [pod["status"]["phase"] for pod in pods(local_cluster, namespace)] == ["Running"],
        10,
        "the pod running",
    )
    assert finished(local_cluster, f"{path}/slow")["type"] == "Complete"


def test_what_belongs_to_something_goes_with_it(local_cluster: LocalCluster) -> None:
    namespace = new_namespace(local_cluster)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = local_cluster.api("POST", path, {"metadata": {"name": "owner"}}).body["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    assert local_cluster.api("POST", path, owned).status == 201
    assert local_cluster.api("DELETE", f"{path}/owner").status == 200
    wait_for(
        lambda: local_cluster.api("GET", f"{path}/owned").status == 404, 30, "garbage collection"
    )


def test_nodes_say_that_they_are_simulated(local_cluster: LocalCluster) -> None:
    nodes = local_cluster.api("GET", "/api/v1/nodes").body["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["simulated-0", "simulated-1"]
    for node in nodes:
        assert node["metadata"]["labels"][f"{SIMULATION}/simulated"] == "true"
        assert node["status"]["nodeInfo"]["osImage"] == "simulated by kwok"
