"""`kubernaut up`: everything on one machine, from nothing to the first audit event."""

import errno
import os
import shlex
import socket
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kubernaut import datastorage
from kubernaut.cli._failure import fail, one_line_failures
from kubernaut.cli._steps import Steps
from kubernaut.cli._stop import ignore_signals, stopped_by_signals
from kubernaut.local import PostgresServer, kept_password

_DATABASE: Final = "kubernaut_datastorage"
_LOGIN: Final = "kubernaut_service"
_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with)

HELP: Final = """Start everything on this machine, and stop it with Ctrl-C.

Starts PostgreSQL (this system's own programs, or those of the extra kubernaut-py\\[local]; nothing
that runs already is touched), makes the schema, and serves DataStorage on http://127.0.0.1:18100.
Data and passwords are kept in the home directory, so the next `up` continues where this one
stopped. As root, PostgreSQL runs as user postgres or nobody.

Environment variables:

\b
  KUBERNAUT_HOME          the home directory; default: .kubernaut in the current directory
  KUBERNAUT_POSTGRES      system or wheel: where PostgreSQL's programs come from
  KUBERNAUT_DATABASE_URL  use this database (postgresql://...) and start no PostgreSQL
  KUBERNAUT_DATASTORAGE_SERVER__PORT, ...  any setting of `kubernaut datastorage config`

Exit codes: 0 stopped as told; 1 it could not start (port or home directory in use, data of
another PostgreSQL version, schema too new), one line says why and nothing is left running.

\b
Examples:
  kubernaut up
  KUBERNAUT_HOME=/tmp/try kubernaut up --port 18200"""


def up(
    home: Annotated[
        Path,
        typer.Option(envvar="KUBERNAUT_HOME", metavar="DIRECTORY", help="The home directory."),
    ] = Path(".kubernaut"),
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API.", show_default="18100"),
    ] = None,
) -> None:
    steps = Steps()
    with stopped_by_signals(steps), one_line_failures():
        _Up(steps, home, port).run()


class _Up:
    """One run of the command."""

    def __init__(self, steps: Steps, home: Path, port: int | None) -> None:
        self._steps = steps
        self._home = home.absolute()
        self._port = port

    def run(self) -> None:
        """Start, serve until a signal, stop."""
        settings = self._settings(None)  # Wrong settings come to light before anything starts.
        _require_free(settings.server.host, settings.server.port)
        if url := os.environ.get("KUBERNAUT_DATABASE_URL"):
            self._migrate(url)
            self._serve(url, ["database    the one of KUBERNAUT_DATABASE_URL"])
        else:
            self._on_embedded_postgres()

    def _on_embedded_postgres(self) -> None:
        server = PostgresServer(self._home)
        with self._steps.step(f"starting PostgreSQL for {self._home}") as done:
            server.start()
            done(_described(server))
        try:
            owner_url = server.url(_DATABASE)
            self._migrate(owner_url)
            password = kept_password(self._home / "service-password")
            datastorage.create_service_login(owner_url, _LOGIN, password)
            service_url = server.url(_DATABASE, _LOGIN, password)
            self._serve(
                service_url,
                [
                    f"psql        {shlex.join(server.psql_command(_DATABASE))}",
                    f"data        {server.data_directory}",
                    f"logs        {server.log_file} (PostgreSQL); this terminal (DataStorage)",
                ],
            )
        finally:
            ignore_signals()
            with self._steps.step("stopping PostgreSQL"):
                server.stop()

    def _migrate(self, url: str) -> None:
        with self._steps.step("making the schema") as done:
            done(f"schema: {datastorage.migrate(url)}")

    def _serve(self, url: str, facts: list[str]) -> None:
        settings = self._settings(url)
        address = _address(settings.server.host, settings.server.port)
        code = datastorage.serve(settings, on_ready=lambda: self._ready(address, facts))
        if code:
            raise typer.Exit(code)

    def _ready(self, address: str, facts: list[str]) -> None:
        event = '[{"event_category":"workflow","event_action":"workflow.started"}]'
        post = f"{address}/api/v1/audit/events/batch"
        say = self._steps.say
        say()
        say(f"Ready: {address}", style="bold green")
        say()
        say(f"API page    {address}/docs")
        for fact in facts:
            say(fact)
        say()
        say("Try it:")
        say(f"  curl {address}/health")
        say(f"  curl -X POST {post} -H 'Content-Type: application/json' -d '{event}'")
        say()
        say("Ctrl-C stops everything.")

    # The name is quoted because looking it up imports what only the service needs.
    def _settings(self, url: str | None) -> "datastorage.Settings":
        overrides: dict[str, Any] = {}
        if url is not None:
            overrides["database"] = {"url": url}
        if self._port is not None:
            overrides["server"] = {"port": self._port}
        return datastorage.load_settings(None, **overrides)


def _described(server: PostgresServer) -> str:
    line = f"PostgreSQL {server.version} ({server.binaries_from}) on port {server.port}"
    line += f", as user {server.owner}"
    if server.relocated:
        line += (
            f"; its data are in {server.data_directory}, because that user cannot reach the home "
            "directory"
        )
    return line


def _address(host: str, port: int) -> str:
    host = _EVERY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _require_free(host: str, port: int) -> None:
    """End the command if the service could not listen: better now than after a minute's work."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                fail(f"port {port} on {host} is in use; stop that program, or choose --port")
            fail(f"cannot listen on {host} port {port}: {error.strerror}")
