"""Answers before they are HTTP: JSON documents, and errors as problem documents."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from kubernaut.datastorage.database import outage, unavailable
from kubernaut.datastorage.problems import MEDIA_TYPE, Problem
from kubernaut.datastorage.service import Service

log = structlog.get_logger(__name__)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Final = "application/json"

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    media_type: str
    headers: Mapping[str, str]
    body: bytes

    async def send(self, send: Send) -> None:
        """Send it over an ASGI channel."""
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", b"%d" % len(self.body)),
        ]
        if self.headers:
            headers += [
                (name.lower().encode(), value.encode()) for name, value in self.headers.items()
            ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_answer(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """A JSON document, ended by a newline."""
    return Answer(status, JSON, headers or {}, _encode(content) + b"\n")


def problem_answer(problem: Problem, path: str) -> Answer:
    """A problem document about the request to `path`."""
    body = _encode(problem.document(path)) + b"\n"
    return Answer(problem.status, MEDIA_TYPE, problem.headers, body)


def error_answer(error: Exception, path: str, service: Service, *, wrote: bool) -> Answer:
    """The answer to a request that raised; `wrote` if it had something to store.

    A database that fails is not our defect; anything unknown is, and is logged as one.
    """
    if isinstance(error, Problem):
        return problem_answer(error, path)
    if found := outage(error):
        service.health.report(found)
        return problem_answer(unavailable(found, wrote=wrote), path)
    log.error("unexpected error", path=path, exc_info=error)
    detail = "An internal error occurred. Check server logs for details."
    return problem_answer(Problem("internal-error", detail), path)
