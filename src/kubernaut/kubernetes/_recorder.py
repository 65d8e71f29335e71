"""Events for people (`kubectl get events`), written beside the work and never in its way.

* `record` returns at once and never raises. What can't be written is dropped and counted: events
  are a courtesy. Whoever needs a trail that cannot be lost needs something else.
* Repetitions of the same event are one object with a count (`series`), as in client-go's
  `tools/events`: the same object, type, action, reason and reporter, seen again within six
  minutes. The note is the first one's.
* Each object has a budget: 25 events at once, then one every five minutes (client-go's
  `EventSourceObjectSpamFilter`). Repetitions cost nothing of it, as they write little: the first
  one at once, and later ones together once in `series_interval`.

It is level-triggered like everything here: a series is a key in a `WorkQueue`, and what is written
is its state at that time. A failed write is repeated and includes what came meanwhile.
"""

import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry

from kubernaut.kubernetes._backoff import ExponentialBackoff, Tokens
from kubernaut.kubernetes._client import Client
from kubernaut.kubernetes._clock import Clock, RealClock, time_limit, utc_now
from kubernaut.kubernetes._core_kinds import EVENTS, Event, EventSeries, ObjectReference
from kubernaut.kubernetes._errors import AlreadyExistsError, KubernetesError, NotFoundError
from kubernaut.kubernetes._objects import KubernetesObject, ObjectMeta, Resource
from kubernaut.kubernetes._workqueue import QueueShutDownError, WorkQueue

_LOG: Final = logging.getLogger("kubernaut.kubernetes.recorder")
_SERIES_ENDS: Final = 360.0
"""Seconds without a repetition (client-go: `finishTime`)."""
_BURST: Final = 25
_RATE: Final = 1 / 300
_TRIES: Final = 12
"""client-go: `maxTriesPerEvent`."""
_LONGEST_NOTE: Final = 1024
"""Bytes of UTF-8 (the API's validation)."""
_LONGEST_WORD: Final = 128
"""Characters of reason and action (the API's validation)."""
_LONGEST_STEM: Final = 200
"""Characters of the object's name in the event's name, which may have 253."""
_REMEMBERED: Final = 4096
"""How many series and budgets are remembered; the least used are forgotten first."""


@dataclass(slots=True)
class _Series:
    """One event and its repetitions."""

    event: Event
    count: int
    last: datetime
    last_seen: float
    written: int = 0
    """The count that the API server knows; 0 before the event was made."""


