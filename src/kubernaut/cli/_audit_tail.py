"""`kubernaut audit tail`: the newest events, and new ones as they come.

The trail is ordered by the time at which events happened, and an event can be stored long after
that, so there is no place in the trail behind which all that is new would be found. What follows
looks at a window of the newest time again and again, and shows what it has not shown:

* An event is shown if it is stored within the window, which begins so many seconds before the
  server's now. (An event from the future is in it too.) One that is stored later is not.
* While there is no answer the window grows, so that what was stored meanwhile is shown.
* No event is shown twice. Ids are remembered while they are in the window; if there are too many
  for that, the window becomes shorter, and standard error says so.
"""

import math
import select
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Final
from uuid import UUID

import typer

from kubernaut.audit import Client, EventFilter, ServerProblemError, TransportError
from kubernaut.audit.wire import StoredEvent
from kubernaut.cli._audit_query import filters
from kubernaut.cli._audit_server import (
    DEFAULT_SERVER,
    SERVER_HELP,
    CaFile,
    CorrelationId,
    DetailKey,
    DetailValue,
    EventCategory,
    EventOutcome,
    EventType,
    Server,
    Severity,
    TokenFile,
    asking,
    described,
)
from kubernaut.cli._audit_show import Events, OutputForm
from kubernaut.cli._failure import tell

_PAGE_SIZE: Final = 500
_MOST_REMEMBERED: Final = 200_000
_PASSES: Final = (408, 425, 429)
_SERVER_ERROR: Final = 500

HELP: Final = f"""Show the newest events, the newest last, and with --follow new ones as they come.

Events are in the order of the time at which they happened. One may be stored later than that: with
--follow it is shown if it is stored at most --overlap seconds late, below those that came before
it. To see also what a sender held back for hours, ask `query` again. None is shown twice. While
the server gives no answer, --follow goes on asking, and misses nothing.
{SERVER_HELP}
Exit codes: 0 done, or with --follow Ctrl-C; 2 the command line is wrong or there was no answer to
begin with, one line says why; 141 the reader of the output has gone.

\b
Examples:
  kubernaut audit tail --follow
  kubernaut audit tail -n 100 --event-outcome failure"""

_Key = tuple[UUID, str]
_Place = tuple[datetime, UUID]

Number = Annotated[int, typer.Option("--number", "-n", min=0, help="How many to begin with.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")]
Interval = Annotated[
    float,
    typer.Option(min=0.1, max=3600, metavar="SECONDS", help="With --follow: time between looks."),
]
Overlap = Annotated[
    float,
    typer.Option(
        min=1,
        max=86_400,
        metavar="SECONDS",
        help="With --follow: how late an event may be stored and is shown all the same.",
    ),
]


