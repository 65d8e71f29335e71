"""The payload catalogue: every type, every field, and what each of them refuses."""

import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, cast, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from kubernaut.audit import payloads
from kubernaut.audit.payloads import PAYLOAD_TYPES, Payload, UnknownEventTypeError, decode_payload
from kubernaut.audit.payloads._decoding import _DECODERS

Json = Any

# Counted by hand from the specification, family by family.
VALUES_PER_PREFIX = {
    "actiontype": 6,
    "agentsession": 2,
    "aianalysis": 2 + 1 + 3 + 1 + 1 + 1,
    "aiagent": 9 + 13 + 7,
    "apifrontend": 9 + 13 + 9,
    "authwebhook": 1,
    "datastorage": 1 + 2 + 5,
    "effectiveness": 7,
    "gateway": 4 + 2,
    "notification": 4,
    "orchestrator": 8 + 3 + 1 + 1 + 1,
    "remediation": 1,
    "remediationworkflow": 4,
    "signalprocessing": 6,
    "webhook": 2 + 1 + 1,
    "workflow": 4,
    "workflowexecution": 5 + 1,
}
EVENT_TYPES = [
    "actiontype.admitted.create",
    "actiontype.admitted.delete",
    "actiontype.admitted.update",
    "actiontype.denied.create",
    "actiontype.denied.delete",
    "actiontype.denied.update",
    "agentsession.admitted.create",
    "agentsession.denied.create",
    "aiagent.alignment.step",
    "aiagent.alignment.verdict",
    "aiagent.auth.denied",
    "aiagent.auth.failure",
    "aiagent.enrichment.completed",
    "aiagent.enrichment.failed",
    "aiagent.interactive.completed",
    "aiagent.interactive.k8s_call",
    "aiagent.interactive.started",
    "aiagent.investigation.cancelled",
    "aiagent.llm.request",
    "aiagent.llm.response",
    "aiagent.llm.tool_call",
    "aiagent.ratelimit.denied",
    "aiagent.rca.complete",
    "aiagent.response.complete",
    "aiagent.response.failed",
    "aiagent.secret.accessed",
    "aiagent.session.access_denied",
    "aiagent.session.cancelled",
    "aiagent.session.completed",
    "aiagent.session.failed",
    "aiagent.session.observed",
    "aiagent.session.resumed",
    "aiagent.session.started",
    "aiagent.session.suspended",
    "aiagent.shadow.llm.request",
    "aiagent.shadow.llm.response",
    "aiagent.workflow.validation_attempt",
    "aianalysis.aiagent.call",
    "aianalysis.aiagent.result",
    "aianalysis.aiagent.submit",
    "aianalysis.analysis.completed",
    "aianalysis.analysis.failed",
    "aianalysis.approval.decision",
    "aianalysis.error.occurred",
    "aianalysis.phase.transition",
    "aianalysis.rego.evaluation",
    "apifrontend.a2a.task_completed",
    "apifrontend.a2a.task_failed",
    "apifrontend.a2a.task_started",
    "apifrontend.auth.access_denied",
    "apifrontend.auth.failure",
    "apifrontend.auth.success",
    "apifrontend.circuitbreaker.trip",
    "apifrontend.config.rejected",
    "apifrontend.config.reloaded",
    "apifrontend.impersonation.created",
    "apifrontend.jwt.delegation",
    "apifrontend.ka.delegated",
    "apifrontend.ka.result_received",
    "apifrontend.mcp.session_init",
    "apifrontend.mcp.tool_failed",
    "apifrontend.ratelimit.denied",
    "apifrontend.rr.created",
    "apifrontend.rr.deduplicated",
    "apifrontend.session.auto_cancelled",
    "apifrontend.session.completed",
    "apifrontend.session.created",
    "apifrontend.session.deleted",
    "apifrontend.session.phase_changed",
    "apifrontend.session.retention_deleted",
    "apifrontend.severity_triage.completed",
    "apifrontend.severity_triage.failed",
    "apifrontend.tool.executed",
    "apifrontend.triage.completed",
    "apifrontend.triage.started",
    "apifrontend.user.decision",
    "apifrontend.workflow.discovery",
    "authwebhook.workflow.registration_failed",
    "datastorage.actiontype.created",
    "datastorage.actiontype.disable_denied",
    "datastorage.actiontype.disabled",
    "datastorage.actiontype.reenabled",
    "datastorage.actiontype.updated",
    "datastorage.ratelimit.denied",
    "datastorage.workflow.created",
    "datastorage.workflow.updated",
    "effectiveness.alert.assessed",
    "effectiveness.alert_decay.detected",
    "effectiveness.assessment.completed",
    "effectiveness.assessment.scheduled",
    "effectiveness.hash.computed",
    "effectiveness.health.assessed",
    "effectiveness.metrics.assessed",
    "gateway.config.rejected",
    "gateway.config.reloaded",
    "gateway.crd.created",
    "gateway.crd.failed",
    "gateway.signal.deduplicated",
    "gateway.signal.received",
    "notification.message.acknowledged",
    "notification.message.escalated",
    "notification.message.failed",
    "notification.message.sent",
    "orchestrator.approval.approved",
    "orchestrator.approval.rejected",
    "orchestrator.approval.requested",
    "orchestrator.ea.created",
    "orchestrator.lifecycle.completed",
    "orchestrator.lifecycle.created",
    "orchestrator.lifecycle.failed",
    "orchestrator.lifecycle.started",
    "orchestrator.lifecycle.transitioned",
    "orchestrator.lifecycle.verification_completed",
    "orchestrator.lifecycle.verification_timed_out",
    "orchestrator.lifecycle.verifying_started",
    "orchestrator.remediation.manual_review",
    "orchestrator.routing.blocked",
    "remediation.workflow_created",
    "remediationworkflow.admitted.create",
    "remediationworkflow.admitted.delete",
    "remediationworkflow.admitted.denied",
    "remediationworkflow.admitted.update",
    "signalprocessing.business.classified",
    "signalprocessing.classification.decision",
    "signalprocessing.enrichment.completed",
    "signalprocessing.error.occurred",
    "signalprocessing.phase.transition",
    "signalprocessing.signal.processed",
    "webhook.notification.acknowledged",
    "webhook.notification.cancelled",
    "webhook.remediationapprovalrequest.decided",
    "webhook.remediationrequest.timeout_modified",
    "workflow.catalog.actions_listed",
    "workflow.catalog.selection_validated",
    "workflow.catalog.workflow_retrieved",
    "workflow.catalog.workflows_listed",
    "workflowexecution.block.cleared",
    "workflowexecution.execution.started",
    "workflowexecution.selection.completed",
    "workflowexecution.workflow.completed",
    "workflowexecution.workflow.failed",
    "workflowexecution.workflow.started",
]

