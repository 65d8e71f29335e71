"""What a person can do next about a WorkflowExecution, as lines with commands to paste."""

from kubernaut.kubernetes import is_true
from kubernaut.workflowexecution import WorkflowExecution

_UID_LABEL = "kubernaut.ai/workflow-execution-uid"
_KINDS = {"tekton": "pipelinerun", "job": "job"}


def next_steps(wfe: WorkflowExecution) -> list[str]:
    """Nothing where all is well."""
    steps = _steps_of_failure(wfe) if wfe.phase == "Failed" else []
    conditions = wfe.status.conditions
    if not wfe.is_terminal and is_true(conditions, "Stalled"):
        steps.append(f"It makes no progress. See why: {_look_at_child(wfe)}")
        steps.append(f"Or stop it: {_command('cancel', wfe)} --reason TEXT")
    if any(one.type == "AuditRecorded" and one.status == "False" for one in conditions):
        steps.append(
            "Its audit trail is not complete yet; the operator goes on sending it. See what is"
            f" there: {_command('trail', wfe)}"
        )
    return steps


def _steps_of_failure(wfe: WorkflowExecution) -> list[str]:
    failure, status = wfe.status.failure_details, wfe.status
    steps: list[str] = []
    if failure is None:
        return steps
    if failure.was_execution_failure:
        steps.append(
            f"Look at {wfe.spec.target_resource} before you run anything on it again: the workflow"
            " may have changed it."
        )
    has_child = status.execution_ref is not None and not is_true(status.conditions, "LockReleased")
    if has_child and (look := _look_at_child(wfe)):
        steps.append(f"See what ran it, until the cooldown is over: {look}")
    match failure.reason:
        case "ConfigurationError" | "UnsupportedEngine" | "ImagePullBackOff":
            steps.append(
                "Correct what the message names, and create it again under another name: a spec"
                " cannot be changed."
            )
        case "Deduplicated" if status.deduplicated_by:
            other = f"kubernaut wfe list -A -o name | grep {status.deduplicated_by}"
            steps.append(f"Find the run that is at work on this target: {other}")
    steps.append(f"See its audit trail: {_command('trail', wfe)}")
    return steps


def _look_at_child(wfe: WorkflowExecution) -> str:
    engine = wfe.spec.workflow_ref.execution_engine or "tekton"
    if engine not in _KINDS:
        return ""
    return f"kubectl describe {_KINDS[engine]} -A -l {_UID_LABEL}={wfe.metadata.uid}"


def _command(verb: str, wfe: WorkflowExecution) -> str:
    namespace = wfe.metadata.namespace
    where = "" if namespace == "default" else f" -n {namespace}"
    return f"kubernaut wfe {verb} {wfe.metadata.name}{where}"
