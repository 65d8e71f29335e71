"""`kubernaut up`: everything on one machine, from nothing to a verified audit trail."""

import errno
import os
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kubernaut import datastorage
from kubernaut.cli._failure import NOT_INSTALLED, fail, one_line_failures
from kubernaut.cli._steps import Steps
from kubernaut.cli._stop import stopped_by_signals, stopping
from kubernaut.local import PostgresServer, kept_password

if TYPE_CHECKING:
    from kubernaut.cli._up_remediation import Remediation

_DATABASE: Final = "kubernaut_datastorage"
_LOGIN: Final = "kubernaut_service"
_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with)

HELP: Final = """Start everything on this machine, and stop it with Ctrl-C.

Starts PostgreSQL (this system's own programs, or those of the extra kubernaut-py\\[local]; nothing
that runs already is touched), DataStorage on http://127.0.0.1:18100, a Kubernetes API server with
Tekton, and the operator of WorkflowExecutions. Then it runs the sample WorkflowExecutions, and
shows their progress and their audit trails. In the cluster all is real but nodes and pods, which
kwok simulates. Data and passwords are kept in the home directory, so the next `up` continues where
this one stopped. As root, PostgreSQL runs as user postgres or nobody.

The first start gets the cluster's programs, which takes 20 minutes or more where they must be
built; --no-cluster needs none of them.

Environment variables:

\b
  KUBERNAUT_HOME            the home directory; default: .kubernaut in the current directory
  KUBERNAUT_USE_KUBECONFIG  as --use-kubeconfig
  KUBERNAUT_POSTGRES        system or wheel: where PostgreSQL's programs come from
  KUBERNAUT_DATABASE_URL    use this database (postgresql://...) and start no PostgreSQL
  KUBERNAUT_DATASTORAGE_SERVER__PORT, ...  any setting of `kubernaut datastorage config`
  KUBERNAUT_OPERATOR_EXECUTION__COOLDOWN_PERIOD, ...  any of `kubernaut operator config`

Exit codes: 0 stopped as told; 1 it could not start (port or home directory in use, data of
another PostgreSQL version, schema too new), or a part has ended by itself: one line says why and
nothing is left running; 2 the command line is wrong or a package is missing.

\b
Examples:
  kubernaut up
  kubernaut up --no-cluster
  KUBERNAUT_HOME=/tmp/try kubernaut up --port 18200"""


def up(  # noqa: PLR0913  (the options of a command)
    *,
    home: Annotated[
        Path,
        typer.Option(envvar="KUBERNAUT_HOME", metavar="DIRECTORY", help="The home directory."),
    ] = Path(".kubernaut"),
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API.", show_default="18100"),
    ] = None,
    no_cluster: Annotated[
        bool, typer.Option("--no-cluster", help="Only PostgreSQL and DataStorage.")
    ] = False,
    use_kubeconfig: Annotated[
        bool,
        typer.Option(
            "--use-kubeconfig",
            envvar="KUBERNAUT_USE_KUBECONFIG",
            help="Use the cluster of KUBECONFIG; installs the CRD there, after asking.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Install the CRD without asking.")
    ] = False,
    with_samples: Annotated[
        bool | None,
        typer.Option(
            "--samples/--no-samples",
            help="Run the samples.",
            show_default="in a local cluster only",
        ),
    ] = None,
) -> None:
    if no_cluster and with_samples:
        fail("--samples needs what --no-cluster leaves out", NOT_INSTALLED)
    steps = Steps()
    if no_cluster:
        with stopped_by_signals(steps), one_line_failures():
            _Up(steps, home, port).run()
        return
    with stopped_by_signals(steps), one_line_failures("kubernaut up", "all"):
        from kubernaut.cli._up_remediation import Remediation  # noqa: PLC0415  (extras)

        samples = not use_kubeconfig if with_samples is None else with_samples
        remediation = Remediation(
            steps, home.absolute(), samples=samples, use_kubeconfig=use_kubeconfig, yes=yes
        )
        _Up(steps, home, port, remediation).run()


class _Up:
    """One run of the command; without `remediation` it is that of DataStorage alone."""

    def __init__(
        self,
        steps: Steps,
        home: Path,
        port: int | None,
        remediation: "Remediation | None" = None,
    ) -> None:
        self._steps = steps
        self._home = home.absolute()
        self._port = port
        self._remediation = remediation

    def run(self) -> None:
        """Start, serve until a signal, stop."""
        settings = self._settings(None)  # Wrong settings come to light before anything starts.
        _require_free(settings.server.host, settings.server.port)
        if self._remediation is not None:
            self._remediation.prepare()
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
        with stopping(self._steps, "PostgreSQL", server.stop):
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
                    f"logs        {server.log_file} (PostgreSQL)",
                ],
            )

    def _migrate(self, url: str) -> None:
        with self._steps.step("making the schema") as done:
            done(f"schema: {datastorage.migrate(url)}")

    def _serve(self, url: str, facts: list[str]) -> None:
        settings = self._settings(url)
        address = _address(settings.server.host, settings.server.port)
        if self._remediation is not None:
            self._remediation.run(
                url,
                address,
                self._port,
                lambda more, commands: self._ready(address, [*facts, *more], commands),
            )
            return
        facts = [*facts, "logs        this terminal (DataStorage)"]
        code = datastorage.serve(settings, on_ready=lambda: self._ready(address, facts, []))
        if code:
            raise typer.Exit(code)

    def _ready(self, address: str, facts: Sequence[str], commands: Sequence[str]) -> None:
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
        for command in commands:
            say(f"  {command}")
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
