"""What surrounds every request: its id, its metrics and its line in the log."""

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from os import urandom
from typing import Any, Final, Literal

import structlog
from prometheus_client import Counter, Histogram

from kubernaut.datastorage import metrics
from kubernaut.datastorage.body import ClientGoneError
from kubernaut.datastorage.logs import REQUEST_ID

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_EVENTS: Final = "/api/v1/audit/events"
_ROUTES: Final = frozenset(
    {
        _EVENTS,
        f"{_EVENTS}/batch",
        "/api/v1/audit/verify-chain",
        "/health",
        "/health/live",
        "/health/ready",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
    }
)
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_QUIET: Final = frozenset({"/health", "/health/live", "/health/ready", "/healthz", "/readyz"})
_BAD: Final = 400
_UNAVAILABLE: Final = 503
_OVERLOAD_LINE_SECONDS: Final = 1.0


def route_of(path: str) -> str:
    """The route a path belongs to, as a metric's label; everything unknown is `other`."""
    if path in _ROUTES:
        return path
    if path.startswith(f"{_EVENTS}/"):
        return f"{_EVENTS}/{{event_id}}"
    return "other"


class RequestFrame:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        access: which requests get a log line: all, errors (400 and above) or none. Of those
            answered 503, one a second does.
    """

    def __init__(self, app: AsgiApp, access: Literal["all", "errors", "none"]) -> None:
        self._app = app
        self._access = access
        self._next_overload_line = 0.0

    def _may_tell_of_overload(self) -> bool:
        now = time.monotonic()
        if now < self._next_overload_line:
            return False
        self._next_overload_line = now + _OVERLOAD_LINE_SECONDS
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        status = 0
        head = scope["method"] == "HEAD"  # As GET, but for the body (RFC 9110, section 9.3.2).

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            elif head:
                message = {**message, "body": b""}
            await send(message)

        REQUEST_ID.set(request_id)  # The server gives each request a context of its own.
        try:
            inner = {**scope, "method": "GET"} if head else scope
            await self._app(inner, receive, send_with_id)
        except ClientGoneError:
            pass  # Counted with status 0; there is nobody to answer.
        finally:
            self._finish(scope, status, time.perf_counter() - started)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = route_of(scope["path"])
        count, duration = _series(method, route, status)
        count.inc()
        duration.observe(seconds)
        if self._access == "none" or (self._access == "errors" and 0 < status < _BAD):
            return
        if self._access == "errors" and route in _QUIET:
            return
        if status == _UNAVAILABLE and not self._may_tell_of_overload():
            return  # Counted above; a line for each would be an overload of its own.
        log.info(
            "request",
            method=method,
            path=scope["path"],
            status=status,
            duration_ms=round(seconds * 1000, 2),
        )


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of a kind of request; looking labels up anew each time costs microseconds."""
    return (
        metrics.REQUESTS.labels(method, route, str(status)),
        metrics.REQUEST_DURATION.labels(method, route),
    )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given
    return urandom(16).hex().encode()
