"""Problem documents (RFC 9457): the one shape of every error answer.

Types are `https://kubernaut.ai/problems/` and a slug. `PROBLEMS` is the list; each entry is
documented in `docs/reference/problems.md`, which a test compares with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubernaut.audit.wire import Fault

BASE: Final = "https://kubernaut.ai/problems/"
MEDIA_TYPE: Final = "application/problem+json"

PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "validation-error": (400, "Validation Error"),
    "invalid_request": (400, "Invalid Request"),
    "invalid-request-body": (400, "Invalid Request Body"),
    "invalid_event_data": (400, "Invalid Event Data"),
    "batch-size-exceeded": (400, "Batch Size Exceeded"),
    "missing-correlation-id": (400, "Missing Required Field"),
    "invalid-correlation-id": (400, "Invalid Correlation ID"),
    "not-found": (404, "Not Found"),
    "method-not-allowed": (405, "Method Not Allowed"),
    "request-timeout": (408, "Request Timeout"),
    "conflict": (409, "Resource Conflict"),
    "request-too-large": (413, "Request Entity Too Large"),
    "unsupported-content-encoding": (415, "Unsupported Content Encoding"),
    "internal-error": (500, "Internal Server Error"),
    "overloaded": (503, "Service Overloaded"),
    "shutting-down": (503, "Service Shutting Down"),
    "database-unavailable": (503, "Database Unavailable"),
    "database-timeout": (503, "Database Timeout"),
    "chain-damaged": (503, "Chain Damaged"),
}
"""Slug to status and title."""


class Problem(Exception):  # noqa: N818  (RFC 9457's word for it)
    """Ends a request with a problem document.

    Args:
        slug: a key of `PROBLEMS`.
        detail: one sentence for a person.
        faults: what is wrong and where; `errors` in the document.
        retry_after: seconds after which the same request may succeed.
        close: close the connection after the answer (its request body is not read to the end).
        extensions: further members of the document.
    """

    def __init__(  # noqa: PLR0913  (keyword-only, all optional)
        self,
        slug: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        retry_after: int | None = None,
        close: bool = False,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status, self.title = PROBLEMS[slug]
        self.detail = detail
        self.faults = faults
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        if close:
            self.headers["Connection"] = "close"
        self.extensions = extensions or {}

    def document(self, instance: str) -> dict[str, Any]:
        """The document's members, in the order in which they are sent."""
        document: dict[str, Any] = {
            "type": BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.status == 503:  # noqa: PLR2004  (an older client reads this instead of the header)
            document["retry"] = True
        if self.faults:
            document["errors"] = self.faults
        return document | dict(self.extensions)
