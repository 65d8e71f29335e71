"""Leader election on a lock with client-go's timing rules (`tools/leaderelection`).

What it guarantees, with `sent` the moment before the leader's last accepted renewal was sent, on
the leader's own clock that never jumps:

* From `sent + renew_deadline` on, `fence` raises and the work is being cancelled. A process that
  was suspended (SIGSTOP, a sleeping machine) finds the fence closed when it wakes up.
* Another candidate takes the lease at the earliest when `lease_duration` has passed since *it saw*
  that renewal, which is after `sent`. Timestamps in the lease are for people: nobody's wall clock
  is trusted.

So two leaders never overlap as long as clocks run equally fast and nobody edits or deletes the
lease. A request that passed the fence may still be on its way when the lease passes on; the margin
`lease_duration - renew_deadline` is for those, and beyond it only optimistic locking helps: updates
must carry `resourceVersion`, creates must have names that two leaders would choose alike.

Where it is stricter than client-go: the renew deadline counts from the last success and not from
the start of the attempt after it; another holder seen is a loss at once; and candidates wake up at
the moment when the lease they observe expires, so that a hand-over takes no longer than
`lease_duration + retry_period` (client-go adds up to 2.2 retry periods).
"""

import asyncio
import logging
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry

from kubernaut.kubernetes._clock import Clock, RealClock, sleep_on, time_limit, utc_now, within
from kubernaut.kubernetes._errors import ConflictError, KubernetesError, NotFoundError
from kubernaut.kubernetes._lease import Lock, Tenure
from kubernaut.kubernetes._metrics import metrics_in
from kubernaut.kubernetes._transport import Request

_LOG: Final = logging.getLogger("kubernaut.kubernetes.leader")
_JITTER_FACTOR: Final = 1.2
"""client-go refuses a renew deadline that isn't longer than this many retry periods."""
_EARLIEST: Final = 0.8
"""A candidate looks again after 0.8 to 1 retry periods, so that many don't come together."""


class LeadershipLostError(KubernetesError):
    """This process doesn't lead (any more): the request was not sent, the work was cancelled."""


def _default_identity() -> str:
    # As client-go's examples: a process that starts again is another candidate.
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4()}"


