"""The service's configuration: a YAML file, then environment variables, then arguments.

Every setting is documented in `docs/reference/configuration.md`, which a test compares with this.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from kubernaut.configuration import FileSettings, Section, SettingsError

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "SettingsError", "load_settings"]

ENVIRONMENT_PREFIX = "KUBERNAUT_DATASTORAGE_"

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class ServerSettings(Section):
    """Where and how the service listens."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all")
    port: Port = Field(18100, description="Port of the API")
    metrics_port: Port | None = Field(
        None, description="Port of /metrics; where unset, /metrics is on the API's port"
    )
    shutdown_timeout: Seconds = Field(
        60, description="Seconds that SIGTERM gives what is being worked on"
    )
    keep_alive_timeout: Seconds = Field(
        120,
        description="Seconds within which a request's head must have come, and an idle connection"
        " is kept open",
    )
    body_timeout: Seconds = Field(
        30, description="Seconds within which a request's body must have come, else 408"
    )
    request_timeout: Seconds = Field(
        30, description="Seconds a request may wait for its commit or its result, else 503"
    )


class LimitSettings(Section):
    """What a request, an event and all requests together may be at most."""

    max_batch_events: int = Field(10_000, ge=1, le=100_000, description="Events in one batch")
    max_body_bytes: int = Field(
        16 * 2**20, ge=1024, le=2**30, description="Bytes of a body, also after decompression"
    )
    max_payload_bytes: int = Field(
        256 * 1024, ge=2, le=2**27, description="Bytes of one event_data"
    )
    max_payload_depth: int = Field(
        10, ge=1, le=500, description="Levels of objects and arrays in one event_data"
    )
    max_event_age_days: int = Field(
        2555, ge=1, le=18_000, description="How old an event may be when it arrives"
    )
    max_inflight_bytes: int = Field(
        4 * 2**20,
        ge=1024,
        le=2**34,
        description="Bytes of bodies held at one time; beyond, 503. One body of any allowed size"
        " is always taken when nothing else is held",
    )
    max_concurrent_requests: int = Field(
        1000, ge=1, le=100_000, description="Requests worked on at one time; beyond, 503"
    )
    max_queued_requests: int = Field(
        512, ge=1, le=100_000, description="Requests waiting for a writer; beyond, 503"
    )


class DatabaseSettings(Section):
    """PostgreSQL."""

    url: SecretStr = Field(
        SecretStr("postgresql://postgres@127.0.0.1:5432/kubernaut_datastorage"),
        description="postgresql:// address that the service uses",
    )
    migration_url: SecretStr | None = Field(
        None, description="Address of the schema's owner, for `migrate`; default: url"
    )
    role: str = Field(
        "kubernaut_datastorage",
        description="Role taken on after connecting, so that a more powerful login is not used;"
        " empty: stay what the login is",
    )
    writers: int = Field(2, ge=1, le=64, description="Connections that write")
    readers: int = Field(8, ge=1, le=256, description="Connections that read, at most")
    connect_timeout: Seconds = Field(5, description="Seconds to wait for a connection")
    statement_timeout: Seconds = Field(30, description="Seconds one SQL statement may take")
    lock_timeout: Seconds = Field(10, description="Seconds to wait for a lock")


class LoggingSettings(Section):
    """Logs, as JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is written"
    )
    access: Literal["all", "errors", "none"] = Field(
        "errors", description="Which requests get a line: all, those answered 4xx or 5xx, none"
    )


class Settings(FileSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX)

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    database: DatabaseSettings = DatabaseSettings()
    logging: LoggingSettings = LoggingSettings()
    strict_contract: bool = Field(
        False, description="Accept and refuse exactly what the full contract of mid-2026 does"
    )

    def to_yaml(self, *, show_secrets: bool = False) -> str:
        """The configuration as a YAML file that `load_settings` reads."""

        def plain(value: Any) -> Any:
            if isinstance(value, SecretStr):
                return value.get_secret_value() if show_secrets else "**********"
            if isinstance(value, dict):
                return {name: plain(inner) for name, inner in value.items()}
            return value

        return yaml.safe_dump(plain(self.model_dump(by_alias=True)), sort_keys=False)


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Read the configuration.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: sections, as nested dictionaries; they win over environment and file.

    Raises:
        SettingsError: the file cannot be read, or a setting is unknown or out of range.
    """
    return Settings.load(path, overrides)
