"""What the catalogue holds: workflows, action types, and who looked for them."""

from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kubernaut.audit.payloads._base import Payload, Timestamp


class QueryMetadata(Struct, frozen=True, kw_only=True):
    """What a catalogue search asked for."""

    top_k: int
    min_score: float | UnsetType = UNSET
    filters: dict[str, Any] | UnsetType = UNSET  # Its members are not part of this contract.


class ResultsMetadata(Struct, frozen=True, kw_only=True):
    """What a catalogue search found."""

    total_found: int
    returned: int
    workflows: list[dict[str, Any]]


class SearchExecutionMetadata(Struct, frozen=True, kw_only=True):
    """What a catalogue search cost."""

    duration_ms: int


class WorkflowDiscoveryAuditPayload(Payload, frozen=True, kw_only=True):
    """The catalogue was searched for a fitting workflow, or a choice was checked against it."""

    event_type: Literal[
        "workflow.catalog.actions_listed",
        "workflow.catalog.workflows_listed",
        "workflow.catalog.workflow_retrieved",
        "workflow.catalog.selection_validated",
    ]
    query: QueryMetadata
    results: ResultsMetadata
    search_metadata: SearchExecutionMetadata


class WorkflowCatalogCreatedPayload(Payload, frozen=True, kw_only=True):
    """A workflow was entered in the catalogue."""

    event_type: Literal["datastorage.workflow.created"]
    workflow_id: UUID
    workflow_name: str
    version: str
    status: Literal["Active", "Disabled", "Archived"]
    is_latest_version: bool
    execution_engine: str
    name: str

    schema_version: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    labels: dict[str, Any] | UnsetType = UNSET


class WorkflowCatalogUpdatedFields(Struct, frozen=True, kw_only=True):
    """The new values of the fields that changed in a workflow's catalogue entry."""

    status: str | UnsetType = UNSET
    disabled_by: str | UnsetType = UNSET
    disabled_reason: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class WorkflowCatalogUpdatedPayload(Payload, frozen=True, kw_only=True):
    """A workflow's catalogue entry changed."""

    event_type: Literal["datastorage.workflow.updated"]
    workflow_id: UUID
    updated_fields: WorkflowCatalogUpdatedFields


class ActionTypeDescriptionPayload(Struct, frozen=True, kw_only=True):
    """An action type in words: what it does, and when it is the right choice."""

    what: str
    when_to_use: str
    when_not_to_use: str | UnsetType = UNSET
    preconditions: str | UnsetType = UNSET


class ActionTypeCatalogCreatedPayload(Payload, frozen=True, kw_only=True):
    """An action type was entered in the catalogue, anew or again."""

    event_type: Literal["datastorage.actiontype.created"]
    action_type: str
    description: ActionTypeDescriptionPayload
    registered_by: str
    was_reenabled: bool


class ActionTypeCatalogUpdatedPayload(Payload, frozen=True, kw_only=True):
    """An action type's description changed."""

    event_type: Literal["datastorage.actiontype.updated"]
    action_type: str
    old_description: ActionTypeDescriptionPayload
    new_description: ActionTypeDescriptionPayload
    updated_by: str
    updated_fields: list[str]


class ActionTypeCatalogDisabledPayload(Payload, frozen=True, kw_only=True):
    """An action type was taken out of use."""

    event_type: Literal["datastorage.actiontype.disabled"]
    action_type: str
    disabled_by: str
    disabled_at: Timestamp


class ActionTypeCatalogReenabledPayload(Payload, frozen=True, kw_only=True):
    """An action type that had been out of use came back."""

    event_type: Literal["datastorage.actiontype.reenabled"]
    action_type: str
    reenabled_by: str
    previous_state: Literal["Disabled"]
    disabled_at: Timestamp
    disabled_by: str


class ActionTypeCatalogDisableDeniedPayload(Payload, frozen=True, kw_only=True):
    """An action type stayed in use because workflows depend on it."""

    event_type: Literal["datastorage.actiontype.disable_denied"]
    action_type: str
    denied_reason: str
    dependent_workflow_count: int
    dependent_workflows: list[str]
    requested_by: str