class EventRecorder:
    """Records events about objects; `run` writes them.

    Args:
        client: writes the events; needs `create` and `patch` on `events.events.k8s.io`.
        controller: who reports, for example `example.com/sizer`.
        instance: which process of it reports.
        clock: where the time comes from.
        series_interval: seconds between two writes of the same series.
        registry: where the queue's metrics are.

    Attributes:
        dropped: events that were not written: over budget, refused, or failed too often.
    """

    def __init__(  # noqa: PLR0913  (settings with defaults)
        self,
        client: Client,
        controller: str,
        instance: str,
        *,
        clock: Clock | None = None,
        series_interval: float = 60.0,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self.dropped = 0
        self._client = client
        self._controller = controller
        self._instance = instance[:_LONGEST_WORD]
        self._clock = clock or RealClock()
        self._interval = series_interval
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._budgets: OrderedDict[str, Tokens] = OrderedDict()
        self._queue = WorkQueue(
            f"events-{controller}",
            clock=self._clock,
            backoff=ExponentialBackoff(base=0.5, longest=60.0),
            registry=registry,
        )
        self._made = 0

    def record(  # noqa: PLR0913  (the members of an event)
        self,
        resource: Resource[Any],
        regarding: KubernetesObject,
        reason: str,
        note: str,
        *,
        action: str = "Reconcile",
        type_: Literal["Normal", "Warning"] = "Normal",
        related: ObjectReference | None = None,
    ) -> None:
        """Record that something happened; never waits, never fails.

        Args:
            resource: the kind of `regarding`.
            regarding: the object that it is about.
            reason: why, one word in CamelCase, for machines.
            note: for people; cut to 1 kB.
            action: what was being done, one word in CamelCase.
            type_: `Warning` for what somebody should look at.
            related: another object that has to do with it.
        """
        try:
            reference = reference_to(resource, regarding)
            self._record(reference, related, (type_, action, reason), note)
        except Exception:  # noqa: BLE001  (the caller's work goes on)
            self.dropped += 1
            _LOG.exception("an event %s was not recorded", reason)

    def _record(
        self,
        regarding: ObjectReference,
        related: ObjectReference | None,
        words: tuple[str, str, str],
        note: str,
    ) -> None:
        type_, action, reason = words
        now = utc_now(self._clock)
        # Another version of the object is no other event.
        about = msgspec.structs.replace(regarding, resource_version="")
        key = msgspec.json.encode((about, related, words)).decode()
        known = self._series.get(key)
        if known is not None and self._clock.monotonic() - known.last_seen < _SERIES_ENDS:
            known.count += 1
            known.last = now
            known.last_seen = self._clock.monotonic()
            self._series.move_to_end(key)
            self._queue.add_after(key, 0 if known.count == 2 else self._interval)  # noqa: PLR2004  (the first repetition)
            return
        if self._queue.shutting_down or not self._budget(regarding):
            self.dropped += 1
            return
        self._made += 1
        # As client-go: unique by time. The count keeps two of the same moment apart.
        stem = regarding.name[:_LONGEST_STEM].rstrip("-.")
        name = f"{stem}.{int(self._clock.time() * 1e6):x}{self._made % 4096:03x}"
        event = Event(
            metadata=ObjectMeta(name=name, namespace=regarding.namespace or "default"),
            event_time=now,
            reporting_controller=self._controller,
            reporting_instance=self._instance,
            action=action[:_LONGEST_WORD],
            reason=reason[:_LONGEST_WORD],
            regarding=regarding,
            related=related,
            note=_cut(note),
            type=type_,
        )
        self._series[key] = _Series(event, 1, now, self._clock.monotonic())
        self._series.move_to_end(key)
        self._queue.add(key)
        if len(self._series) > _REMEMBERED:
            _, forgotten = self._series.popitem(last=False)
            self.dropped += not forgotten.written

    def _budget(self, regarding: ObjectReference) -> bool:
        key = regarding.uid or f"{regarding.kind}/{regarding.namespace}/{regarding.name}"
        tokens = self._budgets.get(key)
        if tokens is None:
            tokens = self._budgets[key] = Tokens(_RATE, _BURST, self._clock)
            if len(self._budgets) > _REMEMBERED:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(key)
        return tokens.take()

    async def run(self) -> None:
        """Write what is recorded, until `close`."""
        while True:
            try:
                key = await self._queue.get()
            except QueueShutDownError:
                return
            try:
                await self._write(key)
            finally:
                self._queue.done(key)

    async def close(self, limit: float = 5.0) -> None:
        """Take no new event and write what is known, for `limit` seconds at most.

        `run` must be running; it returns afterwards.
        """
        for key, series in list(self._series.items()):
            if series.written < series.count:
                self._queue.add(key)
        try:
            async with time_limit(self._clock, limit):
                await self._queue.shut_down_with_drain()
        except TimeoutError:
            left = sum(series.written == 0 for series in self._series.values())
            self.dropped += left
            _LOG.warning("%d events were not written in %g s", left, limit)

    async def _write(self, key: str) -> None:
        series = self._series.get(key)
        if series is None or series.written == series.count:
            return
        count = series.count
        try:
            await self._send(series, count)
        except Exception as error:  # noqa: BLE001  (an event is never worth a failure)
            self._failed(key, series, error)
        else:
            series.written = count
            self._queue.forget(key)
            if series.count > count:
                self._queue.add_after(key, self._interval)

    async def _send(self, series: _Series, count: int) -> None:
        event = series.event
        metadata = event.metadata
        repeated = EventSeries(count=count, last_observed_time=series.last) if count > 1 else None
        if series.written:
            body = {"series": msgspec.to_builtins(repeated)}
            try:
                await self._client.patch(EVENTS, metadata.name, body, namespace=metadata.namespace)
            except NotFoundError:
                pass  # Events live for an hour; this one is made anew.
            else:
                return
        event = msgspec.structs.replace(event, series=repeated)
        # The name is ours alone: it exists where the answer to an earlier attempt was lost.
        with suppress(AlreadyExistsError):
            await self._client.create(EVENTS, event, namespace=metadata.namespace)

    def _failed(self, key: str, series: _Series, error: Exception) -> None:
        retryable = isinstance(error, KubernetesError) and error.retryable
        if retryable and self._queue.failures(key) < _TRIES and not self._queue.shutting_down:
            self._queue.add_rate_limited(key)
            return
        self._queue.forget(key)
        self.dropped += 1
        if self._series.get(key) is series:
            del self._series[key]
        _LOG.warning("the event %s is dropped: %s", series.event.metadata.name, error)


def reference_to(resource: Resource[Any], obj: KubernetesObject) -> ObjectReference:
    """A reference to an object of a kind, for events."""
    metadata = obj.metadata
    return ObjectReference(
        api_version=resource.api_version,
        kind=resource.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


def _cut(note: str) -> str:
    """As much of a text as fits, ending at a whole character."""
    return note.encode()[:_LONGEST_NOTE].decode(errors="ignore")