WRONG_VALUE = "no such value"


class Site(NamedTuple):
    """A field somewhere in a payload: the names that lead to it, and what it may hold."""

    names: tuple[str, ...]
    required: bool
    kind: inspect.Type

    @property
    def path(self) -> str:
        return "$" + "".join(f".{name}" for name in self.names)

    @property
    def parent_path(self) -> str:
        return "$" + "".join(f".{name}" for name in self.names[:-1])


def bare(kind: inspect.Type) -> inspect.Type:
    """The type without its metadata; that a field may be absent is no part of its type here."""
    return bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


@cache
def struct_of(event_type: str) -> inspect.StructType:
    return cast("inspect.StructType", inspect.type_info(PAYLOAD_TYPES[event_type]))


def sites(struct: inspect.StructType, above: tuple[str, ...] = ()) -> Iterator[Site]:
    for field in struct.fields:
        kind = bare(field.type)
        names = (*above, field.encode_name)
        yield Site(names, field.required, kind)
        if isinstance(kind, inspect.StructType):
            yield from sites(kind, names)


SAMPLES: dict[type[inspect.Type], Json] = {
    inspect.StrType: "text",
    inspect.IntType: 7,
    inspect.FloatType: 0.5,
    inspect.BoolType: False,
    inspect.DateTimeType: "2026-03-01T12:00:00.123456Z",
    inspect.UUIDType: "0198d5a0-0000-7000-8000-000000000001",
    inspect.AnyType: {"free": ["form", 1, None]},
}


