"""The operator's configuration: a YAML file, then environment variables, then arguments.

A wrong configuration is refused as a whole, and the error names every wrong setting.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.alias_generators import to_camel
from pydantic_settings import SettingsConfigDict

from kubernaut.configuration import FileSettings, SettingsError
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

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "SettingsError", "load_settings"]

ENVIRONMENT_PREFIX: Final = "KUBERNAUT_OPERATOR_"


class Settings(FileSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX)

    execution: ExecutionSettings = ExecutionSettings()
    tekton: TektonSettings = TektonSettings()
    job: JobSettings = JobSettings()
    datastorage: DataStorageSettings = DataStorageSettings()
    controller: ControllerSettings = ControllerSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def described(cls, fault: Mapping[str, Any]) -> str:
        """A wrong setting by its name in the file, and what is wrong with it."""
        name = ".".join(map(_shown, fault["loc"]))
        return f"{name}: {fault['msg'].removeprefix('Value error, ')}"

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
    return Settings.load(path, overrides)


def _shown(part: str | int) -> str:
    """A part of a setting's name as it is written in the file."""
    return to_camel(part) if isinstance(part, str) else str(part)