class Window:
    """The newest part of the trail, looked at again and again.

    Args:
        client: the server.
        wanted: what to look for.
        overlap: seconds before now at which the window begins.
        most: how many events to remember.
    """

    def __init__(
        self, client: Client, wanted: EventFilter, overlap: float, most: int = _MOST_REMEMBERED
    ) -> None:
        self._client = client
        self._wanted = wanted
        self._overlap = overlap
        self._most = most
        self._looked_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        # Of the last two looks, for the clocks of two servers are not quite the same.
        self._seen: dict[_Key, _Place] = {}
        self._seen_before: dict[_Key, _Place] = {}
        self._floor: _Place | None = None

    @property
    def shortened(self) -> bool:
        """Whether there were too many events in it to remember them all."""
        return self._floor is not None

    def remember(self, events: list[StoredEvent]) -> None:
        """Take events as shown."""
        self._seen |= {_key(event): _place(event) for event in events}

    def look(self) -> Iterator[StoredEvent]:
        """The events that were not there yet, the oldest first.

        Raises:
            ServerProblemError: the server cannot answer; the next look makes up for it.
            TransportError: no answer came; the next look makes up for it.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        # A span before the server's now, because the clock of this machine may be wrong.
        span = f"{math.ceil(now - self._looked_at + self._overlap)}s"
        wanted = self._wanted | filters(since=span, order="asc", page_size=_PAGE_SIZE)
        seen: dict[_Key, _Place] = {}
        try:
            for event in self._client.query(**wanted):
                key, place = _key(event), _place(event)
                if self._floor is not None and place <= self._floor:
                    continue
                seen[key] = place
                if len(seen) > self._most:
                    self._floor = seen.pop(next(iter(seen)))
                if key not in self._seen and key not in self._seen_before:
                    yield event
        except (ServerProblemError, TransportError):
            self._seen |= seen
            raise
        self._seen_before, self._seen = self._seen, seen
        self._looked_at = now


def tail(  # noqa: PLR0913  (its options)
    *,
    number: Number = 20,
    follow: Follow = False,
    interval: Interval = 2.0,
    overlap: Overlap = 60.0,
    correlation_id: CorrelationId = None,
    event_type: EventType = None,
    event_category: EventCategory = None,
    event_outcome: EventOutcome = None,
    severity: Severity = None,
    detail_key: DetailKey = None,
    detail_value: DetailValue = None,
    output: OutputForm = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    wanted = filters(
        correlation_id=correlation_id,
        event_type=event_type,
        event_category=event_category,
        event_outcome=event_outcome,
        severity=severity,
        detail_key=detail_key,
        detail_value=detail_value,
    )
    with asking(server, token_file, ca_file) as client:
        shown = Events(output)
        if not follow:
            shown.show(_newest(client, wanted, number))
            return
        try:
            _Following(Window(client, wanted, overlap), shown, server).run(
                lambda: _newest(client, wanted, number), interval
            )
        except KeyboardInterrupt:
            return  # Stopped as told.


class _Following:
    """Shows what a window has that is new, whether or not the server is there all the time."""

    def __init__(self, window: Window, shown: Events, server: str) -> None:
        self._window = window
        self._shown = shown
        self._server = server
        self._waiting = False
        self._told_of_shortening = False

    def run(self, newest: Callable[[], list[StoredEvent]], interval: float) -> None:
        """Show the newest events, then new ones.

        Raises:
            BrokenPipeError: the reader of the output has gone.
            ServerProblemError: the server cannot answer to begin with, or refuses to.
            TransportError: no answer came to begin with.
        """
        for _ in self._window.look():
            pass  # What is there already. Looked at first, so that nothing slips in between.
        events = newest()
        self._window.remember(events)
        self._shown.show(events)
        reader = select.poll()
        reader.register(sys.stdout.fileno(), 0)  # Of itself it tells of a reader who has gone.
        while not reader.poll(interval * 1000):
            self._look()
        raise BrokenPipeError

    def _look(self) -> None:
        try:
            self._shown.show(self._window.look())
        except TransportError as error:
            self._wait(f"no answer from {self._server}: {error}")
        except ServerProblemError as error:
            if error.status < _SERVER_ERROR and error.status not in _PASSES:
                raise
            self._wait(described(error, self._server))
        else:
            if self._waiting:
                self._waiting = False
                tell(f"{self._server} answers again")
        if self._window.shortened and not self._told_of_shortening:
            self._told_of_shortening = True
            tell(
                f"more than {_MOST_REMEMBERED} events within --overlap: of those stored late, only"
                " the newest are shown"
            )

    def _wait(self, why: str) -> None:
        if not self._waiting:
            self._waiting = True
            tell(f"{why}; asking on")


def _newest(client: Client, wanted: EventFilter, number: int) -> list[StoredEvent]:
    """The newest events, the newest last."""
    if number == 0:
        return []
    page = filters(page_size=min(number, _PAGE_SIZE))
    return list(islice(client.query(**(wanted | page)), number))[::-1]


def _key(event: StoredEvent) -> _Key:
    return event.event_id, event.correlation_id


def _place(event: StoredEvent) -> _Place:
    return event.event_timestamp, event.event_id
