"""The plain clients against a real DataStorage, and against what its OpenAPI document says."""

import json
import types
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, get_args, get_origin
from urllib.parse import urlencode
from uuid import UUID, uuid4

import msgspec
import pytest

from kubernaut.audit import AuditEvent, EventFilter, ServerProblemError, wire
from test.answering_server import Answer, AnsweringServer
from test.datastorage_service import EVENTS, VERIFY, DataStorageProcess, StartService
from test.integration.audit.asking import KINDS, Asked, asking

NOW: Final = datetime.now(UTC).replace(microsecond=125000)
OF_THE_PAGE: Final = {"limit", "offset", "cursor"}
USED: Final[dict[tuple[str, str], Callable[[Asked], object]]] = {
    (EVENTS, "post"): lambda asked: asked.write(event("x")),
    (f"{EVENTS}/batch", "post"): lambda asked: asked.write_batch([event("x")]),
    (EVENTS, "get"): lambda asked: list(asked.query()),
    (f"{EVENTS}/{{event_id}}", "get"): lambda asked: asked.get(uuid4()),
    (VERIFY, "post"): lambda asked: asked.verify_chain("x"),
    ("/health", "get"): lambda asked: asked.health(),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def asked(kind: str, shared: DataStorageProcess) -> Iterator[Asked]:
    with asking(kind, shared.url) as client:
        yield client


@pytest.fixture(scope="module")
def document(shared: DataStorageProcess) -> dict[str, Any]:
    found: dict[str, Any] = shared.get("/openapi.json").json()
    return found


def event(correlation: str, **members: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid4()),
        "event_timestamp": NOW.isoformat(),
        "event_category": "workflow",
        "event_action": "workflow.started",
        "correlation_id": correlation,
    } | members


def new_correlation() -> str:
    return f"rr-{uuid4()}"


# Each method.


def test_an_event_is_written_and_found_again(asked: Asked) -> None:
    sent = event(new_correlation(), event_data={"b": 1, "a": [1.5, None]})
    answer = asked.write(sent)
    assert (str(answer.event_id), answer.result) == (sent["event_id"], "created")
    assert answer.event_timestamp == NOW
    assert asked.write(sent).result == "duplicate"
    found = asked.get(answer.event_id)
    assert found is not None
    assert found.data == sent["event_data"]
    assert found.chain_seq == 1
    assert list(asked.query(correlation_id=sent["correlation_id"])) == [found]


def test_the_payload_keeps_its_bytes(asked: Asked, shared: DataStorageProcess) -> None:
    payload = '{ "n": 1.50, "big": 123456789012345678901234567890,\n "text": "\\u00e9" }'
    sent = event(new_correlation())
    shared.post(EVENTS, json.dumps(sent)[:-1] + f', "event_data": {payload}}}')
    found = asked.get(sent["event_id"])
    assert found is not None
    assert bytes(found.event_data).decode() == payload
    assert found.data == {"n": 1.5, "big": 123456789012345678901234567890, "text": "é"}


def test_a_typed_event_is_written(asked: Asked) -> None:
    correlation = new_correlation()
    asked.write(
        msgspec.convert(
            {"event_category": "workflow", "event_action": "a", "correlation_id": correlation},
            AuditEvent,
        )
    )
    (found,) = asked.query(correlation_id=correlation)
    assert (found.event_type, found.event_outcome) == ("workflow.a", "pending")


def test_a_batch_is_written_whole_or_not_at_all(asked: Asked) -> None:
    correlation = new_correlation()
    right, wrong = event(correlation), event(correlation, event_outcome="maybe")
    with pytest.raises(ServerProblemError) as refused:
        asked.write_batch([right, wrong])
    assert refused.value.status == 400
    assert [(fault.index, fault.path) for fault in refused.value.errors] == [(1, "$.event_outcome")]
    assert list(asked.query(correlation_id=correlation)) == []
    answer = asked.write_batch([right])
    assert answer.event_ids == [UUID(right["event_id"])]
    assert [result.status for result in answer.results] == ["created"]


def test_a_lenient_batch_stores_what_is_right(asked: Asked) -> None:
    correlation = new_correlation()
    right, wrong = event(correlation), event(correlation, event_outcome="maybe")
    asked.write(right)
    other = right | {"event_action": "other"}
    answer = asked.write_batch([right, wrong, other], lenient=True)
    assert [result.status for result in answer.results] == ["duplicate", "rejected", "conflict"]
    assert answer.results[1].errors
    assert answer.results[1].errors[0].path == "$.event_outcome"