class LeaderElection:
    """One candidate.

    Args:
        lock: the lease, `LeaseLock(client, namespace, name)`; its client must not be one that this
            election fences.
        identity: who this candidate is; must differ between processes and between their starts.
        lease_duration: whole seconds that others wait after the last renewal that they saw.
        renew_deadline: seconds after the last renewal until this process stops its work.
        retry_period: seconds between attempts.
        clock: where the time comes from.
        rng: for the jitter of candidates.
        registry: where `leader_election_master_status` is.

    Attributes:
        elected: set while this process leads.

    Raises:
        ValueError: not `lease_duration > renew_deadline > 1.2 · retry_period > 0`.
    """

    def __init__(  # noqa: PLR0913  (settings with defaults)
        self,
        lock: Lock,
        *,
        identity: str | None = None,
        lease_duration: int = 15,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        if not lease_duration > renew_deadline > _JITTER_FACTOR * retry_period > 0:
            raise ValueError(
                "leader election needs lease_duration > renew_deadline > 1.2 * retry_period > 0"
            )
        self.identity = identity or _default_identity()
        self.elected = asyncio.Event()
        self._lock = lock
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._clock = clock or RealClock()
        self._random = rng or random.Random()  # noqa: S311  (jitter, no secret)
        self._observed: Tenure | None = None
        self._observed_at = 0.0
        self._valid_until = float("-inf")
        self._deposed = False
        self._running = False
        self._status = metrics_in(registry).leading.labels(lock.name)
        self._status.set(0)

    def fence(self) -> None:
        """Check that this process may still write; call it right before each request.

        Raises:
            LeadershipLostError: the lease is not held, or may have passed to another.
        """
        if self._clock.monotonic() >= self._valid_until:
            raise LeadershipLostError(f"{self.identity} does not lead ({self._lock.name})")

    def fence_writes(self, request: Request) -> None:
        """Fence what changes something, and let it take no longer than the lease lasts.

        For `Client(before_request=leader.fence_writes)`: reads pass, so that caches stay warm in
        candidates that wait.

        Raises:
            LeadershipLostError: as `fence`.
        """
        if request.writes:
            self.fence()
            margin = self._lease_duration - self._renew_deadline
            left = self._valid_until + margin - self._clock.monotonic()
            request.timeout = min(request.timeout, left)

    @property
    def leading(self) -> bool:
        """Whether `fence` would let a request pass now."""
        return self._clock.monotonic() < self._valid_until

    @property
    def term(self) -> int:
        """How often the lease changed hands, as last seen.

        Grows with each new leader, and begins again at 0 when somebody deletes the lease.
        """
        return self._observed.transitions if self._observed else 0

    @property
    def leader(self) -> str:
        """Who holds the lease as last seen; empty where nobody does."""
        return self._observed.holder if self._observed else ""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, do `work` while it is held, give it back afterwards.

        Cancelled, it cancels the work, goes on renewing until the work has ended, and then releases
        the lease: the next leader starts within its retry period.

        Raises:
            LeadershipLostError: the lease was lost; the work was cancelled. Where it did not end
                by the time that another may lead, the fence stays closed for ever; end the process.
            RuntimeError: it is running already.
        """
        if self._running:
            raise RuntimeError("this election is running already")
        if self._deposed:
            raise LeadershipLostError("work of an earlier term has not ended in this process")
        self._running = True
        try:
            await self._acquire()
            await self._lead(work)
        finally:
            self._running = False

    async def _acquire(self) -> None:
        while not await self._attempt(self._renew_deadline):
            now = self._clock.monotonic()
            wake = now + self._retry_period * self._random.uniform(_EARLIEST, 1.0)
            if now < (expiry := self._expiry()):
                wake = min(wake, expiry)
            await self._clock.sleep_until(wake)

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        _LOG.info("%s leads (%s, term %d)", self.identity, self._lock.name, self.term)
        self.elected.set()
        self._status.set(1)
        working = asyncio.ensure_future(work())
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            raise
        finally:
            await self._step_down(working, renewing)
        if renewing.cancelled():
            await working
            return
        cause = renewing.exception()
        if cause is None and working.done() and not working.cancelled():
            cause = working.exception()
        raise LeadershipLostError(f"{self.identity} lost the lease {self._lock.name}") from cause

    async def _step_down(
        self, working: "asyncio.Future[None]", renewing: "asyncio.Task[None]"
    ) -> None:
        lost = renewing.done()
        renewing.cancel()
        await asyncio.wait({renewing})
        if not working.done():
            working.cancel()
            await self._wait_for_end(working)
        if working.done() and not working.cancelled() and (error := working.exception()):
            # Whoever cancelled us would not see it.
            _LOG.warning("%s: the work ended with %r", self.identity, error)
        # Closed before the lease is given back: nothing of this term may be sent afterwards.
        self._valid_until = float("-inf")
        self.elected.clear()
        self._status.set(0)
        if lost:
            _LOG.error("%s lost the lease %s", self.identity, self._lock.name)
        else:
            await self._release()

    async def _wait_for_end(self, working: "asyncio.Future[None]") -> None:
        try:
            async with time_limit(self._clock, self._lease_duration - self._renew_deadline):
                await asyncio.wait({working})
        except TimeoutError:
            self._deposed = True
            _LOG.critical("%s: the work of a lost term does not end", self.identity)

    async def _renew(self) -> None:
        """Renew until the lease is lost."""
        while True:
            next_try = self._clock.monotonic() + self._retry_period
            await sleep_on(self._clock, min(next_try, self._valid_until))
            left = self._valid_until - self._clock.monotonic()
            if left <= 0:
                return
            if not await self._attempt(min(left, self._renew_deadline / 2)) and (
                self.leader not in ("", self.identity)
            ):
                self._valid_until = float("-inf")
                return

    async def _attempt(self, limit: float) -> bool:
        """Try once to get or renew the lease, within `limit` seconds."""
        try:
            return await within(self._clock, limit, self._get_or_renew())
        except TimeoutError:
            # It may have been written all the same: the next attempt reads before it writes.
            _LOG.warning("%s: %s: no answer in %g s", self.identity, self._lock.name, limit)
        except Exception as error:  # noqa: BLE001  (any failure is a failed attempt)
            _LOG.warning("%s: %s: %s", self.identity, self._lock.name, error)
        return False

    async def _get_or_renew(self) -> bool:
        if self.leading and self._observed is not None and self._observed.holder == self.identity:
            try:
                await self._write(self._observed)
            except (ConflictError, NotFoundError):
                pass  # Somebody else wrote, or an attempt that timed out was accepted: read it.
            else:
                return True
        found = await self._lock.get()
        if found is not None:
            self._observe(found)
            if found.holder not in ("", self.identity) and (
                self._clock.monotonic() < self._expiry()
            ):
                return False
        await self._write(found)
        return True

    async def _write(self, old: Tenure | None) -> None:
        """Make or update the lease as ours; the fence opens only when it is accepted."""
        now = utc_now(self._clock)
        ours = old is not None and old.holder == self.identity
        new = Tenure(
            holder=self.identity,
            duration=self._lease_duration,
            acquired=old.acquired if old is not None and ours else now,
            renewed=now,
            transitions=0 if old is None else old.transitions + (not ours),
            version="" if old is None else old.version,
        )
        sent = self._clock.monotonic()
        self._observe(await (self._lock.create(new) if old is None else self._lock.update(new)))
        self._valid_until = sent + self._renew_deadline

    def _observe(self, tenure: Tenure) -> None:
        if self._observed is None or not tenure.same_renewal(self._observed):
            self._observed_at = self._clock.monotonic()
        self._observed = tenure

    def _expiry(self) -> float:
        """When the observed lease is over, on our clock."""
        if self._observed is None or not self._observed.holder:
            return float("-inf")
        return self._observed_at + (self._observed.duration or self._lease_duration)

    async def _release(self) -> None:
        """Give the lease back, as client-go does: no holder, one second."""
        try:
            async with time_limit(self._clock, self._renew_deadline / 2):
                tenure = await self._lock.get()
                if tenure is None or tenure.holder != self.identity:
                    return
                now = utc_now(self._clock)
                free = Tenure("", 1, now, now, tenure.transitions, tenure.version)
                self._observe(await self._lock.update(free))
                _LOG.info("%s released the lease %s", self.identity, self._lock.name)
        except Exception as error:  # noqa: BLE001  (it then expires by itself)
            _LOG.warning("%s: %s not released: %s", self.identity, self._lock.name, error)