def sample(kind: inspect.Type, *, optional: bool) -> Json:
    """One valid value, in the form in which msgspec would write it."""
    match bare(kind):
        case inspect.StructType(fields=fields):
            return {
                field.encode_name: sample(field.type, optional=optional)
                for field in fields
                if field.required or optional
            }
        case inspect.LiteralType(values=allowed):
            return allowed[0]
        case inspect.ListType(item_type=item):
            return [sample(item, optional=optional)]
        case inspect.DictType(value_type=value):
            return {"key": sample(value, optional=optional)}
        case simple:
            return SAMPLES[type(simple)]


def minimal(event_type: str) -> dict[str, Json]:
    payload: dict[str, Json] = sample(struct_of(event_type), optional=False)
    return {**payload, "event_type": event_type}


def full(event_type: str) -> dict[str, Json]:
    payload: dict[str, Json] = sample(struct_of(event_type), optional=True)
    return {**payload, "event_type": event_type}


def changed(payload: dict[str, Json], site: Site, value: Json) -> dict[str, Json]:
    name, *rest = site.names
    if not rest:
        return {**payload, name: value}
    return {**payload, name: changed(payload[name], site._replace(names=tuple(rest)), value)}


def without(payload: dict[str, Json], site: Site) -> dict[str, Json]:
    name, *rest = site.names
    if not rest:
        return {key: value for key, value in payload.items() if key != name}
    return {**payload, name: without(payload[name], site._replace(names=tuple(rest)))}


def with_strangers(value: Json, kind: inspect.Type) -> Json:
    """The same value with a member that nobody knows in every typed object."""
    kind = bare(kind)
    if not isinstance(kind, inspect.StructType):
        return value
    kinds = {field.encode_name: field.type for field in kind.fields}
    known = {name: with_strangers(member, kinds[name]) for name, member in value.items()}
    return {**known, "x_stranger": {"event_type": None}}


def decode(event_type: str, payload: Json) -> Payload:
    return decode_payload(event_type, msgspec.json.encode(payload))


def round_trip(event_type: str, payload: Json) -> Json:
    return json.loads(msgspec.json.encode(decode(event_type, payload)))


def refusal(event_type: str, payload: Json) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        decode(event_type, payload)
    return str(caught.value)


