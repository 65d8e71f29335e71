"""The rules by which a failure gets its reason, as a table: the first that fits is taken.

`docs/reference/failure-reasons.md` is this table in words; a test says that they are the same.

What programs say in fixed words comes before free text, and the words that say no more than "it
failed" come last. Phrases are found as whole words: "room" is not `oom`, and neither names
(`step-quota`, `quota.example`) nor settings (`--timeout=30`) are words of a sentence.
"""

from dataclasses import dataclass
from typing import Final, Literal

from kubernaut.workflowexecution._api import Reason

Where = Literal["container", "pod", "earlier", "task", "pipeline", "event", "job"]
"""Where a fixed word stands: `earlier` is the state of a TaskRun before it was cancelled."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        reason: what it says.
        where: where one of `words` must stand; None: only the text counts.
        words: compared as they are.
        phrases: one of these must be in the text, in upper or lower case; `*` is anything within
            a line. None: any text will do.
        acted: whether the workflow has acted on the target, where this alone says so.
    """

    reason: Reason
    where: Where | None = None
    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    acted: bool | None = None


_UNPULLABLE: Final = (
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "ImageInspectError",
    "InvalidImageName",
    "RegistryUnavailable",
)
_QUOTA: Final = ("exceeded quota", "quota exceeded", "failed quota")
_UNKNOWN_ACCOUNT: Final = ("serviceaccount * not found", "serviceaccounts * not found")
_UNKNOWN_SETTINGS: Final = (
    "secret * not found",
    "secrets * not found",
    "configmap * not found",
    "configmaps * not found",
)

