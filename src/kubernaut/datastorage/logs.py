"""Structured logs: one JSON object a line on standard error, never a payload or a secret."""

import logging
import sys
from contextvars import ContextVar
from typing import Any, Final

import structlog
from structlog.typing import EventDict

REQUEST_ID: Final[ContextVar[bytes]] = ContextVar("request_id")
"""The id of the request being worked on, in its answer's `X-Request-ID` too."""

_LEVELS: Final = logging.getLevelNamesMapping()


def _add_request_id(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    if request_id := REQUEST_ID.get(None):
        entry["request_id"] = request_id.decode()
    return entry


def configure_logging(level: str) -> None:
    """Set up the logs of this process.

    Args:
        level: the least level that is written: debug, info, warning or error.
    """
    structlog.configure(
        processors=[
            _add_request_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard library; their warnings matter, their chatter does not.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
