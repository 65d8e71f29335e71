"""The configuration of a program: a YAML file, then environment variables, then arguments.

A wrong configuration is refused as a whole, and the error names every wrong setting. Needs
pydantic-settings and PyYAML, which the extras of the programs bring.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import AliasGenerator, BaseModel, ConfigDict, ValidationError
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


class SettingsError(Exception):
    """The configuration is wrong; the text names each setting and what it should be."""


class Section(BaseModel):
    """A section: camelCase in YAML, as the predecessors of the programs have it, or snake_case."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=AliasGenerator(alias=to_camel),
        validate_by_name=True,
        validate_by_alias=True,
    )


class FileSettings(BaseSettings):
    """A whole configuration; subclasses have the sections, and the prefix of the environment."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        alias_generator=AliasGenerator(alias=to_camel),
        validate_by_name=True,
        validate_by_alias=True,
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

    @classmethod
    def load(cls, path: Path | None, overrides: Mapping[str, Any]) -> Self:
        """Read the configuration.

        Args:
            path: a YAML file, or None for the defaults.
            overrides: sections, as nested dictionaries; they win over environment and file.

        Raises:
            SettingsError: the file cannot be read, or a setting is unknown or out of range.
        """
        content = _read_file(path) if path else {}
        source = type("Settings", (cls,), {"_file": content, "__doc__": cls.__doc__})
        try:
            loaded: Self = source(**overrides)
        except ValidationError as error:
            lines = [cls.described(dict(fault)) for fault in error.errors(include_url=False)]
            origin = f" (file {path})" if path else ""
            raise SettingsError(
                f"the configuration{origin} is wrong: " + "; ".join(lines)
            ) from None
        except SourceError as error:
            raise SettingsError(f"the configuration is wrong: {error}") from None
        return loaded

    @classmethod
    def described(cls, fault: Mapping[str, Any]) -> str:
        """A wrong setting, and what is wrong with it.

        Args:
            fault: one of pydantic's errors.
        """
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


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
