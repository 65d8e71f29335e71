"""What an answer of the server means for the events that were sent.

Only a problem document (RFC 9457) may condemn an event: whatever else comes back, say a proxy's
page, tells of the way and not of the event, and the event stays in the journal.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from kubernaut.audit._entries import Entry, Fate, Outcome

_PROBLEM: Final = "application/problem+json"
_CONDEMNING: Final = (400, 409, 413, 422)
_OFFENDED: Final = (400, 403, 404, 406, 409, 413, 414, 415, 422, 431, 451)
"""What a firewall or proxy answers to a content that it does not like."""
_TOO_MANY: Final = "batch-size-exceeded"
_MAX_RETRY_AFTER_SECONDS: Final = 300.0

Cap = Literal["events", "bytes"]


class Settled(NamedTuple):
    """The fate of every event of the batch is known."""

    outcomes: list[Outcome]


class Split(NamedTuple):
    """The batch was refused as a whole: send its halves.

    `cap` says what it had too much of, if that was it; later batches had better have less.
    """

    cap: Cap | None


class TryAgain(NamedTuple):
    """Nothing is known about the events; send them again later.

    `after` is the server's wish in seconds. `suspect`: it may be that something on the way takes
    offence at one of the events, so that the others had better not wait for it.
    """

    reason: str
    after: float | None = None
    new_token: bool = False
    suspect: bool = False


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


class _Queued(msgspec.Struct):
    status: Literal["accepted"]


class _Problem(msgspec.Struct):
    type: str = "about:blank"
    title: str = ""
    detail: str = ""


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_queued = msgspec.json.Decoder(_Queued).decode
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
    if status == 202:  # noqa: PLR2004
        return _queued(batch, body)
    problem = _problem(headers, body)
    if problem is not None and status in _CONDEMNING:
        return _refused(batch, status, problem)
    if status == 413 and len(batch) > 1:  # noqa: PLR2004  (a proxy's: a smaller batch may pass)
        return Split("bytes")
    what = f"HTTP {status}"
    if problem is not None:
        what += f": {problem.detail or problem.title}"
    return TryAgain(
        what,
        _retry_after(headers),
        new_token=status == 401,  # noqa: PLR2004
        suspect=problem is None and status in _OFFENDED,
    )


def _queued(batch: Sequence[Entry], body: bytes) -> Judgement:
    """A server of the old contract has put the batch into Redis; a proxy's 202 says nothing."""
    try:
        _decode_queued(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return TryAgain(f"HTTP 202 with an answer that is not understood: {error}")
    return Settled([Outcome(entry, "unconfirmed") for entry in batch])


def _stored(batch: Sequence[Entry], body: bytes) -> Judgement:
    try:
        answer = _decode_batch(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return TryAgain(f"HTTP 201 with an answer that is not understood: {error}")
    results = answer.results
    if results is None:  # A server of the old contract stores all or nothing.
        results = [_Result("created")] * len(answer.event_ids)
    if len(results) != len(batch):
        return TryAgain(f"HTTP 201 with {len(results)} results for {len(batch)} events")
    return Settled([_outcome(entry, result) for entry, result in zip(batch, results, strict=True)])


def _outcome(entry: Entry, result: _Result) -> Outcome:
    match result.status:
        case "created" | "duplicate" as fate:
            return Outcome(entry, fate)
        case "conflict":
            return _conflict(entry, "the server has this event_id with other content")
        case "rejected":
            faults = "; ".join(f"{fault.path}: {fault.rule}" for fault in result.errors)
            return Outcome(entry, "quarantined", f"rejected: {faults}")


def _conflict(entry: Entry, reason: str) -> Outcome:
    if entry.own_id:
        fate: Fate = "duplicate"
        return Outcome(entry, fate, own_conflict=True)
    return Outcome(entry, "quarantined", f"conflict: {reason}")


def _refused(batch: Sequence[Entry], status: int, problem: _Problem) -> Judgement:
    if len(batch) > 1:
        if problem.type.endswith(_TOO_MANY):
            return Split("events")
        return Split("bytes" if status == 413 else None)  # noqa: PLR2004
    (entry,) = batch
    reason = f"HTTP {status}: {problem.detail or problem.title or problem.type}"
    if status == 409:  # noqa: PLR2004
        return Settled([_conflict(entry, reason)])
    return Settled([Outcome(entry, "quarantined", reason)])


def _problem(headers: Mapping[str, str], body: bytes) -> _Problem | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _PROBLEM:
        return None
    try:
        return _decode_problem(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `Retry-After`, a number or a date (RFC 9110, section 10.2.3).

    None if that is now: then our own pause counts, or there would be none.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        import email.utils  # noqa: PLC0415  (rare, and slow to load)

        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(seconds, _MAX_RETRY_AFTER_SECONDS) if seconds > 0 else None
