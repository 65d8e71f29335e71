"""Structured logs on standard error: of the operator, of the kernel and of the audit client.

Lines of all three have one form, whether they come through structlog or the standard library.
None holds a parameter's value, a token or a payload. `docs/reference/operator-logs.md` has them.
"""

import logging
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

_LEVELS: Final = logging.getLevelNamesMapping()


def _logger_name(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    """Name the logger of a line that came through the standard library."""
    record = entry.get("_record")
    if isinstance(record, logging.LogRecord):
        entry["logger"] = record.name
    return entry


def configure_logging(level: str, form: str = "json") -> None:
    """Set up the logs of this process.

    Args:
        level: the least level that is written: debug, info, warning or error.
        form: `json`, a JSON object a line; or `text`, for people.
    """
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,  # The other one shows variables.
        )
    )
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[Processor] = [renderer]
    if form == "json":
        ending.insert(0, structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    # Of libraries, warnings matter; the chatter does not.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("kubernaut").setLevel(_LEVELS[level.upper()])
