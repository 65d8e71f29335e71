"""Names, labels and annotations of what runs a workflow.

The name is the lock: it follows from the target alone, so that two runs on one target want the same
object and the API server decides which of them gets it.
"""

import hashlib
import re
from typing import Final

from kubernaut.workflowexecution._api import WorkflowExecution

EXECUTION_LABEL: Final = "kubernaut.ai/workflow-execution"
WORKFLOW_ID_LABEL: Final = "kubernaut.ai/workflow-id"
TARGET_LABEL: Final = "kubernaut.ai/target-resource"
NAMESPACE_LABEL: Final = "kubernaut.ai/source-namespace"
UID_LABEL: Final = "kubernaut.ai/workflow-execution-uid"
ENGINE_LABEL: Final = "kubernaut.ai/execution-engine"
TARGET_ANNOTATION: Final = "kubernaut.ai/target-resource"
WORKFLOW_ID_ANNOTATION: Final = "kubernaut.ai/workflow-id"
EXECUTION_ANNOTATION: Final = "kubernaut.ai/workflow-execution"
"""`namespace/name` of the WorkflowExecution, uncut: a name may be longer than a label's value."""

_LONGEST_LABEL: Final = 63
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_.-]")


def lock_name(target_resource: str) -> str:
    """The name of what runs a workflow on this target: `wfe-` and 16 hexadecimal digits."""
    return f"wfe-{hashlib.sha256(target_resource.encode()).hexdigest()[:16]}"


def lock_key(wfe: WorkflowExecution) -> str:
    """What one run at a time may hold: a target in a cluster."""
    return f"{wfe.spec.cluster_id}|{wfe.spec.target_resource}"


def child_name(wfe: WorkflowExecution) -> str:
    """The name of what runs an object, or would."""
    reference = wfe.status.execution_ref
    return reference.name if reference else lock_name(wfe.spec.target_resource)


def label_value(text: str) -> str:
    """A text as a label's value: `/` becomes `__`, other illegal characters `_`, 63 at most.

    The value begins and ends with a letter or digit, or is empty. Cut, it is for searching only;
    the whole text is in an annotation.
    """
    legal = _ILLEGAL.sub("_", text.replace("/", "__"))
    return legal.strip("_.-")[:_LONGEST_LABEL].rstrip("_.-")


def labels_of(wfe: WorkflowExecution, engine: str) -> dict[str, str]:
    """The labels of what runs a WorkflowExecution."""
    meta = wfe.metadata
    return {
        EXECUTION_LABEL: label_value(meta.name),
        NAMESPACE_LABEL: meta.namespace,
        UID_LABEL: meta.uid,
        WORKFLOW_ID_LABEL: label_value(wfe.spec.workflow_ref.workflow_id),
        TARGET_LABEL: label_value(wfe.spec.target_resource),
        ENGINE_LABEL: engine,
    }


def annotations_of(wfe: WorkflowExecution) -> dict[str, str]:
    """Its annotations: what labels cannot hold."""
    return {
        EXECUTION_ANNOTATION: wfe.metadata.key,
        TARGET_ANNOTATION: wfe.spec.target_resource,
        WORKFLOW_ID_ANNOTATION: wfe.spec.workflow_ref.workflow_id,
    }