def test_an_event_is_found_by_its_id_as_text_and_in_its_correlation(asked: Asked) -> None:
    sent = event(new_correlation())
    asked.write(sent)
    assert asked.get(sent["event_id"], sent["correlation_id"]) is not None
    assert asked.get(sent["event_id"], "another") is None
    assert asked.get(uuid4()) is None


@pytest.mark.parametrize("text", ["", "7", "../verify-chain", f"{uuid4()}?x=1"])
def test_an_id_that_is_no_uuid_is_not_asked_for(asked: Asked, text: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        asked.get(text)


def test_a_chain_is_verified(asked: Asked) -> None:
    correlation = new_correlation()
    asked.write_batch([event(correlation), event(correlation)])
    found = asked.verify_chain(correlation)
    assert (found.is_valid, found.total_events, found.verified_events) == (True, 2, 2)
    assert found.tampered_events == []
    assert asked.verify_chain(new_correlation()).total_events == 0


def test_health_is_told(asked: Asked) -> None:
    assert asked.health() == wire.Health("healthy", "connected")


def test_bad_health_is_told_and_other_requests_fail(kind: str, start_service: StartService) -> None:
    service = start_service(database={"url": "postgresql://nobody@127.0.0.1:1/nothing"})
    with asking(kind, service.url) as asked:
        health = asked.health()
        assert (health.status, health.database) == ("unhealthy", "unreachable")
        assert health.reason
        with pytest.raises(ServerProblemError) as refused:
            asked.write(event("x"))
    assert refused.value.status == 503
    assert refused.value.type == "https://kubernaut.ai/problems/database-unavailable"
    assert refused.value.retry_after is not None


# Filters.


def test_every_filter_is_a_parameter_and_every_parameter_a_filter(
    document: dict[str, Any],
) -> None:
    operation = document["paths"][EVENTS]["get"]
    parameters = {one["name"]: one["schema"] for one in operation["parameters"]}
    filters = EventFilter.__annotations__
    assert filters.keys() - {"page_size"} == parameters.keys() - OF_THE_PAGE
    for name in ("event_outcome", "order"):
        (choice, _) = get_args(typing.get_type_hints(EventFilter)[name])
        assert set(get_args(choice)) == set(parameters[name]["enum"])
    assert document["paths"][f"{EVENTS}/{{event_id}}"]["get"]["parameters"][1]["name"] == (
        "correlation_id"
    )


def test_every_filter_filters(asked: Asked) -> None:
    correlation = new_correlation()
    kinds = [f"workflow.{uuid4()}", f"workflow.{uuid4()}"]
    severity = uuid4().hex[:20]
    old = NOW - timedelta(days=3)
    first = event(
        correlation,
        event_type=kinds[0],
        event_outcome="failure",
        severity=severity,
        event_data={"phase": "Failed"},
    )
    second = event(
        correlation,
        event_type=kinds[1],
        event_category="gateway",
        event_outcome="success",
        event_timestamp=old.isoformat(),
    )
    asked.write_batch([first, second])
    wanted: list[tuple[EventFilter, list[dict[str, Any]]]] = [
        ({"correlation_id": correlation}, [first, second]),
        ({"order": "asc"}, [second, first]),
        ({"order": None, "severity": None}, [first, second]),
        ({"event_type": kinds[1]}, [second]),
        ({"event_category": "gateway"}, [second]),
        ({"event_outcome": "failure"}, [first]),
        ({"severity": severity}, [first]),
        ({"since": old + timedelta(seconds=1)}, [first]),
        ({"since": "24h"}, [first]),
        ({"until": old.astimezone()}, [second]),
        ({"until": "2d"}, [second]),
        ({"detail_key": "phase", "detail_value": "Failed"}, [first]),
        ({"page_size": 1}, [first, second]),
    ]
    assert {name for filters, _ in wanted for name in filters} == EventFilter.__annotations__.keys()
    for filters, expected in wanted:
        found = asked.query(**({"correlation_id": correlation} | filters))
        assert [str(one.event_id) for one in found] == [one["event_id"] for one in expected], (
            filters
        )


def test_a_filter_that_does_not_exist_is_refused_before_asking(asked: Asked) -> None:
    with pytest.raises(TypeError, match="there is no filter corelation_id"):
        asked.query(corelation_id="rr-1")  # type: ignore[call-arg]


def test_a_time_without_an_offset_is_refused_before_asking(asked: Asked) -> None:
    with pytest.raises(ValueError, match="since: a time without an offset"):
        asked.query(since=datetime(2026, 11, 24))  # noqa: DTZ001


def test_a_wrong_filter_is_named(asked: Asked) -> None:
    with pytest.raises(ServerProblemError) as refused:
        list(asked.query(since="tomorrow", page_size=1001))
    assert {fault.path for fault in refused.value.errors} == {"since", "limit"}


# Pages.


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_stay_right_while_events_arrive(asked: Asked, order: Literal["asc", "desc"]) -> None:
    correlation = new_correlation()

    def some(count: int) -> list[dict[str, Any]]:
        return [
            event(
                correlation,
                event_timestamp=(NOW - timedelta(seconds=number * 7 % 11)).isoformat(),
            )
            for number in range(count)
        ]

    first = some(25)
    asked.write_batch(first)
    seen = []
    for number, found in enumerate(
        asked.query(correlation_id=correlation, order=order, page_size=5)
    ):
        seen.append(str(found.event_id))
        if number % 5 == 0 and number < 50:
            asked.write_batch(some(2))
    assert len(seen) == len(set(seen)), "an event came twice"
    assert {one["event_id"] for one in first} <= set(seen), "an event was left out"


def test_a_listing_can_be_left(asked: Asked) -> None:
    correlation = new_correlation()
    asked.write_batch([event(correlation) for _ in range(5)])
    found = asked.query(correlation_id=correlation, page_size=2)
    next(iter(found))
    close = getattr(found, "close")  # noqa: B009  (an iterator's, if it is a generator)
    close()
    assert list(found) == []
    assert len(list(asked.query(correlation_id=correlation, page_size=2))) == 5


def test_spans_mean_the_same_on_every_page(kind: str, shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    shared.post(f"{EVENTS}/batch", [event(correlation) for _ in range(3)])
    filters: EventFilter = {
        "correlation_id": correlation,
        "event_type": "workflow.started",
        "event_category": "workflow",
        "event_outcome": "pending",
        "severity": "info",
        "since": "24h",
        "until": "0s",
        "order": "asc",
        "page_size": 1,
    }

    with (
        AnsweringServer.running(lambda received: passed_on(shared, received.params)) as between,
        asking(kind, between.url) as asked,
    ):
        assert len(list(asked.query(**filters))) == 3
        first, second, third = (received.params for received in between.received)
    texts = {name: value for name, value in filters.items() if name != "page_size"}
    assert first == texts | {"cursor": "", "limit": "1"}
    assert second.keys() == third.keys() == first.keys()
    assert second["since"] == third["since"] != "24h"
    assert second["until"] == third["until"] != "0s"
    fixed = OF_THE_PAGE | {"since", "until"}
    assert {name: second[name] for name in first.keys() - fixed} == {
        name: first[name] for name in first.keys() - fixed
    }


def passed_on(service: DataStorageProcess, params: dict[str, str]) -> Answer:
    answer = service.client.get(f"{EVENTS}?{urlencode(params)}")
    link = answer.headers.get("link")
    return Answer(answer.status_code, answer.content, {"Link": link} if link else {})


def test_without_links_the_cursor_is_enough(kind: str, shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    shared.post(f"{EVENTS}/batch", [event(correlation) for _ in range(3)])
    with (
        AnsweringServer.running(
            lambda received: passed_on(shared, received.params)._replace(headers={})
        ) as between,
        asking(kind, between.url) as asked,
    ):
        assert len(list(asked.query(correlation_id=correlation, page_size=1))) == 3


# The OpenAPI document.


@pytest.mark.parametrize("operation", USED, ids=" ".join)
def test_every_documented_status_is_understood(
    kind: str, operation: tuple[str, str], document: dict[str, Any]
) -> None:
    path, method = operation
    responses = document["paths"][path][method]["responses"]
    problem = wire.ProblemDocument(
        "https://kubernaut.ai/problems/some", "Some", 0, "why", "/x", [wire.Fault("$.a", "b", 3)]
    )
    assert len(responses) > 1
    for status in map(int, responses):
        if status < 300:
            assert status in {200, 201}  # What the other tests read.
            continue
        body = msgspec.json.encode(msgspec.structs.replace(problem, status=status))
        headers = {"Content-Type": "application/problem+json", "Retry-After": "7"}
        with (
            AnsweringServer.always(Answer(status, body, headers)) as server,
            asking(kind, server.url) as asked,
            pytest.raises(ServerProblemError) as refused,
        ):
            USED[operation](asked)
        found = refused.value
        assert (found.status, found.type, found.detail) == (status, problem.type, "why")
        assert found.errors == problem.errors
        assert found.retry_after == 7
        assert str(found) == f"HTTP {status}: why"


def expected_schema(kind: Any) -> Any:
    """The JSON schema of a field of the client's structs, as we mean it."""
    simple = {
        str: {"type": "string"},
        int: {"type": "integer"},
        bool: {"type": "boolean"},
        UUID: {"type": "string", "format": "uuid"},
        date: {"type": "string", "format": "date"},
        datetime: {"type": "string"},
        types.NoneType: {"type": "null"},
        msgspec.Raw: {},
    }
    origin = get_origin(kind)
    found: Any
    if kind in simple:
        found = simple[kind]
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        found = {"$ref": f"#/components/schemas/{kind.__name__}"}
    elif origin is Literal:
        found = {"enum": sorted(get_args(kind))}
    elif origin is list:
        found = {"type": "array", "items": expected_schema(get_args(kind)[0])}
    elif origin is dict:
        found = {"type": "object", "additionalProperties": expected_schema(get_args(kind)[1])}
    elif msgspec.UnsetType in get_args(kind):
        (set_, _) = get_args(kind)
        found = expected_schema(set_)
    else:
        assert origin is types.UnionType, kind
        found = {"anyOf": [expected_schema(one) for one in get_args(kind)]}
    return found


ANSWERS: Final = [
    one
    for one in vars(wire).values()
    if isinstance(one, type) and issubclass(one, msgspec.Struct) and one is not msgspec.Struct
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_the_documents_are_those_that_the_client_knows(
    answer: type[msgspec.Struct], document: dict[str, Any]
) -> None:
    schema = document["components"]["schemas"][answer.__name__]
    fields = msgspec.structs.fields(answer)
    assert schema["type"] == "object"
    assert set(schema["required"]) == {field.name for field in fields if field.required}
    assert schema["properties"].keys() == {field.name for field in fields}
    for field in fields:
        found = dict(schema["properties"][field.name])
        assert found.pop("default", None) is None
        assert field.required or field.default in {None, msgspec.UNSET}
        assert found == expected_schema(field.type), field.name


def test_the_client_loses_nothing_of_an_answer(asked: Asked, shared: DataStorageProcess) -> None:
    correlation = new_correlation()
    full = event(
        correlation,
        namespace="payments",
        cluster_id="c1",
        duration_ms=7,
        error_code="E",
        error_message="m",
        actor_ip="10.0.0.1",
        unknown_member={"a": 1},
        event_data={"a": 1.5},
    )
    batch = shared.post(f"{EVENTS}/batch", [full, event(correlation)])
    bad = shared.post(EVENTS, event(correlation, event_outcome="maybe"))
    verification = shared.post(VERIFY, {"correlation_id": correlation})
    one = asked.get(full["event_id"])
    assert one is not None
    assert (one.metadata, one.data) == ({"unknown_member": {"a": 1}}, {"a": 1.5})
    assert reencoded(one) == shared.get(f"{EVENTS}/{full['event_id']}").json()
    assert (
        reencoded(list(asked.query(correlation_id=correlation)))
        == (shared.get(EVENTS, correlation_id=correlation).json()["data"])
    )
    kinds: list[tuple[Any, bytes]] = [
        (wire.BatchAnswer, batch.content),
        (wire.ProblemDocument, bad.content),
        (wire.Verification, verification.content),
        (wire.Page, shared.get(EVENTS, limit=1).content),
        (wire.Page, shared.get(EVENTS, limit=1, cursor="").content),
        (wire.SingleAnswer, shared.post(EVENTS, event(correlation)).content),
    ]
    for answer, content in kinds:
        assert reencoded(msgspec.json.decode(content, type=answer)) == json.loads(content)


def reencoded(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))
