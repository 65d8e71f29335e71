"""What an answer becomes, whatever it looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from kubernaut.kubernetes import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    NotServedError,
    ServerUnavailableError,
    TooManyRequestsError,
    TransportError,
    UnauthorizedError,
)
from kubernaut.kubernetes._errors import error_of_answer


def status(code: int, reason: str) -> bytes:
    return b'{"kind":"Status","code":%d,"reason":"%s","message":"said"}' % (code, reason.encode())


@pytest.mark.parametrize(
    ("code", "reason", "kind", "retryable"),
    [
        (400, "BadRequest", ApiError, False),
        (401, "Unauthorized", UnauthorizedError, False),
        (403, "Forbidden", ForbiddenError, False),
        (404, "NotFound", NotServedError, False),
        (405, "MethodNotAllowed", ApiError, False),
        (408, "", ApiError, True),
        (409, "AlreadyExists", AlreadyExistsError, False),
        (409, "Conflict", ConflictError, False),
        (410, "Expired", GoneError, False),
        (410, "Gone", GoneError, False),
        (415, "UnsupportedMediaType", ApiError, False),
        (422, "Invalid", InvalidError, False),
        (429, "TooManyRequests", TooManyRequestsError, True),
        (500, "InternalError", ServerUnavailableError, True),
        (500, "ServerTimeout", ServerUnavailableError, True),
        (503, "ServiceUnavailable", ServerUnavailableError, True),
        (504, "Timeout", ServerUnavailableError, True),
    ],
)
def test_a_status_object(code: int, reason: str, kind: type[ApiError], *, retryable: bool) -> None:
    error = error_of_answer(code, {}, status(code, reason))
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (code, reason, "said")
    assert error.retryable is retryable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (404, NotServedError),
        (409, ConflictError),
        (410, GoneError),
        (429, TooManyRequestsError),
        (502, ServerUnavailableError),
        (307, ApiError),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"404 page not found\n", b"<html>\xff</html>", b"[]", b'{"kind":"Pod"}', b"null"]
)
def test_an_answer_that_is_no_status_object(code: int, kind: type[ApiError], body: bytes) -> None:
    error = error_of_answer(code, {}, body)
    assert type(error) is kind
    assert error.status == code
    assert error.message


@given(st.integers(300, 599), st.binary(max_size=2000))
def test_any_bytes_become_an_error_of_that_status(code: int, body: bytes) -> None:
    error = error_of_answer(code, {}, body)
    assert error.status == code
    assert len(error.message) <= 300


def test_the_status_of_http_leads() -> None:
    assert error_of_answer(503, {}, status(404, "")).status == 503


def test_only_what_names_an_object_says_that_it_is_not_there() -> None:
    body = b"""{"kind":"Status","code":404,"reason":"NotFound","message":"no","details":{%s}}"""
    named = error_of_answer(404, {}, body % b'"name":"a","kind":"widgets"')
    assert type(named) is NotFoundError
    assert type(error_of_answer(404, {}, body % b"")) is NotServedError


def test_details_name_the_field() -> None:
    body = b"""{"kind":"Status","code":422,"reason":"Invalid","message":"no","details":{"name":"a",
        "group":"g","kind":"Widget","causes":[{"reason":"FieldValueInvalid","field":"spec.size",
        "message":"must not shrink"}]}}"""
    details = error_of_answer(422, {}, body).details
    assert details is not None
    assert details.causes is not None
    assert (details.name, details.causes[0].field) == ("a", "spec.size")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), (" 0 ", 0.0), ("soon", None), ("-1", None), ("", None), ("\u0663", None)],
)
def test_retry_after_in_any_case(header: str, seconds: float | None) -> None:
    error = error_of_answer(429, CIMultiDict({"retry-after": header}), b"")
    assert error.retry_after == seconds


def test_retry_after_in_the_details() -> None:
    body = (
        b'{"kind":"Status","code":500,"reason":"ServerTimeout","details":{"retryAfterSeconds":2}}'
    )
    assert error_of_answer(500, {}, body).retry_after == 2.0


def test_a_transport_error_is_retryable() -> None:
    assert TransportError("gone").retryable
