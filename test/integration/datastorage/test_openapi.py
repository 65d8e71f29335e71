"""The OpenAPI document: true to the routes, and the service true to it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from kubernaut.audit.payloads import PAYLOAD_TYPES
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess

# Pages and files for people and Prometheus, which are no part of the API.
NOT_IN_THE_DOCUMENT = {"/metrics", "/openapi.json", "/docs", "/docs/{name}", "/"}


@pytest.fixture(scope="module")
def document(shared: DataStorageProcess) -> dict[str, Any]:
    found: dict[str, Any] = shared.get("/openapi.json").json()
    return found


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()


def test_the_document_has_every_route(document: dict[str, Any]) -> None:
    from kubernaut.datastorage.app import routes  # noqa: PLC0415

    documented = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert documented == {
        (method, path) for method, path in routes() if path not in NOT_IN_THE_DOCUMENT
    }


def test_every_payload_is_in_the_document(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    payload = schemas["AuditEvent"]["properties"]["event_data"]["anyOf"][1]
    assert set(payload["discriminator"]["mapping"]) == set(PAYLOAD_TYPES)
    assert {kind.__name__ for kind in PAYLOAD_TYPES.values()} <= set(schemas)


def examples(document: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (path, name, example["value"])
        for path, item in document["paths"].items()
        if "post" in item
        for name, example in item["post"]["requestBody"]["content"]["application/json"][
            "examples"
        ].items()
    ]


def test_the_examples_work(shared: DataStorageProcess, document: dict[str, Any]) -> None:
    found = examples(document)
    assert {path for path, _, _ in found} == {EVENTS, BATCH, "/api/v1/audit/verify-chain"}
    for path, name, value in found:
        answer = shared.post(path, value)
        assert answer.status_code in {200, 201}, f"{path} {name}: {answer.text}"


def test_answers_are_as_the_document_says(
    shared: DataStorageProcess, document: dict[str, Any]
) -> None:
    shared.post(EVENTS, {"event_category": "workflow", "event_action": "a"})
    answers = {
        "Page": shared.get(EVENTS),
        "Verification": shared.post("/api/v1/audit/verify-chain", {"correlation_id": "x"}),
        "Health": shared.get("/health"),
        "ProblemDocument": shared.get(EVENTS, limit=0),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(answer.json())


def test_schemathesis_finds_nothing(shared: DataStorageProcess, tmp_path: Path) -> None:
    """All phases and all checks; what the hooks do, and why, is said beside each in their file."""
    hooks = Path(__file__).parent / "schemathesis_hooks.py"
    options = ["--max-examples", "200", "--seed", "20261124", "--checks", "all", "--no-color"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": str(hooks)}
    result = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", f"{shared.url}/openapi.json", *options],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "Tested: 10" in result.stdout
