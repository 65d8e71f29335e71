"""PipelineRuns and TaskRuns as Tekton writes them, to what a WorkflowExecution says of them."""

from typing import Any

import pytest

from kubernaut.workflowexecution._api import Reason
from kubernaut.workflowexecution.engines import PIPELINE_RUNS, TASK_RUNS, Failure, PipelineRun
from kubernaut.workflowexecution.engines._tekton import child_of
from kubernaut.workflowexecution.engines._tekton_failure import failure_of
from test.unit.workflowexecution.objects import decoded

TALLY = "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 0"
CANCELLED = (
    'TaskRun "x-build" was cancelled. TaskRun cancelled as the PipelineRun it belongs to has'
)
IMAGE = "example.test/step:1"
STARTED = "2026-05-04T12:00:00Z"


def condition(status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": "Succeeded", "status": status, "reason": reason, "message": message}


def pipeline_run(
    reason: str, message: str, *tasks: str, status: str = "False", started: bool = True
) -> PipelineRun:
    body: dict[str, Any] = {
        "conditions": [condition(status, reason, message)],
        "childReferences": [
            {"kind": "TaskRun", "name": f"x-{task}", "pipelineTaskName": task} for task in tasks
        ],
    }
    if started:
        body["startTime"] = STARTED
    return decoded(PIPELINE_RUNS, {"metadata": {"name": "x"}, "status": body})


def failed(run: PipelineRun, **tasks: tuple[str, str, list[dict[str, Any]]] | str) -> Failure:
    """The failure, where tasks are `(reason, message, steps)`, or the reason of a success."""
    found = {}
    for name, task in tasks.items():
        given = ("True", task, "", []) if isinstance(task, str) else ("False", *task)
        status, reason, message, steps = given
        found[f"x-{name}"] = decoded(
            TASK_RUNS,
            {
                "metadata": {"name": f"x-{name}"},
                "status": {"conditions": [condition(status, reason, message)], "steps": steps},
            },
        )
    return failure_of(run, found)


def ended(code: int, reason: str, message: str = "", *, image: str = IMAGE) -> dict[str, Any]:
    how = {"exitCode": code, "reason": reason, "message": message, "finishedAt": STARTED}
    return {"name": "run", "container": "step-run", "imageID": image, "terminated": how}


def ended_by_tekton(reason: str, *, image: str = "") -> dict[str, Any]:
    said = "Step run terminated as pod x-build-pod is terminated"
    return {**ended(1, reason, said, image=image), "terminationReason": reason}


def waiting(reason: str) -> dict[str, Any]:
    return {"name": "run", "waiting": {"reason": reason, "message": f"{reason} of it"}}


def test_a_step_that_failed_is_named_with_its_exit_code_and_words() -> None:
    step = ended(1, "Error", "disk full\non /data")
    run = pipeline_run("Failed", TALLY, "build")
    assert failed(run, build=("StepFailed", '"step-run" exited with code 1: Error', [step])) == (
        Failure(
            reason="TaskFailed",
            message="task build (TaskRun x-build) step run exited with code 1: Error: disk full"
            " on /data",
            task_name="x-build",
            task_index=0,
            step_name="run",
            exit_code=1,
            was_execution_failure=True,
        )
    )


def test_steps_that_were_skipped_after_a_failure_are_not_blamed() -> None:
    second = {**ended(1, "Error", '[{"key":"Reason","value":"Skipped","type":3}]'), "name": "two"}
    steps = [ended(0, "Completed"), {**ended(3, "Error"), "name": "one"}, second]
    found = failed(pipeline_run("Failed", TALLY, "build"), build=("StepFailed", "", steps))
    assert (found.step_name, found.exit_code) == ("one", 3)
    assert "Skipped" not in found.message


@pytest.mark.parametrize(
    ("reason", "message", "steps", "expected"),
    [
        (
            "StepOOM",
            '"step-run" exited with code 137: OOMKilled',
            [ended(137, "OOMKilled")],
            ("OOMKilled", True, 137),
        ),
        (
            "TaskRunImagePullFailed",
            'the step "run" in TaskRun "x-build" failed to pull the image "".',
            [ended_by_tekton("TaskRunImagePullFailed")],
            ("ImagePullBackOff", False, None),
        ),
        (
            "CreateContainerConfigError",
            "Failed to create pod due to config error",
            [waiting("CreateContainerConfigError")],
            ("ConfigurationError", False, None),
        ),
        (
            "PodCreationFailed",
            'translating TaskSpec to Pod: serviceaccounts "nope" not found. Maybe invalid TaskSpec',
            [{"name": "run"}],
            ("ConfigurationError", False, None),
        ),
        (
            "PodAdmissionFailed",
            'pods "x-build-pod" is forbidden: violates PodSecurity "restricted:latest"',
            [{"name": "run"}],
            ("Forbidden", False, None),
        ),
        (
            "TaskRunTimeout",
            'TaskRun "x-build" failed to finish within "2s"',
            [ended_by_tekton("TaskRunTimeout", image=IMAGE)],
            ("DeadlineExceeded", True, None),
        ),
        (
            "PodEvicted",
            "The node was low on resource: memory.",
            [],
            ("ResourceExhausted", True, None),
        ),
        (
            "StepFailed",
            '"step-run" exited with code 1: Error',
            [ended(1, "Error", 'deployments.apps "app" is forbidden: User "x" cannot patch')],
            ("Forbidden", True, 1),
        ),
    ],
)
def test_what_a_task_run_says_is_the_reason(
    reason: str,
    message: str,
    steps: list[dict[str, Any]],
    expected: tuple[Reason, bool, int | None],
) -> None:
    run = pipeline_run("Failed", TALLY, "build")
    found = failed(run, build=(reason, message, steps))
    assert (found.reason, found.was_execution_failure, found.exit_code) == expected
    assert (found.task_name, found.task_index) == ("x-build", 0)
    assert "task build (TaskRun x-build)" in found.message


def test_what_a_container_waited_for_is_told() -> None:
    run = pipeline_run("Failed", TALLY, "build")
    task = (
        "CreateContainerConfigError",
        "Failed to create",
        [waiting("CreateContainerConfigError")],
    )
    found = failed(run, build=task)
    assert found.message == (
        "task build (TaskRun x-build): Failed to create; step run was waiting:"
        " CreateContainerConfigError: CreateContainerConfigError of it"
    )


@pytest.mark.parametrize(
    ("earlier", "expected", "acted"),
    [
        ("", "DeadlineExceeded", True),
        ("\nPrevious status: [Pending] build step is pending", "DeadlineExceeded", True),
        ("\nPrevious status: [ExceededResourceQuota] pods exceeded", "ResourceExhausted", False),
        ("\nPrevious status: [PullImageFailed] build step is pending", "ImagePullBackOff", False),
    ],
)
def test_a_run_out_of_time_tells_what_it_waited_for(
    earlier: str,
    expected: Reason,
    acted: bool,  # noqa: FBT001  (a column)
) -> None:
    run = pipeline_run(
        "PipelineRunTimeout", 'PipelineRun "x" failed to finish within "2s"', "build"
    )
    step = ended_by_tekton("TaskRunCancelled")
    found = failed(run, build=("TaskRunCancelled", f"{CANCELLED} timed out.{earlier}", [step]))
    assert (found.reason, found.was_execution_failure) == (expected, acted)
    assert found.exit_code is None
    assert found.message.startswith('PipelineRun "x" failed to finish within "2s"; task build')
    assert earlier.strip() in found.message


@pytest.mark.parametrize(
    ("reason", "message", "expected", "acted"),
    [
        (
            "CouldntGetPipeline",
            "cannot retrieve the oci image: GET http://a/v2/none: NAME_UNKNOWN: Unknown name",
            "ImagePullBackOff",
            False,
        ),
        (
            "CouldntGetPipeline",
            "cannot retrieve the oci image: dial tcp 127.0.0.1:1: connect: connection refused",
            "ImagePullBackOff",
            False,
        ),
        (
            "CouldntGetPipeline",
            "could not find object in image with kind: pipeline and name: workflow",
            "ConfigurationError",
            False,
        ),
        ("CouldntGetTask", "it contains Tasks that don't exist", "ConfigurationError", False),
        (
            "ParameterMissing",
            "[User error] pipelineRun missing parameters: [TARGET]",
            "ConfigurationError",
            False,
        ),
        (
            "InvalidWorkspaceBindings",
            'pipeline requires workspace with name "s"',
            "ConfigurationError",
            False,
        ),
        ("Cancelled", 'PipelineRun "x" was cancelled', "Unknown", False),
    ],
)
def test_a_run_that_never_had_a_task_says_itself_why(
    reason: str,
    message: str,
    expected: Reason,
    acted: bool,  # noqa: FBT001  (a column)
) -> None:
    found = failed(pipeline_run(reason, message))
    assert found == Failure(reason=expected, message=message, was_execution_failure=acted)


def test_a_cancelled_run_may_have_acted() -> None:
    run = pipeline_run("Cancelled", 'PipelineRun "x" was cancelled', "build")
    step = ended_by_tekton("TaskRunCancelled", image=IMAGE)
    found = failed(run, build=("TaskRunCancelled", f"{CANCELLED} been cancelled.", [step]))
    assert (found.reason, found.was_execution_failure) == ("Unknown", True)
    assert found.message.startswith('PipelineRun "x" was cancelled; task build')


def test_a_result_that_is_missing_is_an_error_of_a_workflow_that_ran() -> None:
    message = "invalid pipelineresults [out], the referenced results don't exist"
    found = failed(pipeline_run("CouldntGetPipelineResult", message, "build"), build="Succeeded")
    assert (found.reason, found.was_execution_failure) == ("ConfigurationError", True)
    assert (found.message, found.task_name) == (message, "")


def test_a_second_task_that_cannot_start_leaves_what_the_first_did() -> None:
    first = ("FailureIgnored", '"step-run" exited with code 1', [ended(1, "Error")])
    second = ("TaskRunImagePullFailed", "no image", [ended_by_tekton("TaskRunImagePullFailed")])
    run = pipeline_run("Failed", TALLY, "first", "second")
    found = failed(run, first=first, second=second)
    assert (found.reason, found.was_execution_failure) == ("ImagePullBackOff", True)
    assert (found.task_name, found.task_index) == ("x-second", 1)
    assert found.completed_tasks is None, "what is ignored has not succeeded"


def test_a_task_that_failed_by_itself_is_blamed_before_one_that_was_cancelled() -> None:
    run = pipeline_run("Failed", TALLY, "one", "two", "three")
    found = failed(
        run,
        one=("TaskRunCancelled", "was cancelled", []),
        two=("StepFailed", "", [ended(2, "Error")]),
        three=("StepFailed", "", [ended(3, "Error")]),
    )
    assert (found.task_name, found.task_index, found.exit_code) == ("x-two", 1, 2)
    assert found.message.endswith("; 1 more failed")


@pytest.mark.parametrize(
    ("word", "message", "reason", "acted"),
    [
        ("PipelineRunTimeout", "Not all Steps have finished", "DeadlineExceeded", True),
        ("PipelineRunTimeout", "exceeded quota: a", "ResourceExhausted", False),
        ("Cancelled", "Not all Steps have finished", "Unknown", True),
    ],
)
def test_a_task_that_tekton_is_still_to_end_is_blamed_as_if_it_were_ended(
    word: str,
    message: str,
    reason: Reason,
    acted: bool,  # noqa: FBT001  (a column)
) -> None:
    waits = "ExceededResourceQuota" if "quota" in message else "Running"
    step = {"name": "run"} if "quota" in message else {"name": "run", "running": {}}
    task = decoded(
        TASK_RUNS,
        {
            "metadata": {"name": "x-build"},
            "status": {"conditions": [condition("Unknown", waits, message)], "steps": [step]},
        },
    )
    run = pipeline_run(word, "it is over", "build")
    found = failure_of(run, {"x-build": task})
    assert (found.reason, found.was_execution_failure) == (reason, acted)
    assert found.message == (
        f"it is over; task build (TaskRun x-build) had not ended: {waits}: {message}"
    )
    assert (found.task_name, found.exit_code) == ("x-build", None)
    assert found.step_name == ("" if "quota" in message else "run")
    other = decoded(
        TASK_RUNS,
        {"metadata": {"name": "x-other"}, "status": {"conditions": [], "steps": []}},
    )
    after_another = pipeline_run(word, "it is over", "first", "build")
    good = decoded(
        TASK_RUNS,
        {
            "metadata": {"name": "x-first"},
            "status": {"conditions": [condition("True", "Succeeded", "")]},
        },
    )
    of_the_second = failure_of(after_another, {"x-first": good, "x-build": task})
    assert (of_the_second.task_index, of_the_second.completed_tasks) == (1, 1)
    both = pipeline_run(word, "it is over", "other", "build")
    of_the_first = failure_of(both, {"x-build": task, "x-other": other})
    assert of_the_first.message == "it is over; task other (TaskRun x-other) had not ended"


def test_without_its_task_runs_the_tally_is_told() -> None:
    found = failed(pipeline_run("Failed", TALLY, "build"))
    assert (found.reason, found.message, found.task_name) == ("TaskFailed", TALLY, "")
    assert found.was_execution_failure


def test_a_failure_without_words_is_told_as_one() -> None:
    found = failed(pipeline_run("", "", started=False))
    assert (found.reason, found.was_execution_failure) == ("Unknown", False)
    assert found.message == "the PipelineRun failed without a message, for no reason"


@pytest.mark.parametrize(
    ("told", "tasks", "expected"),
    [
        (("Unknown", "Started", ""), 0, ("Running", 0, False)),
        (("Unknown", "ResolvingPipelineRef", "awaiting resource"), 0, ("Waiting", 0, False)),
        (("Unknown", "PipelineRunPending", "is pending"), 0, ("Waiting", 0, False)),
        (
            (
                "Unknown",
                "Running",
                "Tasks Completed: 2 (Failed: 1 (Ignored: 1), Cancelled 0), Incomplete: 1",
            ),
            3,
            ("Running", 1, True),
        ),
        (("False", "Failed", TALLY), 1, ("Failed", 0, True)),
        (("True", "Succeeded", "All Tasks have completed"), 2, ("Succeeded", 2, True)),
        (
            ("True", "Completed", "Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 1"),
            1,
            ("Succeeded", 1, True),
        ),
    ],
)
def test_a_pipeline_run_as_a_child(
    told: tuple[str, str, str], tasks: int, expected: tuple[str, int, bool]
) -> None:
    status, reason, message = told
    names = [f"t{number}" for number in range(tasks)]
    child = child_of(pipeline_run(reason, message, *names, status=status))
    assert (child.state, child.completed_tasks, child.begun) == expected
    assert (child.reason, child.message, child.total_tasks) == (reason, message, tasks)


def test_a_new_pipeline_run_waits() -> None:
    child = child_of(decoded(PIPELINE_RUNS, {"metadata": {"name": "x"}}))
    assert (child.state, child.reason, child.begun, child.stopping) == (
        "Waiting",
        "Pending",
        False,
        False,
    )


@pytest.mark.parametrize(
    ("word", "stops"),
    [("Cancelled", True), ("CancelledRunFinally", True), ("StoppedRunFinally", False)],
)
def test_one_whose_tasks_are_told_to_stop_is_stopping_to_its_end_and_after(
    word: str,
    stops: bool,  # noqa: FBT001  (a column)
) -> None:
    for status in ({}, {"conditions": [condition("False", "Cancelled", "")]}):
        spec = {"status": word}
        body = {"metadata": {"name": "x"}, "spec": spec, "status": status}
        assert child_of(decoded(PIPELINE_RUNS, body)).stopping is stops
