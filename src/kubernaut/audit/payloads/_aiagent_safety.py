"""How the agent is kept honest and its door guarded: shadow checks, limits and access."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload


class AIAgentAlignmentStepPayload(Payload, frozen=True, kw_only=True):
    """The shadow agent found one step of an investigation suspicious."""

    event_type: Literal["aiagent.alignment.step"]
    event_id: str
    step_index: int
    step_kind: str
    explanation: str
    tool: str | UnsetType = UNSET


class AIAgentAlignmentVerdictPayload(Payload, frozen=True, kw_only=True):
    """The shadow agent passed its verdict on a whole investigation."""

    event_type: Literal["aiagent.alignment.verdict"]
    event_id: str
    result: str
    flagged: int
    total: int

    summary: str | UnsetType = UNSET
    shadow_prompt_tokens: int | UnsetType = UNSET
    shadow_completion_tokens: int | UnsetType = UNSET
    shadow_total_tokens: int | UnsetType = UNSET


class ShadowLLMRequestPayload(Payload, frozen=True, kw_only=True):
    """The shadow agent asked its language model about one step."""

    event_type: Literal["aiagent.shadow.llm.request"]
    event_id: str
    incident_id: str
    step_index: int
    step_kind: str
    prompt_length: int


class ShadowLLMResponsePayload(Payload, frozen=True, kw_only=True):
    """The shadow agent's language model answered about one step."""

    event_type: Literal["aiagent.shadow.llm.response"]
    event_id: str
    incident_id: str
    step_index: int
    step_kind: str
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    attempt: int | UnsetType = UNSET
    evaluation_result: Literal["success", "malformed_response", "missing_field"] | UnsetType = UNSET


class AIAgentRatelimitDeniedPayload(Payload, frozen=True, kw_only=True):
    """The agent turned a request away because its sender asked too often."""

    event_type: Literal["aiagent.ratelimit.denied"]
    event_id: str
    source_ip: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    method: str | UnsetType = UNSET


class AIAgentAuthFailurePayload(Payload, frozen=True, kw_only=True):
    """A caller could not prove to the agent who it is."""

    event_type: Literal["aiagent.auth.failure"]
    event_id: str
    source_ip: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class AIAgentAuthDeniedPayload(Payload, frozen=True, kw_only=True):
    """A known caller asked the agent for something it may not have."""

    event_type: Literal["aiagent.auth.denied"]
    event_id: str
    source_ip: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
