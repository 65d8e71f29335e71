"""The page on the configuration and the settings are the same."""

from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import SecretStr

from kubernaut.datastorage import Settings, load_settings
from kubernaut.datastorage.settings import ENVIRONMENT_PREFIX
from test.unit.docs.declared import Declared, fields_of
from test.unit.docs.pages import blocks, codes, read, rows

PAGE: Final = "reference/configuration"


class Setting(Declared):
    prefix = ENVIRONMENT_PREFIX

    @property
    def default(self) -> str:
        value = self.field.default
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, bool):
            return str(value).lower()
        return "none" if value is None else str(value)

    @property
    def bounds(self) -> list[str]:
        """The numbers and words that limit the value."""
        if get_origin(self.field.annotation) is Literal:
            return [str(word) for word in get_args(self.field.annotation)]
        found = []
        waiting: list[Any] = [*self.field.metadata, self.field.annotation]
        while waiting:
            item = waiting.pop()
            waiting += getattr(item, "metadata", [])  # Of FieldInfo in Annotated.
            waiting += [inner for inner in get_args(item) if inner is not type(None)]
            found += [
                str(getattr(item, name)) for name in ("gt", "ge", "lt", "le") if hasattr(item, name)
            ]
        return found

    def other_value(self) -> str | int | bool:
        """A valid value that is not the default."""
        default = self.field.default
        if get_origin(self.field.annotation) is Literal:
            return next(str(word) for word in get_args(self.field.annotation) if word != default)
        if isinstance(default, bool):
            return not default
        if isinstance(default, int | float):
            return int(default) + 1
        return 9 if "port" in self.path[-1] else "postgresql://elsewhere"


SETTINGS: Final = [Setting(*found) for found in fields_of(Settings)]
DOCUMENTED: Final = {codes(row[0])[0]: row for row in rows(read(PAGE))}


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert list(DOCUMENTED) == [
        setting.name for setting in sorted(SETTINGS, key=lambda setting: len(setting.path))
    ]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_name_default_and_range(setting: Setting) -> None:
    _, variable, default, permitted, meaning = DOCUMENTED[setting.name]
    assert codes(variable) == [setting.variable]
    assert default.partition(" (")[0].strip("`") == setting.default
    numbers = permitted.replace("`", "").replace(",", " ").split()
    missing = [bound for bound in setting.bounds if bound not in numbers]
    assert not missing, permitted
    assert meaning


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_documented_names_work(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in SETTINGS:
        monkeypatch.delenv(other.variable, raising=False)
    content: Any = setting.other_value()
    monkeypatch.setenv(setting.variable, str(content))
    from_environment = load_settings().model_dump()
    monkeypatch.delenv(setting.variable)
    for part in reversed(codes(DOCUMENTED[setting.name][0])[0].split(".")):
        content = {part: content}
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(content))
    assert load_settings(file).model_dump() == from_environment
    assert load_settings().model_dump() != from_environment


def test_the_examples_are_valid(tmp_path: Path) -> None:
    for page in (PAGE, "how-to/run-it"):
        for number, example in enumerate(blocks(read(page), "yaml")):
            file = tmp_path / f"{number}.yaml"
            file.write_text(example)
            load_settings(file)
