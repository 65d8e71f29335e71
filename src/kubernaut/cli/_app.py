"""The command line as a whole; each command has a module."""

import importlib.metadata
from typing import Annotated

import typer

from kubernaut.cli import _audit, _datastorage, _local, _operator, _up, _wfe

app = typer.Typer(
    no_args_is_help=True,
    # A stack trace is for a defect; then it should be the plain one that people can paste.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up", help=_up.HELP)(_up.up)
app.add_typer(_audit.app, name="audit")
app.add_typer(_datastorage.app, name="datastorage")
app.add_typer(_local.app, name="local")
app.add_typer(_operator.app, name="operator")
app.add_typer(_wfe.app, name="wfe")


def _version(wanted: bool) -> None:  # noqa: FBT001  (typer's way)
    if wanted:
        typer.echo(f"kubernaut {importlib.metadata.version('kubernaut-py')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version_only: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """An audit trail for automated remediation on Kubernetes.

    To try everything on this machine: kubernaut up

    Exit codes: 0 done; 1 it could not be done, one line on standard error says why; 2 the command
    line is wrong or a package that it needs is not installed.
    """
