"""From a spec to the run that an engine is asked for, or to what is wrong with the spec.

The rules are those of `docs/reference/workflowexecution-api.md`: the API server takes any text, and
the answer to a wrong one is a Failed object that says what to write instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from kubernaut.workflowexecution._api import (
    EngineName,
    ResourceRequirements,
    WorkflowExecution,
    WorkflowReference,
)
from kubernaut.workflowexecution._names import annotations_of, labels_of, lock_name

_TARGET_PARTS: Final = (2, 3)
TARGET_PARAMETER: Final = "TARGET_RESOURCE"
_OURS: Final = frozenset({TARGET_PARAMETER, "HOME", "TMPDIR"})
_OUR_PREFIXES: Final = ("WFE_", "RR_")


class SpecError(Exception):
    """The spec cannot be run; the text says what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything an engine needs to know to create what runs a workflow.

    Attributes:
        name: of the object to create; the lock.
        namespace: where to.
        bundle: with its digest where one was given.
        parameters: filtered, sorted by name, without `TARGET_RESOURCE`.
        dropped: names of parameters that are not passed on.
        service_account: "" for the namespace's default.
        times_out_at: when the engine must have ended.
        labels: to be set on the object.
        annotations: to be set on the object.
    """

    engine: EngineName
    name: str
    namespace: str
    bundle: str
    target: str
    parameters: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    service_account: str = ""
    secrets: tuple[str, ...] = ()
    config_maps: tuple[str, ...] = ()
    resources: ResourceRequirements | None = None
    engine_config: Mapping[str, Any] | None = None
    times_out_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDefaults:
    """What a spec may leave to the operator.

    Attributes:
        namespace: the execution namespace.
        service_account: of runs whose spec names none.
        propagated_annotations: prefixes of annotations of a WorkflowExecution that what runs it
            gets too.
    """

    namespace: str = "kubernaut-workflows"
    service_account: str = "kubernaut-workflow-runner"
    propagated_annotations: tuple[str, ...] = ()


def run_of(wfe: WorkflowExecution, defaults: RunDefaults) -> Run:
    """The run that a WorkflowExecution asks for.

    Raises:
        SpecError: it asks for nothing that can be run.
    """
    spec = wfe.spec
    reference = spec.workflow_ref
    bundle = bundle_of(reference)
    _check_target(spec.target_resource)
    if spec.cluster_id:
        raise SpecError(
            f"clusterID is {spec.cluster_id!r}, and this operator runs workflows in its own cluster"
            " only: leave clusterID out"
        )
    engine = engine_of(wfe)
    if engine is None:
        raise SpecError(
            f"execution engine not declared for WFE {wfe.metadata.key} — expected on"
            " spec.workflowRef at creation time: set workflowRef.executionEngine to tekton, job or"
            " ansible"
        )
    created = wfe.metadata.creation_timestamp
    if spec.times_out_at is not None and created is not None and spec.times_out_at <= created:
        raise SpecError(
            f"timesOutAt is {spec.times_out_at.isoformat()}, which was past when the object was"
            f" created ({created.isoformat()}): give a later time, or leave it out"
        )
    parameters, dropped = _filtered(spec.parameters, reference.declared_parameter_names)
    needs = reference.dependencies
    account = reference.service_account_name
    return Run(
        engine=engine,
        name=lock_name(spec.target_resource),
        namespace=defaults.namespace,
        bundle=bundle,
        target=spec.target_resource,
        parameters=parameters,
        dropped=dropped,
        service_account=defaults.service_account if account is None else account,
        secrets=tuple(secret.name for secret in needs.secrets) if needs else (),
        config_maps=tuple(config.name for config in needs.config_maps) if needs else (),
        resources=reference.resources,
        engine_config=reference.engine_config,
        times_out_at=spec.times_out_at,
        labels=labels_of(wfe, engine),
        annotations={
            name: value
            for name, value in wfe.annotations.items()
            if name.startswith(defaults.propagated_annotations)
        }
        | annotations_of(wfe),
    )


def bundle_of(reference: WorkflowReference) -> str:
    """The bundle of a workflow, by digest where one is given.

    Raises:
        SpecError: there is none, or two that differ.
    """
    bundle = _one_of("executionBundle", reference.execution_bundle, reference.container_image)
    digest = _one_of(
        "executionBundleDigest", reference.execution_bundle_digest, reference.container_digest
    )
    if not bundle:
        raise SpecError(
            "workflowRef.executionBundle is required: name the bundle or image that runs the"
            " workflow, for example registry.example/workflows/restart:1.2.0"
        )
    if digest and "@" not in bundle:
        return f"{bundle}@{digest}"
    return bundle


def _one_of(name: str, new: str, old: str) -> str:
    older = {"executionBundle": "containerImage", "executionBundleDigest": "containerDigest"}[name]
    if new and old and new != old:
        raise SpecError(
            f"workflowRef.{name} is {new!r} and workflowRef.{older}, its older name, is {old!r}:"
            " give one of them"
        )
    return new or old


def _check_target(target: str) -> None:
    if not target:
        raise SpecError(
            "targetResource is required: {namespace}/{kind}/{name} (namespaced) or {kind}/{name}"
            " (cluster-scoped)"
        )
    parts = target.split("/")
    if len(parts) not in _TARGET_PARTS:
        raise SpecError(
            "targetResource must be in format {namespace}/{kind}/{name} (namespaced) or"
            f" {{kind}}/{{name}} (cluster-scoped), got {len(parts)} parts"
        )
    for position, part in enumerate(parts):
        if not part.strip():
            raise SpecError(
                f"targetResource has empty part at position {position}: it is {target!r}, and must"
                " be {namespace}/{kind}/{name} or {kind}/{name}"
            )


def engine_of(wfe: WorkflowExecution) -> EngineName | None:
    """What runs a workflow; None where the spec does not say."""
    reference = wfe.spec.workflow_ref
    if reference.execution_engine is None and reference.container_image:
        return "tekton"  # The only engine there was when the member had this name.
    return reference.execution_engine


def _filtered(
    parameters: Mapping[str, str], declared: Mapping[str, bool] | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The parameters that are passed on, and the names of the others."""
    passed = {
        name: value
        for name, value in sorted(parameters.items())
        if (declared is None or declared.get(name, False)) and not _is_ours(name)
    }
    return passed, tuple(sorted(parameters.keys() - passed.keys()))


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(_OUR_PREFIXES)