RULES: Final = (
    # What the kubelet and Tekton say in fixed words.
    Rule("OOMKilled", "container", ("OOMKilled",)),
    Rule("OOMKilled", "task", ("StepOOM", "SidecarOOM", "InitContainerOOM")),
    Rule("ResourceExhausted", "earlier", ("ExceededResourceQuota", "ExceededNodeResources")),
    Rule("ResourceExhausted", "task", ("ExceededResourceQuota", "ExceededNodeResources")),
    Rule("ResourceExhausted", "task", ("PodEvicted",), acted=True),
    Rule("ResourceExhausted", "pod", ("Evicted",), acted=True),
    Rule("ImagePullBackOff", "container", _UNPULLABLE),
    Rule("ImagePullBackOff", "earlier", ("PullImageFailed",)),
    Rule("ImagePullBackOff", "task", ("TaskRunImagePullFailed",)),
    Rule("ImagePullBackOff", "pipeline", ("TaskRunImagePullFailed",)),
    Rule(
        "ImagePullBackOff",
        "event",
        ("Failed", "BackOff"),
        ("pull image", "pulling image", "ErrImagePull", "ImagePullBackOff"),
    ),
    Rule(
        "ConfigurationError",
        "container",
        ("CreateContainerConfigError", "CreateContainerError", "StartError", "ContainerCannotRun"),
    ),
    Rule("ConfigurationError", "event", ("FailedMount", "CreateContainerConfigError")),
    Rule("ConfigurationError", "event", ("Failed",), _UNKNOWN_SETTINGS),
    Rule("ResourceExhausted", "event", ("FailedCreate",), _QUOTA, acted=False),
    Rule("ConfigurationError", "event", ("FailedCreate",), _UNKNOWN_ACCOUNT, acted=False),
    Rule("Forbidden", "event", ("FailedCreate",), ("forbidden",), acted=False),
    Rule("ResourceExhausted", "event", ("FailedScheduling",), ("insufficient",)),
    Rule("ResourceExhausted", "task", ("PodCreationFailed", "PodAdmissionFailed"), _QUOTA, False),
    Rule("ConfigurationError", "task", ("PodCreationFailed",), _UNKNOWN_ACCOUNT, acted=False),
    Rule("Forbidden", "task", ("PodCreationFailed",), ("forbidden",), acted=False),
    Rule("Forbidden", "task", ("PodAdmissionFailed",), acted=False),
    Rule("ConfigurationError", "task", ("PodCreationFailed",), acted=False),
    Rule(
        "ConfigurationError",
        "task",
        (
            "CreateContainerConfigError",
            "TaskRunValidationFailed",
            "TaskValidationFailed",
            "TaskRunResolutionFailed",
            "InvalidParamValue",
            "ResourceVerificationFailed",
        ),
    ),
    Rule(
        "ImagePullBackOff",
        "pipeline",
        ("CouldntGetPipeline",),
        ("cannot retrieve the oci image",),
        acted=False,
    ),
    Rule(
        "ConfigurationError",
        "pipeline",
        (
            "CouldntGetPipeline",
            "CouldntGetTask",
            "ParameterMissing",
            "ParameterTypeMismatch",
            "ObjectParameterMissKeys",
            "ParamArrayIndexingInvalid",
            "InvalidParamValue",
            "InvalidMatrixParameterTypes",
            "InvalidWorkspaceBindings",
            "RequiredWorkspaceMarkedOptional",
            "InvalidPipelineResourceBindings",
            "InvalidTaskRunSpecs",
            "InvalidTaskResultReference",
            "InvalidPipelineResultReference",
            "PipelineValidationFailed",
            "PipelineInvalidGraph",
            "ResourceVerificationFailed",
            "CELEvaluationFailed",
            "TaskRunValidationFailed",
        ),
    ),
    # All tasks ran; the result that the pipeline declares is missing all the same.
    Rule("ConfigurationError", "pipeline", ("CouldntGetPipelineResult",), acted=True),
    Rule("DeadlineExceeded", "container", ("TimeoutExceeded",)),
    Rule("DeadlineExceeded", "task", ("TaskRunTimeout",)),
    Rule("DeadlineExceeded", "pipeline", ("PipelineRunTimeout", "PipelineRunCouldntTimeOut")),
    Rule("DeadlineExceeded", "job", ("DeadlineExceeded",)),
    Rule("Unknown", "pipeline", ("Cancelled", "PipelineRunCouldntCancel")),
    Rule("Unknown", "task", ("TaskRunCancelled",)),
    Rule("Unknown", "job", ("Stopped",)),
    # Free text. A quota says "forbidden" too, so it comes first.
    Rule("OOMKilled", phrases=("OOMKilled", "OOM-killed", "OOM killed", "OOM", "out of memory")),
    Rule(
        "ResourceExhausted", phrases=(*_QUOTA, "quota", "resource exhausted", "resources exhausted")
    ),
    Rule("ResourceExhausted", phrases=("low on resource",), acted=True),
    Rule("Forbidden", phrases=("forbidden", "RBAC", "permission denied")),
    # A connection's timeout is not the run's.
    Rule("TaskFailed", phrases=("i/o timeout", "TLS handshake timeout", "connection timed out")),
    Rule("DeadlineExceeded", phrases=("timeout", "timed out", "deadline")),
    Rule(
        "ImagePullBackOff",
        phrases=(
            "ImagePullBackOff",
            "ErrImagePull",
            "image pull",
            "pull image",
            "pull the image",
            "pulling image",
        ),
    ),
    Rule(
        "ConfigurationError",
        phrases=(
            "invalid",
            "misconfigured",
            "misconfiguration",
            "configuration error",
            "missing required",
            *_UNKNOWN_ACCOUNT,
            *_UNKNOWN_SETTINGS,
        ),
    ),
    # Words that say no more than that it failed.
    Rule("TaskFailed", "container", ("Error",)),
    Rule(
        "TaskFailed",
        "task",
        (
            "StepFailed",
            "SidecarFailed",
            "InitContainerFailed",
            "Failed",
            "TaskRunResultLargerThanAllowedLimit",
            "TaskRunStopSidecarFailed",
        ),
    ),
    Rule("TaskFailed", "pipeline", ("TaskRunFailed", "TaskFailed")),
    Rule(
        "TaskFailed",
        "job",
        (
            "BackoffLimitExceeded",
            "PodFailurePolicy",
            "FailedIndexes",
            "MaxFailedIndexesExceeded",
            "JobFailed",
        ),
    ),
    Rule("TaskFailed", phrases=("task failed", "task * failed", "tasks * failed", "failed * task")),
)
"""In the order in which they are tried. Nothing fits: `Unknown`."""

BEFORE_IT_RUNS: Final = frozenset[Reason](
    {"ImagePullBackOff", "ConfigurationError", "ResourceExhausted"}
)
"""Reasons that keep a workflow from beginning."""
WHILE_IT_RUNS: Final = frozenset[Reason](
    {"OOMKilled", "DeadlineExceeded", "Forbidden", "TaskFailed"}
)
"""Reasons that only something that runs has."""
