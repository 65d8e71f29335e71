"""The sessions of the agent: their life, the people in them and what was looked at."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload


class AIAgentSessionStartedPayload(Payload, frozen=True, kw_only=True):
    """An investigation session began."""

    event_type: Literal["aiagent.session.started"]
    event_id: str
    session_id: str
    incident_id: str | UnsetType = UNSET
    signal_name: str | UnsetType = UNSET
    severity: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET


class AIAgentSessionCompletedPayload(Payload, frozen=True, kw_only=True):
    """A session reached its end."""

    event_type: Literal["aiagent.session.completed"]
    event_id: str
    session_id: str


class AIAgentSessionFailedPayload(Payload, frozen=True, kw_only=True):
    """A session broke off with an error."""

    event_type: Literal["aiagent.session.failed"]
    event_id: str
    session_id: str
    error: str | UnsetType = UNSET


class AIAgentSessionCancelledPayload(Payload, frozen=True, kw_only=True):
    """A person cancelled a session."""

    event_type: Literal["aiagent.session.cancelled"]
    event_id: str
    session_id: str


class AIAgentSessionSuspendedPayload(Payload, frozen=True, kw_only=True):
    """The agent paused its own work because a person took over."""

    event_type: Literal["aiagent.session.suspended"]
    event_id: str
    session_id: str


class AIAgentSessionResumedPayload(Payload, frozen=True, kw_only=True):
    """The agent went on with its own work after a person had left."""

    event_type: Literal["aiagent.session.resumed"]
    event_id: str
    session_id: str


class AIAgentSessionObservedPayload(Payload, frozen=True, kw_only=True):
    """A person began to watch a session."""

    event_type: Literal["aiagent.session.observed"]
    event_id: str
    session_id: str
    observer_user: str | UnsetType = UNSET
    session_owner: str | UnsetType = UNSET


class AIAgentSessionAccessDeniedPayload(Payload, frozen=True, kw_only=True):
    """Somebody was kept out of a session that is not theirs."""

    event_type: Literal["aiagent.session.access_denied"]
    event_id: str
    session_id: str
    endpoint: str
    requesting_user: str
    session_owner: str | UnsetType = UNSET


class AIAgentInteractiveStartedPayload(Payload, frozen=True, kw_only=True):
    """A person took the lead in an investigation."""

    event_type: Literal["aiagent.interactive.started"]
    event_id: str
    session_id: str


class AIAgentInteractiveCompletedPayload(Payload, frozen=True, kw_only=True):
    """A person's lead in an investigation came to an end."""

    event_type: Literal["aiagent.interactive.completed"]
    event_id: str
    session_id: str
    reason: str | UnsetType = UNSET


class AIAgentInteractiveK8sCallPayload(Payload, frozen=True, kw_only=True):
    """The Kubernetes API was called in a person's name."""

    event_type: Literal["aiagent.interactive.k8s_call"]
    event_id: str
    session_id: str
    acting_user: str
    resource: str
    verb: str

    namespace: str | UnsetType = UNSET
    resource_name: str | UnsetType = UNSET
    http_status_code: int | UnsetType = UNSET
    correlation_id: str | UnsetType = UNSET


class AIAgentSecretAccessedPayload(Payload, frozen=True, kw_only=True):
    """The agent read a Secret, or the list of them."""

    event_type: Literal["aiagent.secret.accessed"]
    event_id: str
    verb: Literal["get", "list"]
    namespace: str | UnsetType = UNSET
    secret_name: str | UnsetType = UNSET
    tool_name: str | UnsetType = UNSET
    outcome_detail: str | UnsetType = UNSET


class AIAgentInvestigationCancelledPayload(Payload, frozen=True, kw_only=True):
    """An investigation was cancelled; this is how far it had come."""

    event_type: Literal["aiagent.investigation.cancelled"]
    event_id: str
    cancelled_phase: str
    cancelled_at_turn: int

    session_id: str | UnsetType = UNSET
    total_prompt_tokens: int | UnsetType = UNSET
    total_completion_tokens: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET
    accumulated_messages: str | UnsetType = UNSET  # A JSON text, not a list.
