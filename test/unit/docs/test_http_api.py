"""The page on the HTTP API and the routes, parameters and answers are the same."""

import json
import re
from typing import Any, Final

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from kubernaut.audit import wire
from kubernaut.datastorage import app
from kubernaut.datastorage.database import _DISCONNECTED, _OUTAGES, Outage
from kubernaut.datastorage.openapi import openapi_document
from test.unit.docs.pages import codes, first_codes, read, rows, section, table

PAGE: Final = read("reference/http-api")
OPENAPI: Final[dict[str, Any]] = json.loads(openapi_document())
SECTIONS: Final = {
    ("POST", "/api/v1/audit/events"): "Store one event",
    ("POST", "/api/v1/audit/events/batch"): "Store a batch",
    ("GET", "/api/v1/audit/events"): "Find events",
    ("GET", "/api/v1/audit/events/{event_id}"): "Get one event",
    ("POST", "/api/v1/audit/verify-chain"): "Verify a chain",
}


def test_every_route_is_documented_and_nothing_else() -> None:
    documented = {(row[0], codes(row[1])[0]) for row in table(PAGE, "Routes")}
    assert documented == {
        (method, re.sub(r":\w+}", "}", path) or "/")
        for handler in vars(app).values()
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods
        for path in handler.paths
    }


def test_the_openapi_document_has_no_other_routes() -> None:
    documented = {(row[0], codes(row[1])[0]) for row in table(PAGE, "Routes")}
    described = {
        (method.upper(), path)
        for path, operations in OPENAPI["paths"].items()
        for method in operations
    }
    assert described <= documented
    assert set(SECTIONS) <= described


@pytest.mark.parametrize("operation", SECTIONS)
def test_every_status_is_documented(operation: tuple[str, str]) -> None:
    method, path = operation
    statuses = {int(status) for status in OPENAPI["paths"][path][method.lower()]["responses"]}
    text = section(PAGE, SECTIONS[operation])
    success = re.search(r"\b(20\d)\b", text)
    assert success
    others = text[text.index("Other answers:") :]
    others = re.sub(r"\([^)]*\)", "", others.partition("\n\n")[0])
    documented = {int(success[1]), *map(int, re.findall(r"\b\d{3}\b", others))}
    assert documented == statuses


def test_every_query_parameter_is_documented_and_nothing_else() -> None:
    text = section(PAGE, "Find events").partition("200:")[0]
    described = {
        one["name"] for one in OPENAPI["paths"]["/api/v1/audit/events"]["get"]["parameters"]
    }
    assert set(first_codes(rows(text))) == described


@pytest.mark.parametrize(
    ("heading", "structs"),
    [
        ("Store one event", [wire.SingleAnswer]),
        ("Store a batch", [wire.BatchAnswer, wire.EventResult]),
        ("Verify a chain", [wire.Verification, wire.Finding]),
        ("Health", [wire.Health]),
    ],
)
def test_every_member_of_an_answer_is_documented(
    heading: str, structs: list[type[msgspec.Struct]]
) -> None:
    members = {name for struct in structs for name in struct.__struct_encode_fields__}
    text = section(PAGE, heading).partition("\n### ")[0]
    assert set(first_codes(rows(text))) == members


def test_every_member_of_a_page_of_events_is_documented() -> None:
    text = section(PAGE, "Find events").partition("200:")[2].partition("\n### ")[0]
    assert set(first_codes(rows(text))) == set(wire.Page.__struct_fields__) | {
        f"pagination.{name}" for name in wire.Pagination.__struct_fields__
    }


def test_every_verdict_is_documented() -> None:
    verdicts = set(wire.Verdict.__args__)  # type: ignore[attr-defined]
    assert verdicts <= set(codes(section(PAGE, "Verify a chain")))
    page = read("how-to/verify-a-chain")
    assert set(first_codes(table(page, "What each verdict means"))) == verdicts


def test_every_state_of_the_database_is_documented_and_nothing_else() -> None:
    states = {found.state for found in _OUTAGES.values()} | {_DISCONNECTED.state, "connected"}
    assert Outage("timeout", "").state in states
    assert set(first_codes(table(PAGE, "States of the database"))) == states
