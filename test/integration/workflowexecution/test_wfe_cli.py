"""`kubernaut wfe list` and `describe`, and clusters that do not answer as one hopes."""

import json
import os
import re
import subprocess
from pathlib import Path

from kubernaut.kubernetes import Condition, ObjectMeta
from kubernaut.local import LocalCluster
from kubernaut.workflowexecution import (
    WORKFLOW_EXECUTIONS,
    WorkflowExecution,
)
from test.audit_command import environment
from test.integration.workflowexecution.wfe_command import (
    COMMAND,
    COMPLETED,
    FAILED,
    RUNNING,
    SECONDS,
    Wfe,
    cluster,
    executions,
    manifest,
    wfe,
)
from test.workflow_executions import Executions, new_executions

__all__ = ["cluster", "executions", "wfe"]  # Fixtures, found by name.


def test_a_list_has_what_kubectl_has_and_why_it_failed(wfe: Wfe, executions: Executions) -> None:
    for name, status in (("b-good", COMPLETED), ("a-bad", FAILED)):
        executions.create(name)
        executions.patch_status(name, status)
    executions.create("c-new")
    rows = [re.split(r" {2,}", line) for line in wfe.says("list").splitlines()]
    names = ["NAME", "PHASE", "WORKFLOW", "TARGET", "DURATION", "REASON", "AGE"]
    assert rows[0] == names
    workflow = "Restart a deployment"
    bad, good, new = (executions.target(name) for name in ("a-bad", "b-good", "c-new"))
    assert rows[1][:6] == ["a-bad", "Failed", workflow, bad, "2m30s", "TaskFailed"]
    assert rows[2][:5] == ["b-good", "Completed", workflow, good, "45s"]
    assert rows[3][:4] == ["c-new", "Pending", workflow, new]
    assert all(re.fullmatch(r"\d+s", row[-1]) for row in rows[1:])


def test_a_list_can_be_of_all_namespaces_of_some_and_whole(
    wfe: Wfe, cluster: LocalCluster, executions: Executions
) -> None:
    executions.create("here", labels={"team": "shop"})
    executions.create("beside")
    new_executions(cluster).create("there")
    assert wfe.says("list", "-o", "name", "-l", "team=shop") == (
        "workflowexecution.kubernaut.ai/here\n"
    )
    (found,) = json.loads(wfe.says("list", "-o", "json", "-l", "team=shop"))["items"]
    whole = executions.get("here")
    del whole["metadata"]["managedFields"]
    assert found == whole
    done = subprocess.run(
        [*COMMAND, "list", "-A"], check=True, env=wfe.environment, capture_output=True, text=True
    )
    head, *rows = done.stdout.splitlines()
    assert head.startswith("NAMESPACE ")
    listed = {tuple(row.split()[:2]) for row in rows}
    assert {(executions.namespace, "here"), (executions.namespace, "beside")} <= listed
    assert "there" in {name for _, name in listed}


def test_an_empty_list_says_so_beside_its_output(wfe: Wfe, executions: Executions) -> None:
    done = wfe("list")
    assert done.stdout == ""
    assert done.stderr == f"there are no WorkflowExecutions in namespace {executions.namespace}\n"


def test_a_description_has_everything_about_a_failure(
    wfe: Wfe, cluster: LocalCluster, executions: Executions
) -> None:
    made = executions.create("bad", labels={"team": "shop"}, annotations={"note": "x\x1b[2J"})
    executions.patch_status("bad", FAILED)
    for number, (reason, second) in enumerate((("WorkflowFailed", 5), ("ExecutionCreated", 1))):
        event = {
            "metadata": {"name": f"bad.{number}"},
            "eventTime": f"2026-11-24T09:30:0{second}.000001Z",
            "reportingController": "workflowexecution-controller",
            "reportingInstance": "one",
            "action": "Reconcile",
            "reason": reason,
            "note": f"note of {reason}",
            "type": "Normal",
            "regarding": {
                "apiVersion": made["apiVersion"],
                "kind": made["kind"],
                "name": "bad",
                "namespace": executions.namespace,
                "uid": made["metadata"]["uid"],
            },
        }
        if reason == "WorkflowFailed":
            event["series"] = {"count": 3, "lastObservedTime": "2026-11-24T09:31:00.000001Z"}
        path = f"/apis/events.k8s.io/v1/namespaces/{executions.namespace}/events"
        answer = cluster.api("POST", path, event)
        assert answer.status == 201, answer
    executions.create("other")
    said = wfe.says("describe", "bad")
    for part in (
        "Name:           bad\n",
        f"Namespace:      {executions.namespace}\n",
        "Labels:         team: shop\n",
        "Annotations:    note: x\\x1b[2J\n",  # Nothing moves the cursor.
        "  Workflow:       Restart a deployment 1.0.0 (restart-deployment)\n",
        f"  Target:         {executions.target('bad')}\n",
        "  Parameters:     NAMESPACE: payments\n                  REPLICA_COUNT: 3\n",
        "  Phase:          Failed\n",
        "  Started:        Tue, 24 Nov 2026 09:30:00 +0000\n",
        "  Duration:       2m30s\n",
        "  Execution:      PipelineRun wfe-0123456789abcdef\n",
        "  Engine says:    1 of 2 tasks done; Running\n",
        "Failure:\n  Reason:         TaskFailed\n  Task:           drain\n",
        "  Step:           evict\n  Exit code:      1\n",
        "  Acted:          the workflow may have acted on the target\n",
        "  Message:        step evict exited with code 1\n",
        "  Summary:\n    Workflow 'drain' failed.\n    Reason: TaskFailed\n",
    ):
        assert part in said
    conditions = said.partition("Conditions:\n")[2].splitlines()
    assert re.split(r" {2,}", conditions[0])[1:] == ["Type", "Status", "Reason", "Age", "Message"]
    assert conditions[1].split()[:3] == ["ExecutionComplete", "False", "TaskFailed"]
    events = said.partition("Events:\n")[2].splitlines()
    assert [line.split()[1] for line in events[:3]] == [
        "Reason",
        "ExecutionCreated",
        "WorkflowFailed",
    ]
    assert " (x3 over " in events[2]
    steps = said.partition("Next:\n")[2]
    uid = made["metadata"]["uid"]
    for step in (
        f"Look at {executions.target('bad')} before you run anything on it again",
        f"kubectl describe pipelinerun -A -l kubernaut.ai/workflow-execution-uid={uid}\n",
        f"kubernaut wfe trail bad -n {executions.namespace}\n",
    ):
        assert step in steps


