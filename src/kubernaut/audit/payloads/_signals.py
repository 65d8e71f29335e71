"""How signals come in: the gateway, its guard in front of the store, and signal processing."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import ErrorDetails, Payload

Severity = Literal["critical", "high", "warning", "info", "unknown"]


class GatewayAuditPayload(Payload, frozen=True, kw_only=True):
    """A signal reached the gateway and became a remediation request, a duplicate or a failure."""

    event_type: Literal[
        "gateway.signal.received",
        "gateway.signal.deduplicated",
        "gateway.crd.created",
        "gateway.crd.failed",
    ]
    signal_type: Literal["alert"]
    signal_name: str
    namespace: str
    fingerprint: str

    original_payload: dict[str, Any] | UnsetType = UNSET
    signal_labels: dict[str, str] | UnsetType = UNSET
    signal_annotations: dict[str, str] | UnsetType = UNSET
    severity: str | UnsetType = UNSET
    resource_kind: str | UnsetType = UNSET
    resource_name: str | UnsetType = UNSET

    remediation_request: str | UnsetType = UNSET
    deduplication_status: Literal["new", "duplicate"] | UnsetType = UNSET
    occurrence_count: int | UnsetType = UNSET
    error_details: ErrorDetails | UnsetType = UNSET


class GatewayConfigReloadedPayload(Payload, frozen=True, kw_only=True):
    """The gateway took over a changed configuration."""

    event_type: Literal["gateway.config.reloaded"]
    component: str
    config_version: str | UnsetType = UNSET


class GatewayConfigRejectedPayload(Payload, frozen=True, kw_only=True):
    """The gateway refused a changed configuration and kept the old one."""

    event_type: Literal["gateway.config.rejected"]
    component: str
    rejection_reason: str


class DatastorageRatelimitDeniedPayload(Payload, frozen=True, kw_only=True):
    """The data store turned a request away because its sender asked too often."""

    event_type: Literal["datastorage.ratelimit.denied"]
    event_id: str
    source_ip: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    method: str | UnsetType = UNSET


class SignalProcessingAuditPayload(Payload, frozen=True, kw_only=True):
    """A signal was enriched and classified, or failed to be."""

    event_type: Literal[
        "signalprocessing.signal.processed",
        "signalprocessing.phase.transition",
        "signalprocessing.classification.decision",
        "signalprocessing.business.classified",
        "signalprocessing.enrichment.completed",
        "signalprocessing.error.occurred",
    ]
    phase: Literal["Pending", "Enriching", "Classifying", "Categorizing", "Completed", "Failed"]
    signal: str

    severity: Severity | UnsetType = UNSET
    external_severity: str | UnsetType = UNSET
    normalized_severity: Severity | UnsetType = UNSET
    determination_source: Literal["rego-policy", "fallback", "default"] | UnsetType = UNSET
    policy_hash: str | UnsetType = UNSET

    environment: Literal["production", "staging", "development"] | UnsetType = UNSET
    environment_source: Literal["rego", "labels", "default"] | UnsetType = UNSET
    priority: Literal["P0", "P1", "P2", "P3", "P4"] | UnsetType = UNSET
    priority_source: Literal["rego", "severity", "default"] | UnsetType = UNSET
    criticality: Literal["critical", "high", "warning", "low"] | UnsetType = UNSET
    sla_requirement: str | UnsetType = UNSET

    has_owner_chain: bool | UnsetType = UNSET
    owner_chain_length: int | UnsetType = UNSET
    degraded_mode: bool | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    has_namespace: bool | UnsetType = UNSET
    has_pod: bool | UnsetType = UNSET
    has_deployment: bool | UnsetType = UNSET
    business_unit: str | UnsetType = UNSET

    from_phase: str | UnsetType = UNSET
    to_phase: str | UnsetType = UNSET
    signal_mode: Literal["reactive", "proactive"] | UnsetType = UNSET
    source_signal_name: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
