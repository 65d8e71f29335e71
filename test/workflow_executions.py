"""What tests say to the API server about WorkflowExecutions, and what they read back.

PipelineRuns and Jobs are completed here by hand, as Tekton and the Job controller write it.
"""

import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2

from kubernaut.local import LocalCluster
from kubernaut.local.cluster import Answer
from kubernaut.workflowexecution import lock_name
from test.datastorage_service import DataStorageProcess
from test.kubernetes_cluster import new_namespace
from test.polling import wait_for

Object = dict[str, Any]
GROUP = "/apis/kubernaut.ai/v1alpha1"
BUNDLE = "registry.example/workflows/restart:1.0.0"
TASKS = [
    {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "name": f"a-task-run-that-is-gone-{place}",
        "pipelineTaskName": place,
    }
    for place in ("first", "second")
]
"""What a PipelineRun says of the TaskRuns that it has started."""
_KINDS = {
    "pipelineruns": "/apis/tekton.dev/v1",
    "taskruns": "/apis/tekton.dev/v1",
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
}


def now_text() -> str:
    """As the API writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Executions:
    """The WorkflowExecutions of one namespace, and what runs them.

    Args:
        cluster: where.
        namespace: of the WorkflowExecutions; its name makes targets of this test its own.
        execution_namespace: where they are run.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        namespace: str,
        execution_namespace: str = "kubernaut-workflows",
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.execution_namespace = execution_namespace

    def target(self, name: str = "app") -> str:
        """A target that no other test has."""
        return f"{self.namespace}/deployment/{name}"

    def manifest(
        self,
        name: str = "wfe",
        *,
        target: str | None = None,
        engine: str | None = "tekton",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        finalizers: Sequence[str] = (),
        workflow: Mapping[str, Any] | None = None,
        request: str | None = None,
        **spec: Any,
    ) -> Object:
        """A valid object: `workflow` changes `workflowRef`, `spec` the rest; None leaves out."""
        reference: Object = {
            "workflowId": "restart-deployment",
            "version": "1.0.0",
            "workflowName": "Restart a deployment",
            "actionType": "RestartDeployment",
            "executionBundle": BUNDLE,
            "executionEngine": engine,
        } | dict(workflow or {})
        whole: Object = {
            "remediationRequestRef": {"name": request or f"rr-{self.namespace}-{name}"},
            "workflowRef": {key: value for key, value in reference.items() if value is not None},
            "targetResource": self.target(name) if target is None else target,
            "parameters": {"NAMESPACE": "payments", "REPLICA_COUNT": "3"},
        } | spec
        return {
            "apiVersion": "kubernaut.ai/v1alpha1",
            "kind": "WorkflowExecution",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": dict(labels or {}),
                "annotations": dict(annotations or {}),
                "finalizers": list(finalizers),
            },
            "spec": {key: value for key, value in whole.items() if value is not None},
        }

    def _path(self, name: str = "", subresource: str = "") -> str:
        parts = (GROUP, "namespaces", self.namespace, "workflowexecutions", name, subresource)
        return "/".join(part for part in parts if part)

    def create(self, name: str = "wfe", **given: Any) -> Object:
        """Create one; see `manifest`."""
        answer = self.cluster.api("POST", self._path(), self.manifest(name, **given))
        assert answer.status == 201, answer
        return dict(answer.body)

    def get(self, name: str = "wfe") -> Object:
        answer = self.cluster.api("GET", self._path(name))
        assert answer.status == 200, answer
        return dict(answer.body)

    def status(self, name: str = "wfe") -> Object:
        return dict(self.get(name).get("status", {}))

    def exists(self, name: str = "wfe") -> bool:
        return self.cluster.api("GET", self._path(name)).status == 200

    def delete(self, name: str = "wfe") -> None:
        answer = self.cluster.api("DELETE", self._path(name))
        assert answer.status in (200, 202, 404), answer

    def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None:
        self.patch(self._path(name), {"metadata": {"annotations": dict(annotations)}})

    def patch_status(self, name: str, status: Object) -> None:
        """Write a status by hand, as no controller would."""
        self.patch(self._path(name, "status"), {"status": status})

    def patch(self, path: str, body: Object) -> Answer:
        answer = self.cluster.api("PATCH", path, body, content_type="application/merge-patch+json")
        assert answer.status == 200, answer
        return answer

    def wait(self, name: str, check: Callable[[Object], bool], timeout: float, what: str) -> Object:
        """The object once `check` holds for it."""

        def look() -> Object | None:
            seen = self.get(name)
            return seen if check(seen) else None

        return wait_for(look, timeout, f"{self.namespace}/{name}: {what}") or {}

    def wait_phase(self, name: str, phase: str, timeout: float = 15) -> Object:
        """The status once the phase is reached."""

        def reached(seen: Object) -> bool:
            found = seen.get("status", {}).get("phase")
            assert found in (None, "Pending", "Running", phase), seen["status"]
            return bool(found == phase)

        return dict(self.wait(name, reached, timeout, f"phase {phase}")["status"])

    def condition(self, name: str, type_: str) -> Object | None:
        found = self.status(name).get("conditions", [])
        return next((dict(one) for one in found if one["type"] == type_), None)

    def wait_condition(
        self, name: str, type_: str, status: str = "True", timeout: float = 30
    ) -> Object:
        def look() -> Object | None:
            found = self.condition(name, type_)
            return found if found and found["status"] == status else None

        return wait_for(look, timeout, f"{self.namespace}/{name}: {type_}={status}") or {}

    def child_path(self, plural: str, name: str = "", namespace: str | None = None) -> str:
        place = namespace or self.execution_namespace
        return f"{_KINDS[plural]}/namespaces/{place}/{plural}" + (f"/{name}" if name else "")

    def child(self, target: str, plural: str = "pipelineruns") -> Object | None:
        """What runs a workflow on a target, if there is one."""
        answer = self.cluster.api("GET", self.child_path(plural, lock_name(target)))
        return dict(answer.body) if answer.status == 200 else None

    def wait_child(self, target: str, plural: str = "pipelineruns", timeout: float = 15) -> Object:
        return wait_for(lambda: self.child(target, plural), timeout, f"{plural} of {target}") or {}

    def wait_no_child(self, target: str, plural: str = "pipelineruns", timeout: float = 45) -> None:
        wait_for(lambda: self.child(target, plural) is None, timeout, f"no {plural} of {target}")

    def child_version(self, plural: str = "pipelineruns") -> str:
        """The version of the API server's list of children, for `created_since`."""
        answer = self.cluster.api("GET", self.child_path(plural))
        return str(answer.body["metadata"]["resourceVersion"])

    def created_since(self, version: str, plural: str = "pipelineruns") -> list[str]:
        """The uids of all children that were created after a version, those that are gone too."""
        events = self.history(version, plural)
        return [event["object"]["metadata"]["uid"] for event in events if event["type"] == "ADDED"]

    def history(self, version: str, plural: str = "pipelineruns") -> list[Object]:
        """The changes of children after a version, as a watch tells them, and in the next second.

        From the history that the API server keeps; how long depends on how much happens.
        """
        answer = httpx2.get(
            f"{self.cluster.url}{self.child_path(plural)}",
            params={"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"},
            headers={"Authorization": f"Bearer {self.cluster.token}"},
            verify=ssl.create_default_context(cafile=str(self.cluster.ca_file)),
            trust_env=False,
            timeout=30,
        )
        events = [json.loads(line) for line in answer.text.splitlines()]
        assert all(event["type"] != "ERROR" for event in events), events
        return events

    def delete_child(self, target: str, plural: str = "pipelineruns") -> None:
        answer = self.cluster.api("DELETE", self.child_path(plural, lock_name(target)))
        assert answer.status in (200, 202), answer

    def set_pipeline_run(
        self,
        target: str,
        status: str,
        reason: str,
        message: str,
        *,
        started: bool = True,
        **more: Any,
    ) -> None:
        """Write the status of a PipelineRun as Tekton writes it; `more` are members of it."""
        moment = now_text()
        body: Object = {
            "conditions": [
                {
                    "type": "Succeeded",
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": moment,
                }
            ]
        } | more
        if started:
            body.setdefault("startTime", moment)
        if status != "Unknown":
            body.setdefault("completionTime", moment)
        path = self.child_path("pipelineruns", lock_name(target))
        self.patch(f"{path}/status", {"status": body})

    def begin(self, name: str = "wfe", **given: Any) -> str:
        """Create one and let Tekton begin with the first of two tasks; gives its target."""
        target = str(self.create(name, **given)["spec"]["targetResource"])
        self.wait_phase(name, "Running")
        self.tell_tasks(target, done=0)
        self.wait_condition(name, "ExecutionRunning")
        return target

    def tell_tasks(self, target: str, *, done: int) -> None:
        """Write how many of the two tasks of a running PipelineRun have succeeded."""
        message = f"Tasks Completed: {done} (Failed: 0, Cancelled 0), Incomplete: {2 - done}"
        self.set_pipeline_run(target, "Unknown", "Running", message, childReferences=TASKS)

    def succeed(self, target: str, **more: Any) -> None:
        self.set_pipeline_run(
            target, "True", "Completed", "PipelineRun completed successfully", **more
        )

    def fail(
        self,
        target: str,
        reason: str = "TaskRunFailed",
        message: str = "task failed with exit code 1",
        *,
        started: bool = True,
        **more: Any,
    ) -> None:
        self.set_pipeline_run(target, "False", reason, message, started=started, **more)

    def add_task_run(self, target: str, task: str, status: Object) -> Object:
        """Make a TaskRun of the PipelineRun as Tekton does; gives the reference to it."""
        run = self.wait_child(target)["metadata"]
        name = f"{run['name']}-{task}"
        path = self.child_path("taskruns")
        owner = {
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "name": run["name"],
            "uid": run["uid"],
            "controller": True,
        }
        body = {
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "metadata": {
                "name": name,
                "labels": {"tekton.dev/pipelineRun": run["name"]},
                "ownerReferences": [owner],
            },
            "spec": {"taskRef": {"name": task}},
        }
        answer = self.cluster.api("POST", path, body)
        assert answer.status == 201, answer
        self.patch(f"{path}/{name}/status", {"status": {"podName": f"{name}-pod"} | status})
        return {
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "name": name,
            "pipelineTaskName": task,
        }

    def events(self, name: str) -> list[Object]:
        """The Events about an object, oldest first."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        answer = self.cluster.api("GET", path)
        assert answer.status == 200, answer
        found = [one for one in answer.body["items"] if one["regarding"].get("name") == name]
        return sorted(found, key=lambda one: str(one["eventTime"]))

    def reasons(self, name: str) -> list[str]:
        """The reasons of its Events."""
        return [one["reason"] for one in self.events(name)]

    def wait_told(self, name: str, expected: Sequence[tuple[str, str, str]]) -> None:
        """Until its Events are exactly these, in this order: type, reason and note of each."""

        def told() -> list[tuple[str, str, str]]:
            return [(one["type"], one["reason"], one["note"]) for one in self.events(name)]

        try:
            wait_for(lambda: told() == list(expected), 10, f"{self.namespace}/{name}: Events")
        except AssertionError as error:
            raise AssertionError(f"{told()} != {list(expected)}") from error


def new_executions(
    cluster: LocalCluster, execution_namespace: str = "kubernaut-workflows"
) -> Executions:
    """In a new namespace."""
    return Executions(cluster, new_namespace(cluster), execution_namespace)


class Trails:
    """What DataStorage has of a chain."""

    def __init__(self, service: DataStorageProcess) -> None:
        self._service = service

    def events(self, correlation_id: str) -> list[Object]:
        """All events, in the order of the chain."""
        answer = self._service.get(
            "/api/v1/audit/events", correlation_id=correlation_id, limit=1000
        )
        assert answer.status_code == 200, answer.text
        found: list[Object] = answer.json()["data"]
        return sorted(found, key=lambda event: int(event["chain_seq"]))

    def types(self, correlation_id: str) -> list[str]:
        """Their types, without `workflowexecution.`."""
        return [
            event["event_type"].removeprefix("workflowexecution.")
            for event in self.events(correlation_id)
        ]

    def wait_types(
        self, correlation_id: str, expected: list[str], timeout: float = 15
    ) -> list[Object]:
        """The events, once they are of exactly these types in this order; and the chain holds."""

        def look() -> bool:
            return self.types(correlation_id) == expected

        try:
            wait_for(look, timeout, f"the trail of {correlation_id}")
        except AssertionError as error:
            raise AssertionError(f"{self.types(correlation_id)} != {expected}") from error
        verdict = self._service.verify(correlation_id)
        assert verdict["is_valid"], verdict
        return self.events(correlation_id)


STARTED = ["selection.completed", "execution.started", "workflow.started"]
COMPLETED = [*STARTED, "workflow.completed"]
FAILED = [*STARTED, "workflow.failed"]
