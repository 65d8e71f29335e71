"""What an answer of the server means for the events that were sent.

Only a problem document (RFC 9457) may condemn an event: whatever else comes back, say a proxy's
page, tells of the way and not of the event, and the event stays in the journal.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from kubernaut.audit._journal import Entry, Outcome

_PROBLEM: Final = "application/problem+json"
_CONDEMNING: Final = (400, 409, 413, 422)
_MAX_RETRY_AFTER_SECONDS: Final = 300.0
_STORED: Final = {"created": "delivered", "duplicate": "duplicate"}


class Settled(NamedTuple):
    """The fate of every event of the batch is known."""

    outcomes: list[Outcome]


class Split(NamedTuple):
    """The batch was refused as a whole: send its halves.

    `too_large` says that later batches had better be smaller, too.
    """

    too_large: bool


class TryAgain(NamedTuple):
    """Nothing is known about the events; send them again later.

    `after` is the server's wish in seconds.
    """

    reason: str
    after: float | None = None
    new_token: bool = False


Judgement = Settled | Split | TryAgain


class _Fault(msgspec.Struct):
    path: str = "$"
    rule: str = ""


class _Result(msgspec.Struct):
    status: Literal["created", "duplicate", "conflict", "rejected"]
    errors: list[_Fault] = []


class _Batch(msgspec.Struct):
    event_ids: list[str | None]
    results: list[_Result] | None = None


class _Problem(msgspec.Struct):
    type: str = "about:blank"
    title: str = ""
    detail: str = ""


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


def judge(
    batch: Sequence[Entry], status: int, headers: Mapping[str, str], body: bytes
) -> Judgement:
    """What an answer to a batch means.

    Args:
        batch: what was sent, in order.
        status: the HTTP status.
        headers: the answer's, with names in lower case.
        body: the whole body.
    """
    if status == 201:  # noqa: PLR2004
        return _stored(batch, body)
    if status == 202:  # noqa: PLR2004  (an old server queued the batch in Redis)
        return Settled([Outcome(entry, "unconfirmed") for entry in batch])
    problem = _problem(headers, body)
    if problem is not None and status in _CONDEMNING:
        return _refused(batch, status, problem)
    what = f"HTTP {status}"
    if problem is not None:
        what += f": {problem.detail or problem.title}"
    return TryAgain(what, _retry_after(headers), new_token=status == 401)  # noqa: PLR2004


def _stored(batch: Sequence[Entry], body: bytes) -> Judgement:
    try:
        answer = _decode_batch(body)
    except msgspec.DecodeError as error:
        return TryAgain(f"HTTP 201 with an answer that is not understood: {error}")
    if answer.results is None:  # A server of the old contract stores all or nothing.
        return Settled([Outcome(entry, "delivered") for entry in batch])
    if len(answer.results) != len(batch):
        return TryAgain(f"HTTP 201 with {len(answer.results)} results for {len(batch)} events")
    return Settled(
        [_outcome(entry, result) for entry, result in zip(batch, answer.results, strict=True)]
    )


def _outcome(entry: Entry, result: _Result) -> Outcome:
    if counter := _STORED.get(result.status):
        return Outcome(entry, counter)
    if result.status == "conflict" and entry.own_id:
        return Outcome(entry, "conflict_own")
    faults = "; ".join(f"{fault.path}: {fault.rule}" for fault in result.errors)
    return Outcome(entry, "quarantined", f"{result.status}: {faults}" if faults else result.status)


def _refused(batch: Sequence[Entry], status: int, problem: _Problem) -> Judgement:
    too_large = status == 413 or problem.type.endswith("batch-size-exceeded")  # noqa: PLR2004
    if len(batch) > 1:
        return Split(too_large)
    (entry,) = batch
    if status == 409 and entry.own_id:  # noqa: PLR2004
        return Settled([Outcome(entry, "conflict_own")])
    reason = f"HTTP {status}: {problem.detail or problem.title or problem.type}"
    return Settled([Outcome(entry, "quarantined", reason)])


def _problem(headers: Mapping[str, str], body: bytes) -> _Problem | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _PROBLEM:
        return None
    try:
        return _decode_problem(body)
    except msgspec.DecodeError:
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `Retry-After`, a number or a date (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdigit():
        seconds = float(value)
    else:
        import email.utils  # noqa: PLC0415  (rare, and slow to load)

        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)
