"""Why a PipelineRun failed, from it and its TaskRuns. Pure.

The PipelineRun itself says only how many of its tasks failed; why stands in the TaskRuns.
"""

import re
from collections.abc import Mapping
from typing import Final

from kubernaut.workflowexecution.engines._children import one_line
from kubernaut.workflowexecution.engines._classify import Facts, classify, facts_text
from kubernaut.workflowexecution.engines._containers import described
from kubernaut.workflowexecution.engines._engine import Failure
from kubernaut.workflowexecution.engines._rules import Where
from kubernaut.workflowexecution.engines._tekton_kinds import (
    ChildReference,
    PipelineRun,
    Step,
    TaskRun,
)

TALLY: Final = re.compile(
    r"Tasks Completed: (?P<completed>\d+)"
    r" \(Failed: (?P<failed>\d+)(?: \(Ignored: \d+\))?, Cancelled (?P<cancelled>\d+)\)"
)
"""How Tekton counts tasks in the message of a PipelineRun; completed are all that have ended."""
_EARLIER: Final = re.compile(r"Previous status: \[(\w+)\]")
_IGNORED: Final = "FailureIgnored"
_CANCELLED: Final = "TaskRunCancelled"
_UNFINISHED: Final = "Unfinished"
"""Our word for a TaskRun that Tekton has not ended yet, although its PipelineRun is over."""
_ENDED: Final = (_CANCELLED, _UNFINISHED)


def failure_of(run: PipelineRun, tasks: Mapping[str, TaskRun]) -> Failure:
    """Why it failed.

    Args:
        run: a PipelineRun that has failed.
        tasks: its TaskRuns by name, as far as they are still there.
    """
    children = run.status.child_references
    blamed = _blamed(children, tasks)
    task = tasks[blamed.name] if blamed else None
    step = _step_to_blame(task) if task else None
    condition = run.succeeded
    pipeline_reason = condition.reason if condition else ""
    pipeline_message = condition.message if condition else ""
    words: set[tuple[Where, str]] = {("pipeline", pipeline_reason)}
    tally = TALLY.match(pipeline_message)
    if tally and tally["failed"] != "0":
        words.add(("pipeline", "TaskFailed"))
    texts = ["" if tally else pipeline_message]
    if task and task.succeeded:
        where: Where = "earlier" if _failed_as(task) == _UNFINISHED else "task"
        words.add((where, task.succeeded.reason))
        words |= {("earlier", word) for word in _EARLIER.findall(task.succeeded.message)}
        texts.append(task.succeeded.message)
    if step:
        words |= {("container", word) for word in _words_of(step)}
        texts += [text for text in _texts_of(step) if text]
    # Cancelled before it had a task, it has done nothing, although Tekton set its start.
    started = run.status.start_time is not None and bool(children or pipeline_reason != "Cancelled")
    reason, acted = classify(
        Facts(
            words=frozenset(words),
            text=facts_text(texts),
            started=started,
            has_tasks=bool(children),
            ran=any(one.may_have_run for found in tasks.values() for one in found.status.steps),
        )
    )
    ended = step.ended if step else None
    return Failure(
        reason=reason,
        message=_message(run, blamed, task, step, _others(children, tasks, blamed)),
        task_name=blamed.name if blamed else "",
        task_index=children.index(blamed) if blamed else 0,
        step_name=step.name if step else "",
        exit_code=ended.exit_code if ended else None,
        completed_tasks=sum(_has_succeeded(task) for task in tasks.values()) or None,
        was_execution_failure=acted,
    )


def _has_succeeded(task: TaskRun) -> bool:
    condition = task.succeeded
    return condition is not None and condition.status == "True"


def _failed_as(task: TaskRun | None) -> str:
    """The reason of a TaskRun that did not succeed and counts; "" of any other."""
    if task is None:
        return ""
    condition = task.succeeded
    if condition is None or condition.status == "Unknown":
        return _UNFINISHED
    if condition.status != "False" or condition.reason == _IGNORED:
        return ""
    return condition.reason or "Failed"


def _blamed(children: list[ChildReference], tasks: Mapping[str, TaskRun]) -> ChildReference | None:
    """The first that failed; one that was merely ended by Tekton only where there is no other.

    Tekton tells of the end of a PipelineRun some moments before that of the tasks it ends with it.
    """
    failed = [child for child in children if _failed_as(tasks.get(child.name))]
    by_itself = [child for child in failed if _failed_as(tasks.get(child.name)) not in _ENDED]
    return next(iter([*by_itself, *failed]), None)


def _others(
    children: list[ChildReference],
    tasks: Mapping[str, TaskRun],
    blamed: ChildReference | None,
) -> int:
    """How many other tasks failed by themselves."""
    return sum(
        _failed_as(tasks.get(child.name)) not in ("", *_ENDED)
        for child in children
        if child is not blamed
    )


def _step_to_blame(task: TaskRun) -> Step | None:
    """The first step that failed, else the first that waits for something it names, or runs."""
    steps = task.status.steps
    failed = [step for step in steps if step.failed]
    waiting = [step for step in steps if step.waiting]
    return next(iter([*failed, *waiting, *(step for step in steps if step.running)]), None)


def _words_of(step: Step) -> list[str]:
    words = [step.termination_reason]
    if step.ended:
        words.append(step.ended.reason)
    if step.waiting:
        words.append(step.waiting.reason)
    return words


def _texts_of(step: Step) -> list[str]:
    return [
        step.ended.message if step.ended else "",
        step.waiting.message if step.waiting else "",
    ]


def _message(
    run: PipelineRun,
    blamed: ChildReference | None,
    task: TaskRun | None,
    step: Step | None,
    others: int,
) -> str:
    condition = run.succeeded
    said = condition.message if condition else ""
    parts = [] if TALLY.match(said) and blamed else [said]
    if blamed and task:
        named = f"task {blamed.pipeline_task_name or blamed.name} (TaskRun {blamed.name})"
        if step and step.ended:
            parts.append(f"{named} step {step.name} {described(step.ended)}")
        else:
            parts.append(f"{named}{_said_of(task)}")
            if step and step.waiting:
                waiting = [step.waiting.reason, step.waiting.message]
                parts.append(f"step {step.name} was waiting: {': '.join(filter(None, waiting))}")
    if others:
        parts.append(f"{others} more failed")
    reason = condition.reason if condition else ""
    found = [one_line(part) for part in parts if part]
    return (
        "; ".join(found) or f"the PipelineRun failed without a message, for {reason or 'no'} reason"
    )


def _said_of(task: TaskRun) -> str:
    """What a TaskRun says of itself, to be put behind its name."""
    condition = task.succeeded
    if _failed_as(task) != _UNFINISHED:
        return f": {condition.message or condition.reason}" if condition else ""
    said = [condition.reason, condition.message] if condition else []
    return ": ".join([" had not ended", *filter(None, said)])
