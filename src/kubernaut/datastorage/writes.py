"""The write path's front: two routes, answered without a web framework in between.

At one event a request, routing and wrapping by the framework cost more than checking, chaining
and storing the event. The framework still knows the routes (for methods, paths and documents);
`WriteRoutes` stands before it and takes the requests that it need not see.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from kubernaut.datastorage.answers import Answer, Receive, error_answer, json_answer
from kubernaut.datastorage.body import ClientGoneError
from kubernaut.datastorage.service import Service

EVENTS_PATH: Final = "/api/v1/audit/events"
BATCH_PATH: Final = "/api/v1/audit/events/batch"

_LENIENT: Final = {"Preference-Applied": "handling=lenient"}

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class WriteRoutes:
    """ASGI middleware that answers POSTs of events and hands on everything else."""

    def __init__(self, app: AsgiApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Handle one scope."""
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["path"] not in (EVENTS_PATH, BATCH_PATH)
        ):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            answer = await write(self._service, scope["path"], headers, receive)
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001  (every request gets an answer)
            answer = error_answer(error, scope["path"], self._service, wrote=True)
        await answer.send(send)


async def write(
    service: Service, path: str, headers: Mapping[str, str], receive: Receive
) -> Answer:
    """Store what a request brings and say what became of it.

    Args:
        service: the running service.
        path: `EVENTS_PATH` for one event, `BATCH_PATH` for an array.
        headers: the request's, with names in lower case.
        receive: the ASGI channel of its body.

    Raises:
        Problem: nothing was stored, and why.
        ClientGoneError: the client hung up before the body was complete.
    """
    with service.admission.request():
        async with service.admission.body(
            receive, headers, service.settings.server.body_timeout
        ) as body:
            if path == EVENTS_PATH:
                return json_answer(await service.ingest.single(body), 201)
            lenient = prefers_lenient(headers.get("prefer"))
            answer = await service.ingest.batch(body, lenient=lenient)
            return json_answer(answer, 201, _LENIENT if lenient else None)


def prefers_lenient(header: str | None) -> bool:
    """Whether `Prefer` asks for lenient handling (RFC 7240: the first of a name counts)."""
    if not header:
        return False
    for preference in header.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            return value.strip().strip('"').lower() == "lenient"
    return False
