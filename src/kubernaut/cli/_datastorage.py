"""`kubernaut datastorage`: run and set up the DataStorage service in earnest."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kubernaut import datastorage
from kubernaut.cli._failure import one_line_failures

app = typer.Typer(
    no_args_is_help=True,
    help="Run the DataStorage service, which takes and keeps audit events, or set it up.",
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file with the configuration. Environment variables win over it.",
    ),
]

_LONGEST_WAIT = 3600
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        max=_LONGEST_WAIT,
        help="Wait so long for what is started at the same time: the database; to serve, its"
        " schema too.",
    ),
]

_CONFIGURATION = """
Configuration: the file, then environment variables KUBERNAUT_DATASTORAGE_<SECTION>__<NAME>, of
which the most used are

\b
  KUBERNAUT_DATASTORAGE_DATABASE__URL            postgresql:// address of the database
  KUBERNAUT_DATASTORAGE_DATABASE__MIGRATION_URL  the same with the schema owner's login
  KUBERNAUT_DATASTORAGE_SERVER__HOST             address to listen on
  KUBERNAUT_DATASTORAGE_SERVER__PORT             port to listen on

`kubernaut datastorage config` shows all of them with their values.
"""


@app.command(
    "serve",
    help=f"""Run the service until SIGTERM or Ctrl-C.

It answers requests for events only once they are committed in PostgreSQL. Being told to stop, it
finishes what it has taken, and exits. The schema must be there: see `migrate`. Logs go to
standard error.
{_CONFIGURATION}
Exit codes: 0 stopped as told; 1 it could not start (wrong configuration, port in use, schema
missing or too new), one line says why.

Example: kubernaut datastorage serve --config /etc/kubernaut/datastorage.yaml""",
)
def serve(config: Config = None, wait: Wait = 0) -> None:
    with one_line_failures():
        code = datastorage.serve(datastorage.load_settings(config), wait=wait)
    raise typer.Exit(code)


@app.command(
    "migrate",
    help=f"""Bring the database's schema up to the newest version, and exit.

Makes the database if it is missing. Changes nothing where the schema is up to date, so it may run
before every start; several at once take turns. Uses the migration address, else the service's.
{_CONFIGURATION}
Exit codes: 0 the schema is up to date; 1 it is not (database not reached, no permission, schema
newer than this program), one line says why.

\b
Examples:
  kubernaut datastorage migrate --config /etc/kubernaut/datastorage.yaml
  kubernaut datastorage migrate --sql > schema.sql""",
)
def migrate(
    *,
    config: Config = None,
    wait: Wait = 0,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Only print the SQL, for a database administrator to run."),
    ] = False,
) -> None:
    with one_line_failures():
        if sql:
            typer.echo(datastorage.migration_sql(), nl=False)
            return
        database = datastorage.load_settings(config).database
        url = database.migration_url or database.url
        typer.echo(datastorage.migrate(url.get_secret_value(), wait=wait))


@app.command(
    "config",
    help=f"""Print the configuration that is in force, as YAML, and exit.

Addresses with passwords are masked; with --show-secrets the output is a file for --config.
{_CONFIGURATION}
Exit codes: 0 the configuration is right; 1 it is wrong, one line names every wrong setting.

Example: kubernaut datastorage config --config /etc/kubernaut/datastorage.yaml""",
)
def config(
    *,
    config: Config = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print passwords too.")
    ] = False,
) -> None:
    with one_line_failures():
        settings = datastorage.load_settings(config)
    sys.stdout.write(settings.to_yaml(show_secrets=show_secrets))
