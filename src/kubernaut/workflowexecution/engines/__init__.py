"""What can run a workflow, behind one protocol."""

from kubernaut.workflowexecution.engines._children import owner_of
from kubernaut.workflowexecution.engines._engine import Child, ChildState, Engine, Failure, Owner
from kubernaut.workflowexecution.engines._job import JobEngine
from kubernaut.workflowexecution.engines._job_kinds import JOB_EVENTS, JOB_PODS, JOBS, Job
from kubernaut.workflowexecution.engines._tekton import TektonEngine
from kubernaut.workflowexecution.engines._tekton_kinds import (
    PIPELINE_RUNS,
    TASK_RUNS,
    PipelineRun,
    TaskRun,
)

__all__ = [
    "JOBS",
    "JOB_EVENTS",
    "JOB_PODS",
    "PIPELINE_RUNS",
    "TASK_RUNS",
    "Child",
    "ChildState",
    "Engine",
    "Failure",
    "Job",
    "JobEngine",
    "Owner",
    "PipelineRun",
    "TaskRun",
    "TektonEngine",
    "owner_of",
]
