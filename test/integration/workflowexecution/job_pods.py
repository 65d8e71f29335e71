"""The pods of Jobs as tests see and steer them: kwok simulates them, and annotations say how.

The Job controller makes them, counts them and deletes them; nothing of a Job is written by hand.
"""

from typing import Any, Final

from kubernaut.workflowexecution import lock_name
from test.polling import wait_for
from test.workflow_executions import Executions, Object, now_text

SIMULATION: Final = "simulation.kubernaut.ai/"


def simulated(**chosen: str | None) -> dict[str, Any]:
    """Annotations that say what a pod does; an object's are passed on to its pods."""
    return {SIMULATION + name.replace("_", "-"): value for name, value in chosen.items()}


def pods_of(executions: Executions, target: str) -> list[Object]:
    """The pods that the Job of a target has now, the oldest first."""
    selector = f"?labelSelector=batch.kubernetes.io/job-name={lock_name(target)}"
    answer = executions.cluster.api("GET", executions.child_path("pods") + selector)
    assert answer.status == 200, answer
    return sorted(answer.body["items"], key=lambda one: str(one["metadata"]["creationTimestamp"]))


def wait_pod(
    executions: Executions, target: str, phase: str = "Running", timeout: float = 30
) -> Object:
    """The newest pod of a target that is in a phase and is not being deleted."""

    def look() -> Object | None:
        found = [
            pod
            for pod in pods_of(executions, target)
            if pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]
        ]
        return found[-1] if found else None

    return wait_for(look, timeout, f"a pod of {target} that is {phase}") or {}


def begin_job(executions: Executions, name: str = "wfe", **given: Any) -> str:
    """Create one whose pod runs until `end_pod`; gives its target once all is seen to run."""
    target = executions.create(name, engine="job", annotations=simulated(hang="true"), **given)[
        "spec"
    ]["targetResource"]
    executions.wait_phase(name, "Running")
    wait_pod(executions, target)
    executions.wait_condition(name, "ExecutionRunning")
    return str(target)


def end_pod(executions: Executions, target: str, **how: str) -> str:
    """Let the pod that runs come to its end; gives its name."""
    name = str(wait_pod(executions, target)["metadata"]["name"])
    annotations = simulated(hang=None, **how)
    path = executions.child_path("pods", name)
    executions.patch(path, {"metadata": {"annotations": annotations}})
    return name


def tell_of_pod(executions: Executions, pod: str, reason: str, message: str) -> None:
    """Write an Event about a pod as a kubelet does, which kwok is not."""
    place = executions.execution_namespace
    body = {
        "metadata": {"generateName": f"{pod}.", "namespace": place},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": place},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": now_text(),
        "lastTimestamp": now_text(),
        "source": {"component": "kubelet"},
    }
    answer = executions.cluster.api("POST", f"/api/v1/namespaces/{place}/events", body)
    assert answer.status == 201, answer
