"""What the sources declare that a page has to have: settings, and lines of the log."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

_LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
_NOT_MEMBERS: Final = {"exc_info"}


class Declared:
    """A setting: where it is, and what it may be."""

    prefix: str

    def __init__(self, path: tuple[str, ...], field: FieldInfo) -> None:
        self.path = path
        self.field = field

    @property
    def name(self) -> str:
        """As it is written in the file."""
        return ".".join(to_camel(part) for part in self.path)

    @property
    def variable(self) -> str:
        """As the environment has it."""
        return self.prefix + "__".join(self.path).upper()


def fields_of(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting of a configuration, by its path; sections are walked through."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields_of(inner, (*path, name))
        else:
            yield (*path, name), field


def log_lines_of(package: Path) -> set[tuple[str, str, frozenset[str]]]:
    """Message, level and members of every call of a structured log."""
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(message))],
                    keywords=keywords,
                ) if level in _LEVELS:
                    members = {keyword.arg for keyword in keywords if keyword.arg}
                    found.add((message, level, frozenset(members - _NOT_MEMBERS)))
    return found
