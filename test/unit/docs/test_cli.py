"""The page on the command line and the commands are the same."""

from collections.abc import Iterator
from typing import Any, Final

import typer

from kubernaut.cli._app import app
from test.unit.docs.pages import codes, first_codes, headings, read, section, table

PAGE: Final = read("reference/cli")
OF_EVERY_COMMAND: Final = {"--help", "-h"}


def commands(command: Any, path: tuple[str, ...] = ("kubernaut",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, and the root."""
    # typer brings a click of its own, so a group is told by what it has.
    inner = getattr(command, "commands", {})
    if len(path) == 1 or not inner:
        yield " ".join(path), command
    for name, below in inner.items():
        yield from commands(below, (*path, name))


COMMANDS: Final = dict(commands(typer.main.get_command(app)))


def documented(command: str) -> set[str]:
    return {
        code for code in first_codes(table(PAGE, command)) if code.startswith("-")
    } - OF_EVERY_COMMAND


def test_every_command_is_documented_and_nothing_else() -> None:
    assert {
        heading for heading in headings(PAGE) if heading.partition(" ")[0] == "kubernaut"
    } == set(COMMANDS)


def test_every_option_is_documented_and_nothing_else() -> None:
    assert len(COMMANDS) > 4
    for name, command in COMMANDS.items():
        options = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
            if option.startswith("-")
        }
        assert documented(name) == options - OF_EVERY_COMMAND, name


def test_every_argument_is_documented() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if not parameter.opts[0].startswith("-"):
                assert f"{name} {parameter.metavar}" in codes(section(PAGE, name))


def test_every_variable_of_an_option_is_documented() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if isinstance(parameter.envvar, str):
                assert parameter.envvar in codes(section(PAGE, name)), name


def test_every_variable_that_a_help_text_names_is_documented() -> None:
    for command in COMMANDS.values():
        for word in (command.help or "").split():
            variable = word.strip("`.,()").partition("=")[0]
            if variable.startswith("KUBERNAUT_") and "<" not in variable:
                assert variable in PAGE or variable in read("reference/configuration")
