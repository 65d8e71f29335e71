"""How people are told about a remediation, and what becomes of the message."""

from typing import Literal

from msgspec import UNSET, UnsetType

from kubernaut.audit.payloads._base import Payload

NotificationType = Literal[
    "Escalation", "Simple", "StatusUpdate", "Approval", "ManualReview", "Completion"
]


class NotificationAuditPayload(Payload, frozen=True, kw_only=True):
    """A person cancelled or acknowledged a notification through the API server."""

    event_type: Literal["webhook.notification.cancelled", "webhook.notification.acknowledged"]

    notification_id: str | UnsetType = UNSET
    notification_name: str | UnsetType = UNSET
    type: NotificationType | UnsetType = UNSET
    notification_type: NotificationType | UnsetType = UNSET
    priority: Literal["Critical", "High", "Medium", "Low"] | UnsetType = UNSET
    final_status: Literal["Pending", "Sending", "Sent", "Failed", "Cancelled"] | UnsetType = UNSET
    delivery_channels: list[str] | UnsetType = UNSET

    action: Literal["notification_cancelled", "notification_acknowledged"] | UnsetType = UNSET
    cancelled_by: str | UnsetType = UNSET
    user_uid: str | UnsetType = UNSET
    user_groups: list[str] | UnsetType = UNSET


class NotificationMessageSentPayload(Payload, frozen=True, kw_only=True):
    """A message was delivered on one channel."""

    event_type: Literal["notification.message.sent"]
    notification_id: str
    channel: str
    subject: str
    body: str
    priority: str
    type: str
    metadata: dict[str, str] | UnsetType = UNSET


class NotificationMessageFailedPayload(Payload, frozen=True, kw_only=True):
    """A message could not be delivered on one channel."""

    event_type: Literal["notification.message.failed"]
    notification_id: str
    channel: str
    subject: str
    body: str
    priority: str
    error_type: str
    error: str | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET


class NotificationMessageAcknowledgedPayload(Payload, frozen=True, kw_only=True):
    """Somebody confirmed having seen a message."""

    event_type: Literal["notification.message.acknowledged"]
    notification_id: str
    subject: str
    priority: str
    metadata: dict[str, str] | UnsetType = UNSET


class NotificationMessageEscalatedPayload(Payload, frozen=True, kw_only=True):
    """A message was passed on to somebody with more authority."""

    event_type: Literal["notification.message.escalated"]
    notification_id: str
    subject: str
    priority: str
    reason: str
    metadata: dict[str, str] | UnsetType = UNSET
