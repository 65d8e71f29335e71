"""Somebody deletes what Tekton made of a run: the PipelineRun is its end, a pod is not.

Catalogue 2.8 on a real Tekton, whose TaskRuns and pods go with the PipelineRun.
"""

from kubernaut.local import LocalCluster
from test.integration.workflowexecution.expected_trail import assert_trail
from test.integration.workflowexecution.real_tekton import of_run, pipeline, simulated, task
from test.polling import wait_for
from test.workflow_executions import COMPLETED, FAILED, Executions, Object, Trails


def begun(executions: Executions, cluster: LocalCluster, **simulation: str) -> Object:
    """Start a run of one task; gives its pod, once that runs."""
    bundle = cluster.push_bundle("workflows/deleted", [pipeline(task())])
    executions.create(annotations=simulated(**simulation), workflow={"executionBundle": bundle})
    executions.wait_phase("wfe", "Running")

    def running() -> Object | None:
        pods = of_run(executions, "pods", executions.target("wfe"))
        return next((one for one in pods if one["status"].get("phase") == "Running"), None)

    return wait_for(running, 30, "its pod runs") or {}


def test_a_run_goes_on_when_its_pod_is_deleted(
    operated_tekton: LocalCluster, tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    target = executions.target("wfe")
    pod = begun(executions, operated_tekton, delay="5s")["metadata"]
    (before,) = of_run(executions, "taskruns", target)
    deleted = operated_tekton.api("DELETE", executions.child_path("pods", pod["name"]))
    assert deleted.status == 200, deleted

    def made_again() -> bool:
        pods = of_run(executions, "pods", target)
        return pod["uid"] not in (uids := [one["metadata"]["uid"] for one in pods]) and bool(uids)

    wait_for(made_again, 20, "Tekton makes its pod again")
    assert executions.status()["phase"] == "Running"
    assert [one["metadata"]["uid"] for one in of_run(executions, "taskruns", target)] == [
        before["metadata"]["uid"]
    ]
    executions.wait_phase("wfe", "Completed", 30)
    assert_trail(trails, executions.get(), COMPLETED)


def test_a_run_is_over_when_its_pipeline_run_is_deleted(
    operated_tekton: LocalCluster, tekton_executions: Executions, trails: Trails
) -> None:
    executions = tekton_executions
    target = executions.target("wfe")
    begun(executions, operated_tekton, hang="true")
    executions.wait_condition("wfe", "ExecutionRunning")
    (former,) = of_run(executions, "taskruns", target)
    executions.delete_child(target)
    status = executions.wait_phase("wfe", "Failed")
    details = status["failureDetails"]
    assert details["message"] == "PipelineRun was deleted externally"
    assert (details["reason"], details["failedTaskName"]) == ("Unknown", "")
    # The next one on the target gets a task of its own, not what is left of this one.
    bundle = executions.get()["spec"]["workflowRef"]["executionBundle"]
    executions.create(
        "next",
        target=target,
        annotations=simulated(delay="2s"),
        workflow={"executionBundle": bundle},
    )

    def own() -> bool:
        run = executions.child(target)
        made = of_run(executions, "taskruns", target)
        owners = [one["metadata"]["ownerReferences"][0]["uid"] for one in made]
        return run is not None and owners == [run["metadata"]["uid"]]

    wait_for(own, 45, "a task of its own")
    (made,) = of_run(executions, "taskruns", target)
    assert made["metadata"]["uid"] != former["metadata"]["uid"]
    executions.wait_phase("next", "Completed", 45)
    assert_trail(trails, executions.get(), FAILED)
    assert_trail(trails, executions.get("next"), COMPLETED)
