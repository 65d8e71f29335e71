"""How a request to the API server fails, as a small tree.

`KubernetesError` is the root; `ApiError` is an answer, with a class for each kind of answer that
callers tell apart; `TransportError` is no answer. `retryable` says one thing everywhere: the same
request, unchanged, may succeed later. A conflict is not retryable: read again first.

An answer is judged by its status and its bytes, never by its content type: proxies and the API
server itself answer with `text/plain`, with parameters, or with none at all.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final

import msgspec

_EXCERPT: Final = 300
"""Characters of an answer that is no Status object, for the message."""


class KubernetesError(Exception):
    """The root of this package's errors.

    Attributes:
        retryable: the same request may succeed later.
        retry_after: seconds that the server asked to wait; None where it did not say.
    """

    retryable: bool = False
    retry_after: float | None = None


class ConfigError(KubernetesError):
    """The connection's configuration cannot be read or is not supported."""


class TransportError(KubernetesError):
    """No whole answer came: connection, TLS or time. A wrong certificate is not retryable.

    Attributes:
        sent: False where the request cannot have reached the server, so that nothing happened.
    """

    retryable = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class DecodeError(KubernetesError):
    """An answer that is not what the resource's type says."""


class Cause(msgspec.Struct, frozen=True):
    """One reason in a Status: which field, and what is wrong with it."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    """What a Status is about (`meta/v1.StatusDetails`)."""

    name: str | None = None
    group: str | None = None
    kind: str | None = None
    uid: str | None = None
    causes: tuple[Cause, ...] | None = None
    retry_after_seconds: int | None = None


class Status(msgspec.Struct, frozen=True):
    """`meta/v1.Status`, as far as errors need it."""

    kind: str = ""
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: StatusDetails | None = None


class ApiError(KubernetesError):
    """The API server (or what stands before it) refused a request.

    Attributes:
        status: the HTTP status.
        reason: the API's word for it, for example `AlreadyExists`; "" where the answer has none.
        message: the server's text.
        details: the object and the causes, where the answer names them.
    """

    _retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        details: StatusDetails | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.retryable = self._retryable_by_default or status == HTTPStatus.REQUEST_TIMEOUT


class UnauthorizedError(ApiError):
    """401: the credentials are missing, wrong or expired."""


class ForbiddenError(ApiError):
    """403: not allowed; or a quota; or a create in a namespace that is going away."""


class NotFoundError(ApiError):
    """404: no such object, or no such namespace; `details` names it."""


class NotServedError(ApiError):
    """404 for a path, and not for an object: no such resource is served here, or not yet.

    It says nothing of objects: a proxy, or an API server that has just started, may say it too.
    """


class ConflictError(ApiError):
    """409: another version, another uid, or fields of another manager. Read again first."""


class AlreadyExistsError(ApiError):
    """409 on create: the name is taken."""


class GoneError(ApiError):
    """410: the version or continue token is older than what the server keeps. List again."""


class InvalidError(ApiError):
    """422: the schema, a rule or an admission check refuses the object."""


class TooManyRequestsError(ApiError):
    """429: priority and fairness (or an eviction) says: later. Nothing was done."""

    _retryable_by_default = True


class ServerUnavailableError(ApiError):
    """5xx: the server, its storage or a webhook is not able to answer now.

    A write may have been done all the same.
    """

    _retryable_by_default = True


_BY_REASON: Final[Mapping[str, type[ApiError]]] = {
    "AlreadyExists": AlreadyExistsError,
    "Conflict": ConflictError,
    "Expired": GoneError,
    "Forbidden": ForbiddenError,
    "Gone": GoneError,
    "Invalid": InvalidError,
    "InternalError": ServerUnavailableError,
    "NotFound": NotFoundError,
    "ServerTimeout": ServerUnavailableError,
    "ServiceUnavailable": ServerUnavailableError,
    "Timeout": ServerUnavailableError,
    "TooManyRequests": TooManyRequestsError,
    "Unauthorized": UnauthorizedError,
}
_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: TooManyRequestsError,
}
_status_decoder: Final = msgspec.json.Decoder(Status)


def error_of_status(status: Status, code: int, retry_after: float | None = None) -> ApiError:
    """The error for a Status object; `code` counts where the Status has none."""
    code = status.code or code
    reason = status.reason or ""
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(code)
    if kind is None:
        unavailable = code >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind = ServerUnavailableError if unavailable else ApiError
    if kind is NotFoundError and not (status.details and status.details.name):
        kind = NotServedError
    if retry_after is None and status.details and status.details.retry_after_seconds:
        retry_after = float(status.details.retry_after_seconds)
    return kind(code, reason, status.message or _phrase(code), status.details, retry_after)


def error_of_answer(code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error for an HTTP answer that is no success, whatever its content type."""
    retry_after = _seconds(headers.get("Retry-After"))
    try:
        status = _status_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = Status()
    if status.kind != "Status":
        text = body[: 4 * _EXCERPT].decode(errors="replace").strip()[:_EXCERPT]
        status = Status(message=text or None)
    elif status.code != code:
        # What HTTP says leads: a cached or wrapped Status must not turn a 503 into a 404.
        status = msgspec.structs.replace(status, code=code)
    return error_of_status(status, code, retry_after)


def _seconds(value: str | None) -> float | None:
    """Of Retry-After in its form of seconds, the only one that Kubernetes uses."""
    digits = (value or "").strip()
    return float(digits) if digits.isascii() and digits.isdigit() else None


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "no message"


def described(error: BaseException) -> str:
    """An exception for a log line; some of the network's have no text."""
    text: Any = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
