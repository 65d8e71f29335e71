"""How a command ends when something that was foreseen goes wrong: one line, and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from kubernaut import datastorage
from kubernaut.cli._printable import printable
from kubernaut.local import LocalServerError

FAILED = 1
NOT_INSTALLED = 2


def fail(line: str, code: int = FAILED) -> NoReturn:
    """Say why on standard error, and end with an exit code."""
    tell(line)
    raise typer.Exit(code)


def tell(line: str) -> None:
    """Say something on standard error, in one line."""
    typer.echo(f"kubernaut: {printable(' '.join(line.split()))}", err=True)


def not_installed(error: ModuleNotFoundError, what: str, extra: str) -> NoReturn:
    """End the command with how to get a package that is missing.

    Args:
        error: that it is missing; raised again where it is a module of ours, which is a defect.
        what: needs packages that may not be installed.
        extra: brings them.
    """
    if error.name is None or error.name.startswith("kubernaut"):
        raise error
    fail(
        f"{what} needs more packages ({error.name} is missing): "
        f"pip install 'kubernaut-py[{extra}]'",
        NOT_INSTALLED,
    )


@contextmanager
def one_line_failures(what: str = "DataStorage", extra: str = "datastorage") -> Iterator[None]:
    """End the command with one line for the errors that a person can do something about.

    Everything else is a defect and keeps its stack trace.

    Args:
        what: needs packages that may not be installed.
        extra: brings them.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        not_installed(error, what, extra)
    except _foreseen() as error:  # Called only when there is an error.
        fail(str(error))


def _foreseen() -> tuple[type[Exception], ...]:
    """DataStorage's errors too; naming them imports it, which other commands need not wait for."""
    return (
        LocalServerError,
        datastorage.SchemaError,
        datastorage.SettingsError,
        datastorage.StartupError,
    )
