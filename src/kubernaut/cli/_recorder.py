"""Records lines through an audit store, and tells what became of each, in their order.

What is told is in the journal, on disk. A line is told of once its outcome is known, or has been
waited for long enough: then the event is `pending`. So memory is bounded, whatever comes.
"""

import asyncio
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from kubernaut.audit import (
    AuditStore,
    InvalidEventError,
    JournalError,
    Mode,
    NotDeliveredError,
    Receipt,
    jsontext,
)
from kubernaut.cli._lines import Line

MOST_BYTES: Final = 16 * 2**20
"""As the server takes them."""
_AT_ONCE: Final = 500
_MOST_WAITING: Final = 10_000
_TOLD_AT_ONCE: Final = 200
_BOM: Final = b"\xef\xbb\xbf"

Event = Mapping[str, Any]
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Recorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of an event."""

    line: int
    event_id: UUID
    correlation_id: str
    outcome: Literal["created", "duplicate", "unconfirmed", "quarantined", "pending"]
    reason: str | None = None


class BadLineError(ValueError):
    """A line that is no event at all; the text says why."""


class NotKeptError(Exception):
    """The journal took no more: the events of these lines are not kept."""

    def __init__(self, lines: Sequence[int], cause: JournalError) -> None:
        super().__init__(str(cause))
        self.lines = lines


class _Waiting(NamedTuple):
    """An event in the journal that was not told of yet, and until when it is waited for."""

    line: int
    until: float
    receipt: Receipt
    is_counted: bool = False  # As refused.


class Recorder:
    """One run of the command.

    Args:
        store: takes the events.
        mode: how sure to be of each.
        patience: seconds that the outcome of an event is waited for.
        tell: shows what became of events.
        complain: says that something is wrong with a line.

    Attributes:
        refused: how many lines are no event, or one that was refused.
        pending: how many events were told of as pending.
    """

    def __init__(
        self,
        store: AuditStore,
        mode: Mode,
        patience: float,
        *,
        tell: Callable[[list[Recorded]], None],
        complain: Callable[[int, str], None],
    ) -> None:
        self._store = store
        self._mode = mode
        self._patience = patience
        self._tell = tell
        self._complain = complain
        self._waiting: deque[_Waiting] = deque()
        self._lost: NotKeptError | None = None
        self.refused = 0
        self.pending = 0

    @property
    def waits(self) -> bool:
        """Whether there is something to tell of later."""
        return bool(self._waiting)

    def record_lines(self, lines: list[Line], runner: asyncio.Runner) -> None:
        """Record a portion of lines.

        Raises:
            NotKeptError: the journal took no more.
        """
        events: list[tuple[int, Event]] = []
        for line in lines:
            try:
                event = parsed(line)
            except BadLineError as error:
                self.refused += 1
                self._complain(line.number, str(error))
                continue
            if event is not None:
                events.append((line.number, event))
        for start in range(0, len(events), _AT_ONCE):
            self.record(events[start : start + _AT_ONCE], runner)

    def record(self, events: list[tuple[int, Event]], runner: asyncio.Runner) -> None:
        """Record events together, at one fsync for many; each with the number of its line.

        Raises:
            NotKeptError: the journal took no more; what it took is told of.
        """
        with uninterrupted():
            self._record(events, runner)
        self._make_room()
        self.tell_known()
        if self._lost is not None:
            raise self._lost

    def _record(self, events: list[tuple[int, Event]], runner: asyncio.Runner) -> None:
        results = runner.run(self._all_recorded([event for _, event in events]))
        until = time.monotonic() + self._patience
        lost: list[int] = []
        cause = None
        for (number, _), result in zip(events, results, strict=True):
            match result:
                case Receipt():
                    self._waiting.append(_Waiting(number, until, result))
                case NotDeliveredError():
                    self._waiting.append(_Waiting(number, 0.0, result.receipt))
                case InvalidEventError():
                    self._refuse(number, str(result), result.event_id)
                    self._waiting.append(_Waiting(number, 0.0, _refused(result), is_counted=True))
                case JournalError():
                    lost.append(number)
                    cause = cause or result
                case _:
                    raise result
        if cause is not None:
            self._lost = NotKeptError(lost, cause)

    def _make_room(self) -> None:
        """While the server takes events, wait for it rather than tell of them as pending."""
        if len(self._waiting) <= _MOST_WAITING:
            return
        is_away = self._store.stats().last_error is not None
        while len(self._waiting) > _MOST_WAITING:
            head = self._waiting[0]
            head.receipt.wait(0.0 if is_away else max(0.0, head.until - time.monotonic()))
            self._waiting[0] = head._replace(until=0.0)
            self.tell_known()

    async def _all_recorded(self, events: list[Event]) -> list[Receipt | BaseException]:
        return await asyncio.gather(
            *(self._store.arecord(event, mode=self._mode) for event in events),
            return_exceptions=True,
        )

    def tell_known(self, now: float | None = None) -> None:
        """Tell of the events at the head whose outcome is known or was waited for long enough."""
        now = time.monotonic() if now is None else now
        told: list[Recorded] = []
        while self._waiting:
            head = self._waiting[0]
            if head.receipt.outcome is None and head.until > now:
                break
            self._waiting.popleft()
            told.append(self._told(head))
            if len(told) == _TOLD_AT_ONCE:
                self._tell(told)
                told = []
        if told:
            self._tell(told)

    def tell_all(self, deadline: float) -> None:
        """Wait for outcomes until a moment on the monotonic clock; then tell of the rest."""
        while self._waiting:
            now = time.monotonic()
            if now >= deadline:
                self.tell_known(math.inf)
            else:
                head = self._waiting[0]
                head.receipt.wait(max(0.0, min(head.until, deadline) - now))
                self.tell_known()

    def _told(self, head: _Waiting) -> Recorded:
        receipt = head.receipt
        if receipt.outcome is None:
            self.pending += 1
        elif receipt.outcome == "quarantined" and not head.is_counted:
            self._refuse(head.line, f"refused by the server: {receipt.reason}", receipt.event_id)
        return Recorded(
            head.line,
            receipt.event_id,
            receipt.correlation_id,
            receipt.outcome or "pending",
            receipt.reason,
        )

    def _refuse(self, line: int, why: str, event_id: UUID) -> None:
        self.refused += 1
        self._complain(line, f"{why}; kept in quarantine as {event_id}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of something short; a second one does not."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def parsed(line: Line) -> Event | None:
    """The event in a line, its payload byte for byte; None for an empty line.

    Raises:
        BadLineError: it is no JSON object.
    """
    if line.text is None:
        raise BadLineError(f"longer than {MOST_BYTES} bytes")
    text = line.text.removeprefix(_BOM) if line.number == 1 else line.text
    if not text.strip():
        return None
    try:
        text.decode()
        event = _decode(text)
    except UnicodeDecodeError as error:
        raise BadLineError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise BadLineError("nested too deeply") from None
    except msgspec.ValidationError:
        raise BadLineError("not a JSON object") from None
    except msgspec.DecodeError as error:
        raise BadLineError(f"not JSON: {error}") from None
    if jsontext.may_repeat_members(text, array=False) and (name := jsontext.repeated_member(text)):
        raise BadLineError(f"the member {name!r} stands twice")
    return event


def _refused(error: InvalidEventError) -> Receipt:
    receipt = Receipt(error.event_id, error.correlation_id)
    receipt.resolve("quarantined", str(error))
    return receipt