def test_a_description_of_a_good_one_needs_no_next_step(wfe: Wfe, executions: Executions) -> None:
    executions.create("good")
    executions.patch_status("good", COMPLETED)
    said = wfe.says("describe", "good")
    assert "Failure:" not in said
    assert "Next:" not in said
    assert "Events:         <none>\n" in said


def test_one_that_is_not_there_is_one_line_with_what_may_be_meant(
    wfe: Wfe, cluster: LocalCluster, executions: Executions
) -> None:
    executions.create("restart-checkout")
    other = new_executions(cluster)
    unique = f"only-{other.namespace}"
    other.create(unique)
    line = f"there is no WorkflowExecution {{}} in namespace {executions.namespace}"
    assert wfe.complains("describe", "restart-chekout") == (
        line.format("restart-chekout") + "; similar: restart-checkout"
    )
    assert wfe.complains("describe", unique) == (
        line.format(unique) + f"; it is in {other.namespace}: -n {other.namespace}"
    )
    assert wfe.complains("cancel", "zzz") == line.format("zzz")


def test_a_cluster_that_does_not_answer_is_one_line(cluster: LocalCluster, tmp_path: Path) -> None:
    nobody = tmp_path / "kubeconfig"
    text = cluster.kubeconfig_path.read_text().replace(cluster.url, "https://127.0.0.1:1")
    nobody.write_text(text)
    for given in ({"KUBECONFIG": nobody}, {}):
        arguments = [] if given else ["--kubeconfig", str(nobody)]
        done = subprocess.run(
            [*COMMAND, "list", *arguments],
            check=False,
            env=environment(**given),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("kubernaut: no answer from https://127.0.0.1:1: ")
        assert done.stderr.endswith("; does the cluster run?\n")
        assert done.stderr.count("\n") == 1


def test_without_a_cluster_the_ways_to_name_one_are_told(tmp_path: Path) -> None:
    variables = environment(KUBERNAUT_HOME=tmp_path)
    variables.pop("KUBECONFIG", None)
    done = subprocess.run(
        [*COMMAND, "list"], check=False, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        "kubernaut: which cluster? Set KUBECONFIG, or give --kubeconfig or --context; or start one"
        f" here: kubernaut up (none is ready in {tmp_path}/cluster)\n"
    )


def test_what_is_not_allowed_is_one_line(wfe: Wfe, cluster: LocalCluster) -> None:
    wfe.environment["KUBECONFIG"] = str(cluster.kubeconfig_for("nobody-special"))
    for verb, arguments in (("list", []), ("describe", ["x"]), ("watch", []), ("cancel", ["x"])):
        line = wfe.complains(verb, *arguments)
        assert line.startswith("not allowed: workflowexecutions.kubernaut.ai")
        assert 'User "nobody-special" cannot' in line


def test_a_cluster_without_our_kind_says_how_to_install_it() -> None:
    with LocalCluster(controller_manager=False, scheduler=False, kwok=False) as bare:
        line = Wfe(bare, "default").complains("list")
    assert line.endswith(
        "does not know WorkflowExecutions: kubernaut operator crd | kubectl apply -f -"
    )


def test_the_objects_of_these_tests_are_what_the_operator_writes() -> None:
    """So that a status that no type knows does not make a test pass."""
    for status in (RUNNING, COMPLETED, FAILED):
        text = json.dumps({"metadata": {"name": "a"}, "spec": manifest()["spec"], "status": status})
        read = WORKFLOW_EXECUTIONS.decoder.decode(text)
        assert isinstance(read, WorkflowExecution)
        assert read.metadata == ObjectMeta(name="a")
        assert all(isinstance(one, Condition) for one in read.status.conditions)
    assert os.environ.get("KUBECONFIG", "") == ""
