"""The HTTP interface: routes, and every error as a problem document."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import HttpMethod, Litestar, Request, Response, get, post, route
from litestar.datastructures import State
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.response import Redirect
from litestar.routes import HTTPRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kubernaut.audit.wire import Fault
from kubernaut.datastorage import _parameters as parameters
from kubernaut.datastorage import metrics
from kubernaut.datastorage.answers import (
    JSON,
    Answer,
    error_answer,
    json_answer,
    problem_answer,
)
from kubernaut.datastorage.apipage import page, static_file
from kubernaut.datastorage.openapi import openapi_document
from kubernaut.datastorage.problems import Problem
from kubernaut.datastorage.query import find_events, get_event, parse_query
from kubernaut.datastorage.requests import AsgiApp, RequestFrame
from kubernaut.datastorage.service import Service
from kubernaut.datastorage.verify import verify_chain
from kubernaut.datastorage.writes import BATCH_PATH, EVENTS_PATH, WriteRoutes, write

# The framework adds the character set to every text.
_METRICS_TYPE: Final = CONTENT_TYPE_LATEST.replace("; charset=utf-8", "")
_PARAMETER_TYPE: Final = re.compile(r":[a-z]+\}")

HttpRequest = Request[Any, Any, State]


class VerifyRequest(msgspec.Struct):
    """Which chain to verify."""

    correlation_id: str


_decode_verify = msgspec.json.Decoder(VerifyRequest).decode


def _response(answer: Answer) -> Response[bytes]:
    return Response(
        answer.body,
        status_code=answer.status,
        media_type=answer.media_type,
        headers=dict(answer.headers),
    )


def _json(
    content: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    return _response(json_answer(content, status, headers))


def _service(request: HttpRequest) -> Service:
    service: Service = request.app.state.service
    return service


# One handler for both methods: of methods registered apart, OPTIONS would name only some.
@route(EVENTS_PATH, http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
async def events(request: HttpRequest) -> Response[bytes]:
    """Find events (GET) or store one (POST, if `WriteRoutes` has not answered it)."""
    if request.method == HttpMethod.POST:
        return await _write(request, EVENTS_PATH)
    query = parse_query(request.scope["query_string"], datetime.now(UTC))
    service = _service(request)
    with service.admission.request():
        async with asyncio.timeout(service.settings.server.request_timeout):
            found = await find_events(await service.readers.pool(), query)
    headers = {}
    if cursor := found.pagination.next_cursor:
        headers["Link"] = f'<{query.next_url(EVENTS_PATH, cursor)}>; rel="next"'
    return _json(found, headers=headers)


@post(BATCH_PATH)
async def create_events(request: HttpRequest) -> Response[bytes]:
    """Store a batch, if `WriteRoutes` has not answered it."""
    return await _write(request, BATCH_PATH)


async def _write(request: HttpRequest, path: str) -> Response[bytes]:
    return _response(await write(_service(request), path, request.headers, request.receive))


@get(f"{EVENTS_PATH}/{{event_id:str}}")
async def get_one_event(request: HttpRequest, event_id: str) -> Response[bytes]:
    """One event by its id."""
    try:
        wanted = UUID(event_id)
    except ValueError:
        raise Problem(
            "validation-error",
            f"event_id must be a UUID, not {event_id!r}",
            faults=[Fault("event_id", "a UUID")],
        ) from None
    values = parameters.parse(
        request.scope["query_string"], {"correlation_id": parameters.text(255)}
    )
    service = _service(request)
    with service.admission.request():
        async with asyncio.timeout(service.settings.server.request_timeout):
            pool = await service.readers.pool()
            event = await get_event(pool, wanted, values.get("correlation_id"))
    if event is None:
        raise Problem("not-found", f"no event has the id {wanted}")
    return _json(event)


@post("/api/v1/audit/verify-chain")
async def verify(request: HttpRequest) -> Response[bytes]:
    """Verify the chain of a correlation id."""
    service = _service(request)
    timeout = service.settings.server.body_timeout
    with service.admission.request():
        async with service.admission.body(request.receive, request.headers, timeout) as body:
            correlation_id = _correlation_id(body)
        async with service.verifying():
            return _json(await verify_chain(await service.readers.pool(), correlation_id))


def _correlation_id(body: bytes) -> str:
    try:
        correlation_id = _decode_verify(body).correlation_id
    except msgspec.ValidationError as error:
        raise Problem("validation-error", f"the body is wrong: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("invalid-request-body", f"the body is not JSON: {error}") from None
    if not correlation_id:
        raise Problem("missing-correlation-id", "correlation_id must not be empty")
    if len(correlation_id.encode()) > 1020 or len(correlation_id) > 255 or "\0" in correlation_id:  # noqa: PLR2004
        raise Problem(
            "invalid-correlation-id", "correlation_id is a text of 1 to 255 characters without NUL"
        )
    return correlation_id


@get(["/health"])
async def health(request: HttpRequest) -> Response[bytes]:
    """Whether the service can do its work, and if not, why."""
    found = await _service(request).health.check()
    return _json(found, 200 if found.status == "healthy" else 503)


@get("/health/live")
async def live() -> Response[bytes]:
    """Whether the process answers."""
    return _json({"status": "alive"})


@get("/healthz")
async def healthz() -> Response[bytes]:
    """Whether the process answers; asks nobody else."""
    now = datetime.now(UTC).replace(microsecond=0)
    return _json({"status": "healthy", "timestamp": now})


async def _readiness(request: HttpRequest, shutting_down: str) -> Response[bytes]:
    monitor = _service(request).health
    if monitor.stopping:
        return _json({"status": "not_ready", "reason": shutting_down}, 503)
    found = await monitor.check()
    if found.status == "healthy":
        return _json({"status": "ready"})
    reason = f"database_{found.database}"
    return _json({"status": "not_ready", "reason": reason, "detail": found.reason}, 503)


@get("/readyz")
async def readyz(request: HttpRequest) -> Response[bytes]:
    """Whether requests should be sent here."""
    return await _readiness(request, "shutting_down")


@get("/health/ready")
async def ready(request: HttpRequest) -> Response[bytes]:
    """Whether requests should be sent here."""
    return await _readiness(request, "shutting_down")


@get("/metrics")
async def prometheus() -> Response[bytes]:
    """Prometheus metrics."""
    return Response(generate_latest(metrics.REGISTRY), media_type=_METRICS_TYPE)


@get("/openapi.json")
async def openapi() -> Response[bytes]:
    """The OpenAPI document."""
    return Response(openapi_document(), media_type=JSON)


@get("/docs")
async def docs() -> Response[bytes]:
    """The API as a page to read and try."""
    return Response(page(), media_type="text/html")


@get("/docs/{name:str}")
async def docs_file(name: str) -> Response[bytes]:
    """A file of the API page; it needs nothing from elsewhere."""
    found = static_file(name)
    if found is None:
        raise Problem("not-found", "no such file")
    content, media_type = found
    return Response(content, media_type=media_type)


@get("/")
async def root() -> Redirect:
    """Lead to the API page."""
    return Redirect("/docs")


def _problem(request: HttpRequest, problem: Problem) -> Response[bytes]:
    return _response(problem_answer(problem, request.url.path))


def _allowed(request: HttpRequest) -> set[str]:
    """The methods of the route that a request's path leads to."""
    parts = request.url.path.strip("/").split("/")
    methods: set[str] = set()
    for candidate in request.app.routes:
        template = candidate.path_components
        if isinstance(candidate, HTTPRoute) and len(parts) == len(template):
            pairs = zip(template, parts, strict=True)
            if all(not isinstance(wanted, str) or wanted == part for wanted, part in pairs):
                methods |= set(candidate.methods)
    return methods


