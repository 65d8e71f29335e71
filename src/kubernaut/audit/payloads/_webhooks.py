"""What people and tools changed through the API server, as the admission webhooks saw it."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload, TimeoutConfig, Timestamp


class RemediationApprovalAuditPayload(Payload, frozen=True, kw_only=True):
    """A person approved or rejected a remediation."""

    event_type: Literal["webhook.remediationapprovalrequest.decided"]
    request_name: str
    decision: Literal["Approved", "Rejected"]
    decided_at: Timestamp
    decision_message: str
    ai_analysis_ref: str

    # Upstream stores "" for these two when they are missing; here, absent stays absent.
    delegated_user: str | UnsetType = UNSET
    delegated_via: str | UnsetType = UNSET
    policy_hash: str | UnsetType = UNSET


class RemediationRequestWebhookAuditPayload(Payload, frozen=True, kw_only=True):
    """A person changed the time limits of a remediation request."""

    event_type: Literal["webhook.remediationrequest.timeout_modified"]
    rr_name: str
    namespace: str
    modified_by: str
    modified_at: Timestamp
    old_timeout_config: TimeoutConfig | UnsetType = UNSET
    new_timeout_config: TimeoutConfig | UnsetType = UNSET


class RemediationWorkflowWebhookAuditPayload(Payload, frozen=True, kw_only=True):
    """A workflow definition was admitted to the cluster, or turned away."""

    event_type: Literal[
        "remediationworkflow.admitted.create",
        "remediationworkflow.admitted.update",
        "remediationworkflow.admitted.delete",
        "remediationworkflow.admitted.denied",
    ]
    workflow_name: str
    action: Literal["create", "update", "delete", "denied"]

    workflow_id: str | UnsetType = UNSET
    catalog_status: str | UnsetType = UNSET
    denial_reason: str | UnsetType = UNSET
    # The definition as given; its fields follow the custom resource and are not checked here.
    workflow_content: dict[str, Any] | UnsetType = UNSET
    content_hash: str | UnsetType = UNSET


class AuthwebhookWorkflowRegistrationFailedPayload(Payload, frozen=True, kw_only=True):
    """An admitted workflow could not be entered in the catalogue."""

    event_type: Literal["authwebhook.workflow.registration_failed"]
    workflow_name: str
    reason: Literal["DependencyMissing", "DataStorageError", "ValidationFailed"]
    message: str
    namespace: str | UnsetType = UNSET


class AgentSessionWebhookAuditPayload(Payload, frozen=True, kw_only=True):
    """An agent session was admitted to the cluster, or turned away."""

    event_type: Literal["agentsession.admitted.create", "agentsession.denied.create"]
    crd_name: str
    crd_namespace: str
    action: Literal["create", "denied"]
    remediation_request_ref: str | UnsetType = UNSET
    denial_reason: str | UnsetType = UNSET


class ActionTypeWebhookAuditPayload(Payload, frozen=True, kw_only=True):
    """An action type was admitted to the cluster, or turned away."""

    event_type: Literal[
        "actiontype.admitted.create",
        "actiontype.admitted.update",
        "actiontype.admitted.delete",
        "actiontype.denied.create",
        "actiontype.denied.update",
        "actiontype.denied.delete",
    ]
    action_type_name: str
    crd_name: str
    crd_namespace: str
    action: Literal["create", "update", "delete", "denied"]

    previously_existed: bool | UnsetType = UNSET
    catalog_status: str | UnsetType = UNSET
    denial_reason: str | UnsetType = UNSET
    denial_operation: str | UnsetType = UNSET
