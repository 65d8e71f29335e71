"""The operator's configuration: a YAML file, then environment variables, then arguments.

A wrong configuration is refused as a whole, and the error names every wrong setting.
"""

from pathlib import Path
from typing import Any, ClassVar, Final

import yaml
from pydantic import AliasGenerator, ValidationError
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

from kubernaut.workflowexecution._policy import Policy
from kubernaut.workflowexecution._run import RunDefaults
from kubernaut.workflowexecution._sections import (
    ControllerSettings,
    DataStorageSettings,
    ExecutionSettings,
    JobSettings,
    KubernetesSettings,
    LoggingSettings,
    TektonSettings,
)

ENVIRONMENT_PREFIX: Final = "KUBERNAUT_OPERATOR_"


class SettingsError(Exception):
    """The configuration is wrong; the text names each setting and what it should be."""


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

    execution: ExecutionSettings = ExecutionSettings()
    tekton: TektonSettings = TektonSettings()
    job: JobSettings = JobSettings()
    datastorage: DataStorageSettings = DataStorageSettings()
    controller: ControllerSettings = ControllerSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    logging: LoggingSettings = LoggingSettings()

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

    def policy(self) -> Policy:
        """The times and defaults that decisions need."""
        execution = self.execution
        return Policy(
            runs=RunDefaults(
                namespace=execution.namespace,
                service_account=execution.service_account,
                propagated_annotations=execution.propagated_annotations,
            ),
            cooldown=execution.cooldown_period,
            deadline_grace=execution.deadline_grace,
            stalled_after=execution.stalled_after,
            trail_timeout=execution.trail_timeout,
            settle=execution.audit_settle,
        )

    def to_yaml(self) -> str:
        """The configuration as a YAML file that `load_settings` reads; times in seconds."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)


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
            f"{'.'.join(map(_shown, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)
        ]
        origin = f" (file {path})" if path else ""
        raise SettingsError(f"the configuration{origin} is wrong: " + "; ".join(lines)) from None
    except SourceError as error:
        raise SettingsError(f"the configuration is wrong: {error}") from None
    return loaded


def _shown(part: str | int) -> str:
    """A part of a setting's name as it is written in the file."""
    return to_camel(part) if isinstance(part, str) else str(part)


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