def _http_error(request: HttpRequest, error: HTTPException) -> Response[bytes]:
    path = request.url.path
    if isinstance(error, MethodNotAllowedException):
        allow = ", ".join(sorted(_allowed(request)))
        detail = f"{request.method} is not allowed on {path}" + (f"; use {allow}" if allow else "")
        return _problem(
            request,
            Problem("method-not-allowed", detail, headers={"Allow": allow} if allow else None),
        )
    if isinstance(error, NotFoundException):
        return _problem(request, Problem("not-found", f"there is nothing at {path}"))
    if error.status_code < 500:  # noqa: PLR2004
        return _problem(request, Problem("invalid_request", error.detail))
    return _unexpected(request, error)


def _unexpected(request: HttpRequest, error: Exception) -> Response[bytes]:
    return _response(error_answer(error, request.url.path, _service(request), wrote=False))


_HANDLERS: Final = (
    events,
    create_events,
    get_one_event,
    verify,
    health,
    live,
    ready,
    healthz,
    readyz,
    prometheus,
    openapi,
    docs,
    docs_file,
    root,
)


def routes() -> list[tuple[str, str]]:
    """Every method and path, parameters as `{name}`."""
    return [
        (method, _PARAMETER_TYPE.sub("}", path))
        for handler in _HANDLERS
        for path in sorted(handler.paths)
        for method in sorted(handler.http_methods)
    ]


def create_app(service: Service) -> AsgiApp:
    """The ASGI application of one service process."""
    settings = service.settings
    own_port = settings.server.metrics_port is not None
    handlers = [one for one in _HANDLERS if not (one is prometheus and own_port)]
    framework = Litestar(
        handlers,
        state=State({"service": service}),
        lifespan=[lambda _: service.running()],
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_error,
            Exception: _unexpected,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    return RequestFrame(WriteRoutes(framework, service), settings.logging.access)
