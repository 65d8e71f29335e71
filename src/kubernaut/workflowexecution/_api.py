"""The API `workflowexecutions.kubernaut.ai/v1alpha1` as types: the one source of schema and docs.

- A member without a default is required in the schema (`_crd.py` makes it from these structs).
- The schema checks types and the immutability of `spec`, and nothing more: what is wrong with a
  value is the controller's answer (`_run.py`), in words, on the object, where people look.
- Objects are immutable; what the controller stores is made by `msgspec.structs.replace`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kubernaut.kubernetes import Condition, KubernetesObject, Resource

GROUP: Final = "kubernaut.ai"
VERSION: Final = "v1alpha1"

Phase = Literal["Pending", "Running", "Completed", "Failed"]
EngineName = Literal["tekton", "job", "ansible"]
Reason = Literal[
    "OOMKilled",
    "DeadlineExceeded",
    "Forbidden",
    "ResourceExhausted",
    "ConfigurationError",
    "ImagePullBackOff",
    "TaskFailed",
    "Unknown",
    "UnsupportedEngine",
    "Deduplicated",
]
"""Why a run failed: the words that `status.failureDetails.reason` may have."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of the object."""


class RemediationRequestReference(_Part, frozen=True):
    """The remediation request that asked for the run (`core/v1.ObjectReference`)."""

    api_version: str = ""
    kind: str = ""
    name: Annotated[str, Meta(description="The audit correlation id, unless a label gives it")] = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class LocalReference(_Part, frozen=True):
    """The name of something in the execution namespace."""

    name: str


class Dependencies(_Part, frozen=True):
    """What the workflow reads while it runs; mounted, and not checked beforehand."""

    secrets: list[LocalReference] = []
    config_maps: list[LocalReference] = []


class ResourceClaim(_Part, frozen=True):
    """A claim of `core/v1.ResourceRequirements`."""

    name: str
    request: str = ""


Quantities = dict[str, int | str]


class ResourceRequirements(_Part, frozen=True):
    """`core/v1.ResourceRequirements` of the container of a Job."""

    claims: Annotated[
        list[ResourceClaim],
        Meta(
            extra_json_schema={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            }
        ),
    ] = []
    limits: Quantities = {}
    requests: Quantities = {}


class WorkflowReference(_Part, frozen=True):
    """The workflow as it was when the run was decided: nothing is looked up later."""

    workflow_id: Annotated[str, Meta(description="The workflow's id in the catalogue")]
    version: Annotated[str, Meta(description="The workflow's version")]
    workflow_name: Annotated[str, Meta(description="For people and for the audit trail")] = ""
    action_type: Annotated[str, Meta(description="For people and for the audit trail")] = ""
    execution_bundle: Annotated[
        str, Meta(description="A Tekton bundle, the image of a Job, or the git URL of a playbook")
    ] = ""
    execution_bundle_digest: Annotated[
        str, Meta(description="`sha256:...`; the bundle is then taken by digest")
    ] = ""
    container_image: Annotated[str, Meta(description="The older name of `executionBundle`")] = ""
    container_digest: Annotated[
        str, Meta(description="The older name of `executionBundleDigest`")
    ] = ""
    execution_engine: Annotated[
        EngineName | None,
        Meta(
            description="What runs the workflow. Absent, it is `tekton` where `containerImage` is"
            " used, and an error where `executionBundle` is"
        ),
    ] = None
    engine_config: Annotated[
        dict[str, Any] | None,
        Meta(description="Settings of the engine, for example the playbook's path"),
    ] = None
    service_account_name: Annotated[
        str | None,
        Meta(
            description="Who the workflow is in the cluster. Absent, the operator's default;"
            ' `""`, the default account of the execution namespace'
        ),
    ] = None
    dependencies: Dependencies | None = None
    resources: Annotated[
        ResourceRequirements | None, Meta(description="For the engine `job` alone")
    ] = None
    declared_parameter_names: Annotated[
        dict[str, bool] | None,
        Meta(
            description="The parameters that the workflow declares; others are not passed on."
            " Absent or null: all are. `{}`: none is"
        ),
    ] = None


class ExecutionConfig(_Part, frozen=True):
    """Settings of an older API. They are stored and have no effect."""

    timeout: str = ""
    service_account_name: str = ""


class WorkflowExecutionSpec(_Part, frozen=True):
    """One run of one workflow against one target. Immutable."""

    remediation_request_ref: RemediationRequestReference
    workflow_ref: WorkflowReference
    target_resource: Annotated[
        str,
        Meta(
            description="`namespace/kind/name`, or `kind/name` of something without a namespace."
            " It is the lock: one run at a time for each target, upper and lower case apart"
        ),
    ]
    parameters: Annotated[
        dict[str, str], Meta(description="For the workflow; names in UPPER_SNAKE_CASE")
    ] = {}
    confidence: Annotated[
        float | None, Meta(description="How sure the choice was, 0 to 1; for people")
    ] = None
    rationale: Annotated[str, Meta(description="Why this workflow; for people")] = ""
    execution_config: ExecutionConfig | None = None
    cluster_id: Annotated[str, Meta(description="The target's cluster; empty for this one")] = (
        msgspec.field(name="clusterID", default="")
    )
    times_out_at: Annotated[
        datetime | None, Meta(description="When the run is stopped if it has not ended by itself")
    ] = None


