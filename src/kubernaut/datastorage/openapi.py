"""The OpenAPI 3.1 document, put together from the types that the service decodes and encodes."""

from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, Final

import msgspec

from kubernaut.audit import AuditEvent
from kubernaut.audit.payloads import PAYLOAD_TYPES
from kubernaut.audit.wire import (
    BatchAnswer,
    EventResult,
    Fault,
    Finding,
    Health,
    Page,
    ProblemDocument,
    SingleAnswer,
    StoredEvent,
    Verification,
)
from kubernaut.datastorage.problems import BASE, PROBLEMS

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_MINIMAL: Final = {"event_category": "workflow", "event_action": "workflow.started"}
_FULL: Final = {
    "event_id": "0192f3a0-5b5e-7cc3-9f7a-0d5a3c1b2e4f",
    "event_type": "workflowexecution.workflow.completed",
    "event_timestamp": "2026-11-01T09:30:00.125Z",
    "event_category": "workflowexecution",
    "event_action": "completed",
    "event_outcome": "success",
    "correlation_id": "rr-restart-payment-api",
    "resource_type": "WorkflowExecution",
    "resource_id": "restart-payment-api",
    "event_data": {
        "event_type": "workflowexecution.workflow.completed",
        "workflow_id": "restart-deployment",
        "workflow_version": "1.2.0",
        "target_resource": "payments/deployment/api",
        "phase": "Completed",
        "container_image": "registry.example/workflows/restart:1.2.0",
        "execution_name": "restart-payment-api",
    },
}


class VerifyRequest(msgspec.Struct, frozen=True):
    """Which chain to verify."""

    correlation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


_TYPES: Final = (
    AuditEvent,
    SingleAnswer,
    BatchAnswer,
    EventResult,
    StoredEvent,
    Page,
    Verification,
    Finding,
    VerifyRequest,
    Health,
    Fault,
    ProblemDocument,
)


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _components() -> dict[str, Any]:
    payloads = sorted(set(PAYLOAD_TYPES.values()), key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components([*_TYPES, *payloads], ref_template=_REF)
    for payload in payloads:
        components[payload.__name__].pop("title", None)
    event = components["AuditEvent"]
    event["additionalProperties"] = True
    event["properties"]["actor_ip"] = {
        "type": "string",
        "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"maxLength": 0}],
    }
    event["dependentRequired"] = {"event_id": ["event_timestamp"]}
    event["properties"]["event_data"] = {
        "description": "Free-form, or, with an inner event_type, one of the catalogue's payloads."
        " Stored byte for byte as sent",
        "anyOf": [
            {"type": "object", "not": {"required": ["event_type"]}},
            {
                "oneOf": [_reference(payload) for payload in payloads],
                "discriminator": {
                    "propertyName": "event_type",
                    "mapping": {
                        name: _REF.format(name=kind.__name__)
                        for name, kind in PAYLOAD_TYPES.items()
                    },
                },
            },
        ],
    }
    return components


def _body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    named = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {_JSON: {"schema": schema, "examples": named}}}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _problems(*statuses: int) -> dict[str, Any]:
    answers = {}
    for status in statuses:
        slugs = [slug for slug, (code, _) in PROBLEMS.items() if code == status]
        answers[str(status)] = {
            "description": "Problem: " + ", ".join(BASE + slug for slug in slugs),
            "content": {"application/problem+json": {"schema": _reference(ProblemDocument)}},
        }
    return answers


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _text(limit: int) -> dict[str, Any]:
    # No control characters: NUL cannot be stored, and so cannot be looked for.
    return {"type": "string", "minLength": 1, "maxLength": limit, "pattern": "^[^\\u0000]+$"}


_TIME: Final = {
    "type": "string",
    "anyOf": [
        {"format": "date-time"},
        {"format": "date"},
        {"pattern": "^[0-9]{1,4}d$"},
        {"pattern": "^([0-9]{1,6}(ns|us|ms|s|m|h))+$"},
    ],
}


def _query_parameters() -> list[dict[str, Any]]:
    return [
        _parameter("correlation_id", _text(255), "Equal to"),
        _parameter("event_type", _text(100), "Equal to"),
        _parameter("event_category", _text(50), "Equal to"),
        _parameter("event_outcome", {"enum": ["success", "failure", "pending"]}, "Equal to"),
        _parameter("severity", _text(20), "Equal to"),
        _parameter("since", _TIME, "Not before: a time, a UTC date, or a span before now (7d)"),
        _parameter("until", _TIME, "Not after: the same forms"),
        _parameter(
            "detail_key",
            {"type": "string", "pattern": "^[a-zA-Z0-9_]{1,100}$"},
            "A member of event_data; goes with detail_value",
        ),
        _parameter("detail_value", _text(10_000), "Its value, as text"),
        _parameter("order", {"enum": ["asc", "desc"], "default": "desc"}, "By event_timestamp"),
        _parameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
            "Events in one page",
        ),
        _parameter(
            "offset",
            {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
            "Events left out at the start",
        ),
        _parameter(
            "cursor",
            {"type": "string", "maxLength": 0},
            "Where to go on: next_cursor of the page before, or empty for the first page. Such"
            " pages have no total, and no event twice while others arrive",
        ),
    ]


