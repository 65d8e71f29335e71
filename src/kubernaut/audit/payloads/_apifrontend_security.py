"""Who was let in at the API frontend, in whose name it acted, and how it was configured."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload

AuthMethod = Literal["jwt", "token_review"]


class ApifrontendAuthAccessDeniedPayload(Payload, frozen=True, kw_only=True):
    """A user's role did not suffice for a tool."""

    event_type: Literal["apifrontend.auth.access_denied"]
    tool_name: str
    user_role: str
    required_roles: list[str]
    endpoint: Literal["a2a", "mcp"]
    session_id: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class ApifrontendAuthSuccessPayload(Payload, frozen=True, kw_only=True):
    """A caller proved who it is."""

    event_type: Literal["apifrontend.auth.success"]
    auth_method: AuthMethod
    issuer: str | UnsetType = UNSET
    groups: list[str] | UnsetType = UNSET


class ApifrontendAuthFailurePayload(Payload, frozen=True, kw_only=True):
    """A caller could not prove who it is."""

    event_type: Literal["apifrontend.auth.failure"]
    auth_method: AuthMethod
    failure_reason: str


class ApifrontendRatelimitDeniedPayload(Payload, frozen=True, kw_only=True):
    """A request was turned away because a limit on requests was reached."""

    event_type: Literal["apifrontend.ratelimit.denied"]
    limit_type: str
    limit_value: str | UnsetType = UNSET


class ApifrontendCircuitbreakerTripPayload(Payload, frozen=True, kw_only=True):
    """Calls to a failing service were stopped for a while."""

    event_type: Literal["apifrontend.circuitbreaker.trip"]
    circuit_name: str
    failure_count: int
    threshold: int | UnsetType = UNSET


class ApifrontendImpersonationCreatedPayload(Payload, frozen=True, kw_only=True):
    """The frontend set out to act in a user's name."""

    event_type: Literal["apifrontend.impersonation.created"]
    target_user: str
    groups: list[str] | UnsetType = UNSET


class ApifrontendJWTDelegationPayload(Payload, frozen=True, kw_only=True):
    """The frontend passed a user's token on to another service."""

    event_type: Literal["apifrontend.jwt.delegation"]
    target_service: str


class ApifrontendConfigReloadedPayload(Payload, frozen=True, kw_only=True):
    """The frontend took over a changed configuration."""

    event_type: Literal["apifrontend.config.reloaded"]
    config_version: str
    changed_keys: list[str] | UnsetType = UNSET


class ApifrontendConfigRejectedPayload(Payload, frozen=True, kw_only=True):
    """The frontend refused a changed configuration and kept the old one."""

    event_type: Literal["apifrontend.config.rejected"]
    rejection_reason: str
    config_version: str | UnsetType = UNSET
