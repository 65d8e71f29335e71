"""Makes audit events: valid, no two alike, about 800 bytes of JSON each.

Replaying one template reads too fast and hides the tail, so kinds, lengths and values vary: the
five workflowexecution payloads, gateway and orchestrator payloads, and free-form ones.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from kubernaut.audit import uuid7

NOMINAL_BYTES: Final = 800
"""What an event's JSON should measure; the figures state what it did measure."""

_SERVICES: Final = (
    *("checkout", "payments", "inventory", "search", "ledger", "mailer", "catalog", "sessions"),
    *("gateway", "reports", "billing", "profiles", "uploads", "scheduler", "fraud", "pricing"),
)
_WORKFLOWS: Final = (
    *("restart-pod", "scale-deployment", "rollback-release", "increase-memory-limit"),
    *("drain-node", "rotate-certificate", "clear-disk", "reset-connection-pool"),
)
_PROSE: Final = (
    "container exceeded its memory limit while replaying the backlog of orders and was ended by "
    "the kernel before its readiness probe could answer once more so that the replica set made "
    "another one on a node with less pressure where image pull took longer than expected because "
    "registry mirror refused connections during certificate rotation until operator intervened"
)
_WORDS: Final = tuple(_PROSE.split())
_PHASES: Final = {
    "workflow.started": "Running",
    "workflow.completed": "Completed",
    "workflow.failed": "Failed",
    "selection.completed": "Pending",
    "execution.started": "Pending",
}
_FAILURES: Final = ("OOMKilled", "DeadlineExceeded", "ImagePullBackOff", "TaskFailed", "Unknown")
_GATEWAY: Final = ("signal.received", "signal.deduplicated", "crd.created")
_ORCHESTRATOR: Final = (
    *("lifecycle.started", "lifecycle.transitioned", "lifecycle.completed", "lifecycle.failed"),
    *("approval.requested", "approval.approved", "routing.blocked"),
)
_REMEDIATION_PHASES: Final = ("Pending", "Processing", "Analyzing", "Executing", "Verifying")

Ids = Iterator[str]
"""One correlation id per event, without end."""

_encode = msgspec.json.Encoder().encode


