"""The base of all payloads, and the objects that several families share."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Timestamp = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]


class Payload(Struct, frozen=True, kw_only=True):
    """What one audit event tells beyond its envelope, told apart by `event_type`.

    An optional field that was not given is `msgspec.UNSET`; it is left out on encoding and may
    not be null. Members that a payload does not name are accepted, and dropped on decoding.
    """

    event_type: str


class ErrorDetails(Struct, frozen=True, kw_only=True):
    """An error in a form that programs can sort: code, place, and whether a retry may help."""

    message: str
    code: str  # ERR_, then the category, then what went wrong; the set is open.
    component: Literal[
        "gateway",
        "aianalysis",
        "workflowexecution",
        "remediationorchestrator",
        "signalprocessing",
        "authwebhook",
    ]
    retry_possible: bool
    stack_trace: list[str] | UnsetType = UNSET


class TimeoutConfig(Struct, frozen=True, kw_only=True):
    """The time limits of a remediation request, as Go durations."""

    global_: str | UnsetType = field(default=UNSET, name="global")
    processing: str | UnsetType = UNSET
    analyzing: str | UnsetType = UNSET
    executing: str | UnsetType = UNSET
