"""The sections of the operator's configuration: every setting, its default and its range.

`docs/reference/operator-configuration.md` documents each; a test compares the two.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from kubernaut.audit import Endpoint
from kubernaut.configuration import Section

DEFAULT_COOLDOWN: Final = 300.0

_SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAMESPACE: Final = "kubernaut-system"
_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_RETRIES_IN_A_DEADLINE: Final = 1.2
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_HIGHEST_PORT: Final = 65535


def seconds_of(value: Any) -> Any:
    """A duration as Go writes it (`5m`, `10s`, `1h30m`) in seconds; a number is in seconds.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{value!r} is no duration: write 5m, 10s, 1h30m or a number of seconds")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def listen_address(text: str) -> tuple[str, int] | None:
    """Host and port of an address to listen on; None where `0` says that nothing listens.

    An empty host, as in `:9090`, is all addresses. Port 0 is any free one.

    Raises:
        ValueError: it is no such address.
    """
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > _HIGHEST_PORT:
        raise ValueError(f"{text!r} is no address: write :9090, 127.0.0.1:9090, or 0 for none")
    return host, int(port)


def _address(text: str) -> str:
    listen_address(text)
    return text


def _url(text: str) -> str:
    Endpoint(text)
    return text


Seconds = Annotated[float, BeforeValidator(seconds_of)]
Address = Annotated[str, BeforeValidator(str), AfterValidator(_address)]


class ExecutionSettings(Section):
    """How runs are made, and the times that hold for all of them."""

    namespace: str = Field(
        "kubernaut-workflows", pattern=_NAME, description="Where workflows are run"
    )
    service_account: str = Field(
        "kubernaut-workflow-runner",
        description="Who a workflow is in the cluster where its spec does not say; empty: the"
        " namespace's default account",
    )
    cooldown_period: Annotated[
        Seconds, AfterValidator(lambda seconds: seconds or DEFAULT_COOLDOWN)
    ] = Field(
        DEFAULT_COOLDOWN,
        ge=0,
        le=86_400,
        description="How long a target stays locked after a run; 0 is the default",
    )
    propagated_annotations: tuple[str, ...] = Field(
        (),
        description="Prefixes of annotations of a WorkflowExecution that what runs it gets too",
    )
    stalled_after: Seconds = Field(
        900, gt=0, le=604_800, description="How long a run may show no progress unremarked"
    )
    deadline_grace: Seconds = Field(
        10, ge=0, le=3600, description="How long after timesOutAt an engine may still end a run"
    )
    trail_timeout: Seconds = Field(
        3600,
        gt=0,
        le=2_592_000,
        description="How long a deletion waits for the audit trail to be stored",
    )
    audit_settle: Seconds = Field(
        5,
        ge=0,
        le=3600,
        description="How long after the start of a run AuditRecorded waits to ride on another"
        " write",
    )


class TektonSettings(Section):
    """Workflows as PipelineRuns of Tekton."""

    enabled: bool = Field(True, description="Run them, where Tekton is installed")


class JobSettings(Section):
    """Workflows as Jobs of Kubernetes."""

    enabled: bool = Field(True, description="Run them")


class DataStorageSettings(Section):
    """Where the audit trail goes, and where it waits until it is there."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        "http://data-storage-service:8080", description="Address of DataStorage"
    )
    timeout: Seconds = Field(10, gt=0, le=300, description="For one request")
    token_file: Path | None = Field(
        None, description="File with a bearer token; read again when it changes"
    )
    ca_file: Path | None = Field(
        None, description="File with the certificates to trust (PEM), and no others"
    )
    journal_directory: Path | None = Field(
        None, description="A directory on a disk that outlives the process"
    )
    journal_max_bytes: int = Field(
        2**30, ge=2**20, le=2**40, description="How much may wait in the journal"
    )

    def endpoint(self) -> Endpoint:
        """What the audit client connects to."""
        return Endpoint(
            self.url,
            token_file=self.token_file,
            ca_file=self.ca_file,
            timeout_seconds=self.timeout,
        )

    def journal(self) -> Path:
        """Where the journal is: the setting, else what is usual for the user of the process."""
        if self.journal_directory is not None:
            return self.journal_directory
        if os.geteuid() == 0:
            return Path("/var/lib/kubernaut/operator")
        state = Path(os.environ.get("XDG_STATE_HOME", ""))
        if not state.is_absolute():  # A relative one does not count, says the specification.
            state = Path("~/.local/state").expanduser()
        return state / "kubernaut" / "operator"


class ControllerSettings(Section):
    """The process: what it watches, how hard it works, where it listens, who leads."""

    namespace: str | None = Field(
        None, pattern=_NAME, description="The operator's own namespace, for its lease"
    )
    watch_namespace: str | None = Field(
        None, pattern=_NAME, description="The namespace of WorkflowExecutions; none: all"
    )
    workers: int = Field(16, ge=1, le=256, description="Objects worked on at one time")
    qps: float = Field(500, ge=0, le=100_000, description="Requests a second; 0: no limit")
    burst: int = Field(1000, ge=1, le=100_000, description="Requests that may go at once")
    metrics_addr: Address = Field(":9090", description="Address of /metrics; 0: none")
    health_probe_addr: Address = Field(
        ":8081", description="Address of /healthz and /readyz; 0: none"
    )
    leader_election: bool = Field(True, description="Work only while holding the lease")
    leader_election_id: str = Field(
        "workflowexecution.kubernaut.ai", min_length=1, max_length=253, description="The lease"
    )
    lease_duration: Seconds = Field(
        15, ge=1, le=3600, description="How long others wait for a leader that is silent"
    )
    renew_deadline: Seconds = Field(
        10, gt=0, le=3600, description="How long a leader works on without renewing"
    )
    retry_period: Seconds = Field(2, gt=0, le=3600, description="Between two attempts")
    shutdown_timeout: Seconds = Field(
        30, ge=1, le=3600, description="What SIGTERM gives to what has begun"
    )

    @model_validator(mode="after")
    def _lease_times_fit(self) -> Self:
        if self.lease_duration != int(self.lease_duration):
            raise ValueError("leaseDuration must be whole seconds")
        least = _RETRIES_IN_A_DEADLINE * self.retry_period
        if not self.lease_duration > self.renew_deadline > least:
            raise ValueError(
                "leaseDuration must be longer than renewDeadline, and that longer than 1.2 times"
                " retryPeriod"
            )
        return self

    def own_namespace(self) -> str:
        """The setting, else that of the pod's service account, else `kubernaut-system`."""
        if self.namespace is not None:
            return self.namespace
        try:
            return _SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip() or _NAMESPACE
        except OSError:
            return _NAMESPACE


class KubernetesSettings(Section):
    """The API server; without settings, what kubectl would take."""

    kubeconfig: Path | None = Field(
        None, description="A kubeconfig; none: the pod's account, $KUBECONFIG, ~/.kube/config"
    )
    context: str | None = Field(None, description="The context; none: the current one")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class LoggingSettings(Section):
    """Logs, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="Least level that is written"
    )
    format: Annotated[Literal["json", "text"], BeforeValidator(_lower)] = Field(
        "json", description="A JSON object a line, or text for people"
    )
