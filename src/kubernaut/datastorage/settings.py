"""The service's configuration: a YAML file, then environment variables, then arguments.

Every setting is documented in `docs/reference/configuration.md`, which a test compares with this.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel, to_snake
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

ENVIRONMENT_PREFIX = "KUBERNAUT_DATASTORAGE_"

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class SettingsError(Exception):
    """The configuration is wrong; the text names each setting and what it should be."""


class _Section(BaseModel):
    # Written in camelCase in YAML, as the service's predecessor did; snake_case is read too.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=AliasGenerator(alias=to_camel),
        validate_by_name=True,
        validate_by_alias=True,
    )


class ServerSettings(_Section):
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


class LimitSettings(_Section):
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


class DatabaseSettings(_Section):
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


class LoggingSettings(_Section):
    """Logs, as JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is written"
    )
    access: Literal["all", "errors", "none"] = Field(
        "errors", description="Which requests get a line: all, those answered 4xx or 5xx, none"
    )


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        alias_generator=AliasGenerator(alias=to_camel),
        validate_by_name=True,
        validate_by_alias=True,
    )

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    database: DatabaseSettings = DatabaseSettings()
    logging: LoggingSettings = LoggingSettings()
    strict_contract: bool = Field(
        False, description="Accept and refuse exactly what the full contract of mid-2026 does"
    )

    _file: ClassVar[dict[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls._file)

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
    content = _read_file(path) if path else {}
    source = type("Settings", (Settings,), {"_file": content, "__doc__": Settings.__doc__})
    try:
        loaded: Settings = source(**overrides)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        origin = f" (file {path})" if path else ""
        raise SettingsError(f"the configuration{origin} is wrong: " + "; ".join(lines)) from None
    except SourceError as error:
        raise SettingsError(f"the configuration is wrong: {error}") from None
    return loaded


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"cannot read the configuration file {path}: {reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise SettingsError(f"the configuration file {path} is not YAML{where}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"the configuration file {path} must hold a mapping")
    return _snake_case(content)


def _snake_case(section: dict[Any, Any]) -> dict[str, Any]:
    """Names as the fields have them, so that a file and the environment can meet in one."""
    return {
        to_snake(str(name)): _snake_case(value) if isinstance(value, dict) else value
        for name, value in section.items()
    }
