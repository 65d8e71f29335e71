"""What a refused creation means for the run, in words of the API."""

from http import HTTPStatus

from kubernaut.kubernetes import ApiError
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution.engines import Failure


def refusal_of(error: ApiError, run: Run) -> Failure:
    """The failure of a run whose object the API server does not take, now or later."""
    text = error.message
    if error.status == HTTPStatus.FORBIDDEN:
        if "quota" in text.lower():
            return _failure("ResourceExhausted", text)
        return _failure("Forbidden", text)
    if error.status == HTTPStatus.NOT_FOUND:
        text = f"{text}: create the namespace {run.namespace}, and install the engine {run.engine}"
    return _failure("ConfigurationError", text)


def _failure(reason: str, message: str) -> Failure:
    return Failure(reason=reason, message=message, was_execution_failure=False)  # type: ignore[arg-type]