TEXTS = st.text(max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INT64S = st.integers(-(2**63), 2**63 - 1)
JSONS = st.recursive(
    st.none() | st.booleans() | INT64S | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def as_written(value: object) -> str:
    written: str = msgspec.to_builtins(value)
    return written


SIMPLE: dict[type[inspect.Type], st.SearchStrategy[Json]] = {
    inspect.StrType: TEXTS,
    inspect.IntType: INT64S,
    inspect.FloatType: FLOATS | st.integers(-(2**53), 2**53),
    inspect.BoolType: st.booleans(),
    inspect.DateTimeType: st.datetimes(timezones=st.timezones()).map(as_written),
    inspect.UUIDType: st.uuids().map(as_written),
    inspect.AnyType: JSONS,
}


def values(kind: inspect.Type) -> st.SearchStrategy[Json]:
    """All valid values, in the form in which msgspec would write them."""
    match bare(kind):
        case inspect.StructType(fields=fields):
            return st.fixed_dictionaries(
                {field.encode_name: values(field.type) for field in fields if field.required},
                optional={
                    field.encode_name: values(field.type) for field in fields if not field.required
                },
            )
        case inspect.LiteralType(values=allowed):
            return st.sampled_from(allowed)
        case inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=3)
        case inspect.DictType(value_type=value):
            return st.dictionaries(TEXTS, values(value), max_size=3)
        case simple:
            return SIMPLE[type(simple)]


@cache
def payloads_of(event_type: str) -> st.SearchStrategy[dict[str, Json]]:
    return values(struct_of(event_type))


every_event_type = pytest.mark.parametrize("event_type", EVENT_TYPES)


def test_the_catalogue_lists_each_type_once_and_no_other() -> None:
    assert len(EVENT_TYPES) == 142
    assert sorted(PAYLOAD_TYPES) == EVENT_TYPES
    assert len(set(PAYLOAD_TYPES.values())) == 94


def test_each_prefix_has_as_many_types_as_the_specification_gives_it() -> None:
    assert sum(VALUES_PER_PREFIX.values()) == 142
    assert Counter(name.partition(".")[0] for name in PAYLOAD_TYPES) == VALUES_PER_PREFIX


def test_no_two_structs_claim_the_same_type() -> None:
    claims = [
        (event_type, struct)
        for struct in set(PAYLOAD_TYPES.values())
        for event_type in get_args(struct.__annotations__["event_type"])
    ]
    assert len(claims) == 142
    assert dict(claims) == dict(PAYLOAD_TYPES)


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PAYLOAD_TYPES["made.up"] = Payload  # type: ignore[index]


def test_every_struct_is_public_under_its_name() -> None:
    for struct in PAYLOAD_TYPES.values():
        assert struct.__name__ in payloads.__all__
        assert getattr(payloads, struct.__name__) is struct
    assert all(hasattr(payloads, name) for name in payloads.__all__)


@every_event_type
def test_a_struct_is_frozen_and_starts_with_its_event_type(event_type: str) -> None:
    struct = PAYLOAD_TYPES[event_type]
    first, *rest = msgspec.structs.fields(struct)
    assert (first.name, first.required) == ("event_type", True)
    assert all(field.required or field.default is msgspec.UNSET for field in rest)
    assert struct.__struct_config__.frozen
    assert not struct.__struct_config__.forbid_unknown_fields


@every_event_type
def test_the_required_fields_suffice(event_type: str) -> None:
    payload = decode(event_type, minimal(event_type))
    assert type(payload) is PAYLOAD_TYPES[event_type]
    assert payload.event_type == event_type
    assert json.loads(msgspec.json.encode(payload)) == minimal(event_type)


@every_event_type
def test_all_fields_together_come_back_as_they_went_in(event_type: str) -> None:
    assert round_trip(event_type, full(event_type)) == full(event_type)


@every_event_type
def test_a_missing_required_field_is_named(event_type: str) -> None:
    payload = full(event_type)
    required = [site for site in sites(struct_of(event_type)) if site.required]
    assert required
    for site in required:
        told = refusal(event_type, without(payload, site))
        assert f"missing required field `{site.names[-1]}`" in told
        assert site.parent_path == "$" or f"`{site.parent_path}`" in told


@every_event_type
@pytest.mark.parametrize("bad", [None, [None]], ids=["null", "list of null"])
def test_null_is_no_value_for_any_field(event_type: str, bad: Json) -> None:
    payload = full(event_type)
    for site in sites(struct_of(event_type)):
        if not isinstance(site.kind, inspect.AnyType):
            assert f"`{site.path}" in refusal(event_type, changed(payload, site, bad))


def test_only_the_result_of_a_tool_may_be_anything() -> None:
    free = {
        (event_type, site.path)
        for event_type in EVENT_TYPES
        for site in sites(struct_of(event_type))
        if isinstance(site.kind, inspect.AnyType)
    }
    assert free == {("aiagent.llm.tool_call", "$.tool_result")}
    payload = {**minimal("aiagent.llm.tool_call"), "tool_result": None}
    assert round_trip("aiagent.llm.tool_call", payload) == payload


@every_event_type
def test_a_value_outside_an_enum_is_refused(event_type: str) -> None:
    payload = full(event_type)
    enums = [
        site for site in sites(struct_of(event_type)) if isinstance(site.kind, inspect.LiteralType)
    ]
    assert enums[0].path == "$.event_type"
    for site in enums:
        told = refusal(event_type, changed(payload, site, WRONG_VALUE))
        assert WRONG_VALUE in told
        assert f"`{site.path}`" in told


@every_event_type
def test_every_value_of_an_enum_is_accepted(event_type: str) -> None:
    payload = full(event_type)
    for site in sites(struct_of(event_type)):
        if isinstance(site.kind, inspect.LiteralType):
            for value in site.kind.values:
                variant = changed(payload, site, value)
                assert round_trip(event_type, variant) == variant


@every_event_type
def test_unknown_members_are_accepted_and_dropped(event_type: str) -> None:
    for payload in (minimal(event_type), full(event_type)):
        strange = with_strangers(payload, struct_of(event_type))
        assert "x_stranger" in strange
        assert round_trip(event_type, strange) == payload


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_valid_payload_survives_decoding_and_encoding(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(EVENT_TYPES))
    payload = data.draw(payloads_of(event_type))
    decoded = decode(event_type, payload)
    assert json.loads(msgspec.json.encode(decoded)) == payload
    assert decode_payload(event_type, msgspec.json.encode(decoded)) == decoded


def test_the_answer_of_the_agent_is_in_camel_case() -> None:
    (data,) = (
        field.type
        for field in struct_of("aiagent.response.complete").fields
        if field.name == "response_data"
    )
    assert sample(data, optional=True).keys() == {
        "incidentId",
        "analysis",
        "rootCauseAnalysis",
        "confidence",
        "timestamp",
        "selectedWorkflow",
        "isActionable",
        "needsHumanReview",
        "humanReviewReason",
        "warnings",
        "alternativeWorkflows",
    }


def test_a_time_needs_an_offset() -> None:
    payload = minimal("webhook.remediationrequest.timeout_modified")
    told = refusal(
        "webhook.remediationrequest.timeout_modified",
        {**payload, "modified_at": "2026-03-01T12:00:00"},
    )
    assert "timezone" in told
    assert "`$.modified_at`" in told


def test_a_number_may_be_written_as_an_integer() -> None:
    payload = {**minimal("aianalysis.approval.decision"), "confidence": 1}
    assert round_trip("aianalysis.approval.decision", payload)["confidence"] == 1.0


@pytest.mark.parametrize(
    "event_type", ["", "gateway", "workflow.started", "gateway.signal.Received"]
)
def test_a_type_outside_the_catalogue_is_named(event_type: str) -> None:
    with pytest.raises(UnknownEventTypeError) as caught:
        decode_payload(event_type, b"{}")
    assert caught.value.event_type == event_type
    assert repr(event_type) in str(caught.value)
    assert not isinstance(caught.value, KeyError)
    assert caught.value.__context__ is None


def test_an_unknown_type_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(UnknownEventTypeError("made.up")))  # noqa: S301 - our own bytes
    assert (error.event_type, str(error)) == ("made.up", str(UnknownEventTypeError("made.up")))