class ExecutionReference(_Part, frozen=True):
    """The object in the execution namespace that runs the workflow."""

    name: str


class ExecutionStatus(_Part, frozen=True):
    """What the engine says of the run."""

    status: Annotated[
        Literal["True", "False", "Unknown"], Meta(description="Unknown while it is running")
    ]
    reason: str = ""
    message: str = ""
    completed_tasks: int = msgspec.field(default_factory=int)
    total_tasks: int = msgspec.field(default_factory=int)
    retry_count: Annotated[int, Meta(description="Failures of pods that were tolerated")] = 0


class FailureDetails(_Part, frozen=True):
    """Why the run failed."""

    failed_task_index: Annotated[
        int, Meta(description="Which of the tasks that were started; 0 where none is known")
    ]
    failed_task_name: Annotated[str, Meta(description="Empty where no task is to blame")]
    reason: Reason
    message: Annotated[str, Meta(description="What happened, and what to do about it")]
    failed_at: datetime
    natural_language_summary: Annotated[str, Meta(description="Some lines for people")]
    failed_step_name: str = ""
    exit_code: int | None = None
    execution_time_before_failure: Annotated[str, Meta(description="As in `2m30s`")] = ""
    was_execution_failure: Annotated[
        bool,
        Meta(description="Whether the workflow may have acted on the target before it failed"),
    ] = msgspec.field(default_factory=bool)


class BlockClearance(_Part, frozen=True):
    """Who allowed runs on the target again; written by people, never by the controller."""

    cleared_at: datetime
    cleared_by: str
    clear_reason: str
    clear_method: Literal["Annotation", "APIEndpoint", "StatusField"]


class ForcedReconcile(_Part, frozen=True):
    """The last request to look again that was obeyed."""

    token: Annotated[str, Meta(description="The annotation's value")]
    at: datetime


Conditions = Annotated[
    list[Condition],
    Meta(
        extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    ),
]


class WorkflowExecutionStatus(_Part, frozen=True):
    """What became of it. Written by the controller, but for the members that say otherwise."""

    observed_generation: Annotated[
        int, Meta(description="For information; nothing depends on it")
    ] = 0
    phase: Annotated[Phase | None, Meta(description="Absent is the same as Pending")] = None
    correlation_id: Annotated[
        str,
        Meta(
            description="The chain that the events of this run are in, fixed with the first event"
        ),
    ] = ""
    start_time: Annotated[
        datetime | None, Meta(description="When the engine's object was created")
    ] = None
    last_progress_time: Annotated[
        datetime | None, Meta(description="When the engine last told something new of the run")
    ] = None
    completion_time: datetime | None = None
    duration: Annotated[str, Meta(description="As in `45s` or `2m30s`")] = ""
    execution_ref: ExecutionReference | None = None
    pipeline_run_ref: Annotated[
        ExecutionReference | None, Meta(description="`executionRef` under its older name")
    ] = None
    execution_status: ExecutionStatus | None = None
    pipeline_run_status: Annotated[
        ExecutionStatus | None, Meta(description="`executionStatus` under its older name")
    ] = None
    failure_reason: Annotated[
        str, Meta(description="The same as `failureDetails.reason`; an older name")
    ] = ""
    failure_details: FailureDetails | None = None
    deduplicated_by: Annotated[
        str, Meta(description="The WorkflowExecution that was running on the target")
    ] = ""
    reconcile_forced: ForcedReconcile | None = None
    conditions: Conditions = []
    block_clearance: BlockClearance | None = None
    consecutive_failures: Annotated[int, Meta(description="Stored for older clients; not used")] = 0
    next_allowed_execution: Annotated[
        datetime | None, Meta(description="Stored for older clients; not used")
    ] = None
    ephemeral_credential_ids: Annotated[
        list[int],
        Meta(description="Credentials of an AWX job, to be deleted after it"),
    ] = msgspec.field(name="ephemeralCredentialIDs", default_factory=list)


class WorkflowExecution(KubernetesObject, frozen=True, kw_only=True):
    """One run of one remediation workflow against one target."""

    spec: WorkflowExecutionSpec
    status: WorkflowExecutionStatus = WorkflowExecutionStatus()

    @property
    def phase(self) -> Phase:
        """The phase; an absent one is Pending."""
        return self.status.phase or "Pending"

    @property
    def is_terminal(self) -> bool:
        """Whether the phase is one that is never left."""
        return self.phase in ("Completed", "Failed")

    @property
    def annotations(self) -> Mapping[str, str]:
        """Of the metadata."""
        return self.metadata.annotations


WORKFLOW_EXECUTIONS: Final = Resource(
    group=GROUP,
    version=VERSION,
    plural="workflowexecutions",
    kind="WorkflowExecution",
    namespaced=True,
    type=WorkflowExecution,
    replaceable=True,
)

FINALIZER: Final = "workflowexecution.kubernaut.ai/workflowexecution-cleanup"
CORRELATION_LABEL: Final = "kubernaut.ai/correlation-id"
CANCEL_ANNOTATION: Final = "kubernaut.ai/cancel"
"""Its value, a text, is the reason that is told; an empty one counts too."""
FORCE_ANNOTATION: Final = "kubernaut.ai/force-reconcile"
"""Any new value is a request to look again, at the live objects."""