def correlation_id(rng: random.Random) -> str:
    """An id as random as a UUID, and as long."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def new_id_every(count: int) -> Ids:
    """A new id after so many events."""
    rng = random.Random()
    while True:
        one = correlation_id(rng)
        for _ in range(count):
            yield one


def at_random_over(count: int) -> Ids:
    """Each event on any of so many ids."""
    rng = random.Random()
    ids = [correlation_id(rng) for _ in range(count)]
    while True:
        yield rng.choice(ids)


def _text(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(least, most)))


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(digits * 4):0{digits}x}"


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _second(moment: datetime) -> str:
    return _time(moment.replace(microsecond=0))


def _execution(rng: random.Random, token: str, moment: datetime) -> tuple[str, dict[str, Any]]:
    kind = rng.choice(tuple(_PHASES))
    workflow = rng.choice(_WORKFLOWS)
    payload: dict[str, Any] = {
        "event_type": f"workflowexecution.{kind}",
        "workflow_id": f"{workflow}-{_hex(rng, 4)}",
        "workflow_version": f"v{rng.randint(1, 9)}.{rng.randint(0, 40)}.{rng.randint(0, 20)}",
        "target_resource": f"Deployment/{rng.choice(_SERVICES)}-api",
        "phase": _PHASES[kind],
        "container_image": f"registry.example/{workflow}:{_hex(rng, 8)}",
        "execution_name": f"wfe-{token}",
    }
    if kind in ("workflow.completed", "workflow.failed"):
        seconds = rng.randint(5, 900)
        payload["started_at"] = _second(moment - timedelta(seconds=seconds))
        payload["completed_at"] = _second(moment)
        payload["duration"] = f"{seconds}s"
    else:
        payload["parameters"] = {
            "REPLICAS": str(rng.randint(1, 40)),
            "REASON": _text(rng, 1, 3),
        }
    if kind == "workflow.failed":
        payload["failure_reason"] = rng.choice(_FAILURES)
        payload["failure_message"] = _text(rng, 2, 9)
    return "workflowexecution", payload


def _gateway(rng: random.Random, token: str, _: datetime) -> tuple[str, dict[str, Any]]:
    service = rng.choice(_SERVICES)
    return "gateway", {
        "event_type": f"gateway.{rng.choice(_GATEWAY)}",
        "signal_type": "alert",
        "signal_name": rng.choice(("KubePodCrashLooping", "NodeMemoryPressure", "HighLatency")),
        "namespace": service,
        "fingerprint": _hex(rng, 32),
        "severity": rng.choice(("critical", "high", "warning")),
        "resource_kind": "Pod",
        "resource_name": f"{service}-{_hex(rng, 10)}-{_hex(rng, 5)}",
        "signal_labels": {"team": rng.choice(_SERVICES), "node": f"node-{rng.randint(1, 400)}"},
        "remediation_request": f"rr-{token}",
        "occurrence_count": rng.randint(1, 5000),
    }


def _orchestrator(rng: random.Random, token: str, _: datetime) -> tuple[str, dict[str, Any]]:
    return "orchestration", {
        "event_type": f"orchestrator.{rng.choice(_ORCHESTRATOR)}",
        "rr_name": f"rr-{token}",
        "namespace": rng.choice(_SERVICES),
        "duration_ms": rng.randint(1, 900_000),
        "from_phase": rng.choice(_REMEDIATION_PHASES),
        "to_phase": rng.choice(_REMEDIATION_PHASES),
        "transition_reason": _text(rng, 2, 6),
        "message": _text(rng, 2, 11),
        "workflow_id": f"{rng.choice(_WORKFLOWS)}-{rng.choice(_SERVICES)}",
    }


def _free_form(rng: random.Random, token: str, moment: datetime) -> tuple[str, dict[str, Any]]:
    return "workflow", {
        "run": token,
        "step": rng.randint(1, 60),
        "observed": {
            "cpu": round(rng.random() * 8, 3),
            "memory_bytes": rng.getrandbits(34),
            "restarts": rng.randint(0, 30),
            "since": _second(moment - timedelta(seconds=rng.randint(1, 86400))),
        },
        "tags": rng.sample(_SERVICES, rng.randint(1, 5)),
        "note": _text(rng, 3, 24),
    }


_Maker = Callable[[random.Random, str, datetime], tuple[str, dict[str, Any]]]
_KINDS: Final[tuple[_Maker, ...]] = (_execution, _gateway, _orchestrator, _free_form)
_SHARES: Final = (45, 15, 20, 20)


def event(rng: random.Random, correlation: str, moment: datetime, token: str) -> dict[str, Any]:
    """One event.

    Args:
        rng: where its values come from.
        correlation: its correlation id.
        moment: its timestamp.
        token: a text that its payload holds once.
    """
    category, payload = rng.choices(_KINDS, _SHARES)[0](rng, token, moment)
    event_type = payload.get("event_type", f"{category}.step.observed")
    made: dict[str, Any] = {"version": "1.0"} if rng.random() < 0.5 else {}
    made |= {
        "event_id": str(uuid7()),
        "event_timestamp": _time(moment),
        "event_type": event_type,
        "event_category": category,
        "event_action": event_type.partition(".")[2],
        "event_outcome": rng.choice(("success", "success", "failure", "pending")),
        "correlation_id": correlation,
        "actor_type": "service",
        "actor_id": category,
        "resource_type": rng.choice(("WorkflowExecution", "RemediationRequest", "Pod")),
        "resource_id": f"{rng.choice(_WORKFLOWS)}-{_hex(rng, 8)}",
    }
    if rng.random() < 0.5:
        made["namespace"] = rng.choice(_SERVICES)
    if rng.random() < 0.5:
        made["severity"] = rng.choice(("info", "warning", "critical"))
    if rng.random() < 0.5:
        made["duration_ms"] = rng.randint(1, 900_000)
    made["event_data"] = payload
    return made


def events(count: int, ids: Ids) -> Iterator[bytes]:
    """Events as compact JSON, a microsecond apart, the last a moment ago."""
    rng = random.Random()
    start = datetime.now(UTC) - timedelta(seconds=5, microseconds=count)
    for number in range(count):
        moment = start + timedelta(microseconds=number)
        yield _encode(event(rng, next(ids), moment, _hex(rng, 12)))


def write_events(path: Path, count: int, ids: Ids) -> float:
    """Write events to a file, one a line; their mean size in bytes."""
    size = 0
    with path.open("wb") as file:
        for text in events(count, ids):
            size += len(text)
            file.write(text + b"\n")
    return size / count


def read_events(path: Path) -> list[bytes]:
    """The events of a file that `write_events` wrote."""
    return path.read_bytes().splitlines()