def test_a_type_of_another_struct_is_refused_and_a_sister_type_accepted() -> None:
    payload = minimal("gateway.crd.created")
    assert decode("gateway.crd.failed", payload).event_type == "gateway.crd.created"
    told = refusal("gateway.crd.failed", {**payload, "event_type": "gateway.config.reloaded"})
    assert "`$.event_type`" in told


@pytest.mark.parametrize("wrap", [bytes, memoryview, msgspec.Raw])
def test_bytes_come_in_three_forms(wrap: type[bytes | memoryview | msgspec.Raw]) -> None:
    raw = msgspec.json.encode(minimal("apifrontend.jwt.delegation"))
    decoded = decode_payload("apifrontend.jwt.delegation", wrap(raw))
    assert decoded == payloads.ApifrontendJWTDelegationPayload(
        event_type="apifrontend.jwt.delegation", target_service="text"
    )


def test_broken_json_is_a_decode_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_payload("apifrontend.jwt.delegation", b'{"event_type":')


def test_a_decoder_is_made_once() -> None:
    payload = minimal("gateway.config.reloaded")
    decode("gateway.config.reloaded", payload)
    first = _DECODERS["gateway.config.reloaded"]
    decode("gateway.config.reloaded", payload)
    assert _DECODERS["gateway.config.reloaded"] is first


def test_importing_makes_no_decoder() -> None:
    program = "from kubernaut.audit.payloads import _decoding as d; print(len(d._DECODERS))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
