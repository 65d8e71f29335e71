"""Suspending the whole operator: a config map says so, and the audit trail tells of it.

While suspended no new run starts; what runs is followed to its end. The config map is
`workflowexecution-operator` in the operator's namespace, with `suspend`, `reason`, `since` (RFC
3339) and `by`; anything in `suspend` but `false` or nothing suspends.

Invariants:

- Each change of `suspend` that the leader sees is one audit event, `workflowexecution.suspended` or
  `.resumed`, with an id and a content that follow from the config map. An annotation says what
  was told last, so that a restart tells nothing again.
- `since` is when the present state began: where it is missing, unreadable or still the one of the
  state before, the operator writes the present time.
- A config map that is deleted resumes, and that is told too by an operator that sees it.
"""

import getpass
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import structlog

from kubernaut.kubernetes import (
    CONFIG_MAPS,
    ApiError,
    Client,
    Clock,
    ConfigMap,
    Reflector,
    Result,
    Store,
    apply,
)
from kubernaut.workflowexecution._permissions import SUSPENSION_NAME, own_username
from kubernaut.workflowexecution._trail import Trail

log = structlog.get_logger(__name__)

CORRELATION_ID: Final = "workflowexecution-operator"
RECORDED_ANNOTATION: Final = "kubernaut.ai/suspension-recorded"

_CLI: Final = "kubernaut-cli"
_AHEAD: Final = timedelta(minutes=5)
"""How far `since` may be in the future, by clocks that differ."""
_LONGEST_TEXT: Final = 4096
_NOT_LEADING_SECONDS: Final = 2.0


class State(NamedTuple):
    """What a config map says; `since` is the text as it stands there."""

    suspended: bool
    since: str

    @classmethod
    def of(cls, config_map: ConfigMap | None) -> "State":
        """The state that a config map asks for; without one the operator works."""
        if config_map is None:
            return cls(suspended=False, since="")
        wanted = config_map.data.get("suspend", "").strip().lower()
        return cls(wanted not in ("", "false"), config_map.data.get("since", "").strip())

    @classmethod
    def recorded(cls, config_map: ConfigMap) -> "State | None":
        """The state that was told last."""
        word, _, since = config_map.metadata.annotations.get(RECORDED_ANNOTATION, "").partition(" ")
        return cls(word == "suspended", since) if word else None

    @property
    def word(self) -> str:
        """The last part of the event's type."""
        return "suspended" if self.suspended else "resumed"

    @property
    def moment(self) -> datetime | None:
        """`since` as a time; None where it is none."""
        try:
            moment = datetime.fromisoformat(self.since)
        except ValueError:
            return None
        return moment if moment.tzinfo else None


class Suspension:
    """Whether the operator is suspended, and the trail of that.

    Args:
        client: reads, and writes `since` and the annotation.
        namespace: of the operator.
        trail: where changes are told.
        is_leading: whether this process may write.
        clock: for the times that are missing.

    Attributes:
        config_maps: watches the one config map; running it is the operator's business.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        trail: Trail,
        *,
        is_leading: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.config_maps = Reflector(
            client,
            CONFIG_MAPS,
            Store[ConfigMap](),
            namespace=namespace,
            field_selector=f"metadata.name={SUSPENSION_NAME}",
        )
        self._client = client
        self._key = f"{namespace}/{SUSPENSION_NAME}"
        self._trail = trail
        self._is_leading = is_leading
        self._clock = clock
        self._suspending: ConfigMap | None = None
        """The config map that suspends, as it was told last."""

    def is_suspended(self) -> bool:
        """Whether no new run may start."""
        return State.of(self.config_maps.store.get(self._key)).suspended

    async def reconcile(self, key: str) -> Result | None:
        """Tell of a change that was not told yet.

        Raises:
            JournalError, KubernetesError: not now; it is tried again.
        """
        if not self._is_leading():
            return Result(requeue_after=_NOT_LEADING_SECONDS)
        found = self.config_maps.store.get(key)
        before = self._suspending
        if before is not None and (found is None or found.metadata.uid != before.metadata.uid):
            await self._deleted(before)
        if found is not None:
            await self._found(found)
        return None

    async def _found(self, config_map: ConfigMap) -> None:
        state, recorded = State.of(config_map), State.recorded(config_map)
        if recorded == state or (not state.suspended and not (recorded and recorded.suspended)):
            self._suspending = config_map if state.suspended else None
            return
        moment = state.moment
        stale = recorded is not None and recorded.since == state.since
        if moment is None or stale or moment > self._now() + _AHEAD:
            await self._patch(config_map, {"data": {"since": rfc3339(self._now())}})
            return  # The watch brings it back.
        await self._tell(config_map, state, moment)
        await self._patch(
            config_map,
            {"metadata": {"annotations": {RECORDED_ANNOTATION: f"{state.word} {state.since}"}}},
        )
        self._suspending = config_map if state.suspended else None

    async def _deleted(self, config_map: ConfigMap) -> None:
        state = State(suspended=False, since=State.of(config_map).since)
        await self._tell(config_map, state, self._now(), why="the config map was deleted")
        self._suspending = None

    async def _tell(
        self, config_map: ConfigMap, state: State, moment: datetime, why: str | None = None
    ) -> None:
        data = config_map.data
        reason = data.get("reason", "")[:_LONGEST_TEXT] if why is None else why
        by = data.get("by", "")[:_LONGEST_TEXT] if why is None else ""
        await self._trail.tell(
            state.word,
            correlation_id=CORRELATION_ID,
            moment=moment,
            parts=(config_map.metadata.uid, state.since),
            data={
                "suspended": state.suspended,
                "reason": reason,
                "by": by,
                "since": rfc3339(moment),
                "config_map": config_map.metadata.key,
            },
        )
        if state.suspended:
            log.warning("suspended: no new run starts", reason=reason, by=by)
        else:
            log.info("resumed", reason=reason, by=by)

    async def _patch(self, config_map: ConfigMap, body: dict[str, object]) -> None:
        metadata = config_map.metadata
        await self._client.patch(
            CONFIG_MAPS,
            metadata.name,
            body,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


async def set_suspension(client: Client, namespace: str, *, suspend: bool, reason: str) -> None:
    """Suspend or resume the operator of a namespace, for a person.

    Who that is goes into the trail as the API server says it.

    Raises:
        KubernetesError: it cannot be written; nothing has changed.
    """
    try:
        by = await own_username(client)
    except ApiError:
        by = f"{getpass.getuser()}@{socket.gethostname()}"
    data = {
        "suspend": str(suspend).lower(),
        "reason": reason,
        "since": rfc3339(datetime.now(UTC)),
        "by": by,
    }
    await apply(
        client,
        CONFIG_MAPS,
        SUSPENSION_NAME,
        {"data": data},
        namespace=namespace,
        field_manager=_CLI,
        force=True,
    )


def rfc3339(moment: datetime) -> str:
    """A time in UTC, to the microsecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
