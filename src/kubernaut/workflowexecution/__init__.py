"""The operator: one WorkflowExecution is one run of one remediation workflow on one target.

Needs the extra `workflowexecution`. `serve` runs it; the types are for programs that create
WorkflowExecutions or read them.
"""

from kubernaut.workflowexecution._api import (
    CANCEL_ANNOTATION,
    CORRELATION_LABEL,
    FINALIZER,
    FORCE_ANNOTATION,
    WORKFLOW_EXECUTIONS,
    FailureDetails,
    WorkflowExecution,
    WorkflowExecutionSpec,
    WorkflowExecutionStatus,
    WorkflowReference,
)
from kubernaut.workflowexecution._manifests import crd, crd_yaml, rbac, sample_workflows, samples
from kubernaut.workflowexecution._names import lock_name
from kubernaut.workflowexecution._operator import Operator, StartupError, serve
from kubernaut.workflowexecution._owed import correlation_id_of, owed_events
from kubernaut.workflowexecution._settings import Settings, SettingsError, load_settings

__all__ = [
    "CANCEL_ANNOTATION",
    "CORRELATION_LABEL",
    "FINALIZER",
    "FORCE_ANNOTATION",
    "WORKFLOW_EXECUTIONS",
    "FailureDetails",
    "Operator",
    "Settings",
    "SettingsError",
    "StartupError",
    "WorkflowExecution",
    "WorkflowExecutionSpec",
    "WorkflowExecutionStatus",
    "WorkflowReference",
    "correlation_id_of",
    "crd",
    "crd_yaml",
    "load_settings",
    "lock_name",
    "owed_events",
    "rbac",
    "sample_workflows",
    "samples",
    "serve",
]