def _paths() -> dict[str, Any]:
    problems = _problems
    return {
        "/api/v1/audit/events": {
            "post": {
                "operationId": "createEvent",
                "summary": "Store one event",
                "requestBody": _body(_reference(AuditEvent), {"minimal": _MINIMAL, "full": _FULL}),
                "responses": {
                    "201": _answer("The event is committed", _reference(SingleAnswer)),
                    **problems(400, 408, 409, 413, 415, 503),
                },
            },
            "get": {
                "operationId": "queryEvents",
                "summary": "Find events",
                "parameters": _query_parameters(),
                "responses": {
                    "200": {
                        **_answer("A page of events", _reference(Page)),
                        "headers": {
                            "Link": {
                                "description": 'The next page, rel="next" (RFC 8288)',
                                "schema": {"type": "string"},
                            }
                        },
                    },
                    **problems(400, 503),
                },
            },
        },
        "/api/v1/audit/events/batch": {
            "post": {
                "operationId": "createEvents",
                "summary": "Store a batch of events",
                "parameters": [
                    {
                        "name": "Prefer",
                        "in": "header",
                        "schema": {"type": "string"},
                        "example": "handling=lenient",
                        "description": "With handling=lenient: store what is right and tell of"
                        " the rest (RFC 7240)",
                    }
                ],
                "requestBody": _body(
                    {
                        "type": "array",
                        "items": _reference(AuditEvent),
                        "minItems": 1,
                        "maxItems": 10_000,
                    },
                    {"minimal": [_MINIMAL], "full": [_FULL]},
                ),
                "responses": {
                    "201": {
                        **_answer("The events are committed", _reference(BatchAnswer)),
                        "headers": {
                            "Preference-Applied": {
                                "description": "handling=lenient, where that was asked for",
                                "schema": {"type": "string"},
                            }
                        },
                    },
                    **problems(400, 408, 409, 413, 415, 503),
                },
            }
        },
        "/api/v1/audit/events/{event_id}": {
            "get": {
                "operationId": "getEvent",
                "summary": "One event by its id",
                "parameters": [
                    {
                        "name": "event_id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "format": "uuid"},
                    },
                    _parameter("correlation_id", _text(255), "Of this correlation only"),
                ],
                "responses": {
                    "200": _answer("The event", _reference(StoredEvent)),
                    **problems(400, 404, 503),
                },
            }
        },
        "/api/v1/audit/verify-chain": {
            "post": {
                "operationId": "verifyChain",
                "summary": "Verify the chain of a correlation id",
                "requestBody": _body(
                    _reference(VerifyRequest),
                    {"one": {"correlation_id": "rr-restart-payment-api"}},
                ),
                "responses": {
                    "200": _answer("What was found", _reference(Verification)),
                    **problems(400, 408, 413, 415, 503),
                },
            }
        },
        **_health_paths(),
    }


def _health_paths() -> dict[str, Any]:
    status = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string"}},
    }
    healthy = {
        "200": _answer("Healthy", _reference(Health)),
        "503": _answer("Unhealthy; `database` and `reason` say why", _reference(Health)),
    }
    ready = {"200": _answer("Ready", status), "503": _answer("Not ready, and why", status)}
    alive = {"200": _answer("Alive", status)}
    operations = {
        "/health": ("health", "Whether the service can do its work", healthy),
        "/health/live": ("live", "Whether the process answers", alive),
        "/health/ready": ("ready", "Whether requests should be sent here", ready),
        "/healthz": ("healthz", "Whether the process answers", alive),
        "/readyz": ("readyz", "Whether requests should be sent here", ready),
    }
    return {
        path: {"get": {"operationId": name, "summary": summary, "responses": responses}}
        for path, (name, summary, responses) in operations.items()
    }


@cache
def openapi_document() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "DataStorage",
                "version": version("kubernaut-py"),
                "description": "Keeps audit events in a tamper-evident chain."
                " An answer of 201 means committed.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": _paths(),
            "components": {"schemas": _components()},
        }
    )
