"""`kubernaut operator`: run the operator of WorkflowExecutions, set it up, suspend it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kubernaut.cli._failure import FAILED, fail, not_installed, tell

if TYPE_CHECKING:
    from kubernaut.workflowexecution import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Run the operator, which takes WorkflowExecutions to their end, or set it up.",
)

_FIELD_MANAGER: Final = "kubernaut-cli"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file with the configuration. Environment variables win over it.",
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="The cluster; wins over everything else.",
        show_default="the configuration's",
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; for the audit trail.")]

_CONFIGURATION: Final = """
Configuration: the file, then environment variables KUBERNAUT_OPERATOR_<SECTION>__<NAME>.
`kubernaut operator config` shows all settings with their values.
"""


@app.command(
    "run",
    help=f"""Run the operator until SIGTERM or Ctrl-C.

Before it starts it looks whether everything is there that it needs; see `check`. Several may run:
one leads, the others wait. Being told to stop, it finishes what it has begun, hands the lease over,
and says what of the audit trail is not delivered; that is in the journal. Logs go to standard
error.
{_CONFIGURATION}
Exit codes: 0 stopped as told; 1 it could not start, and a line for each reason says so; or another
one leads now.

Example: kubernaut operator run --config /etc/kubernaut/operator.yaml""",
)
def run(config: Config = None, kubeconfig: Kubeconfig = None) -> None:
    with _failures():
        from kubernaut.workflowexecution import serve  # noqa: PLC0415  (an extra)

        code = serve(_settings(config, kubeconfig))
    raise typer.Exit(code)


@app.command(
    "check",
    help=f"""Look whether everything is there that the operator needs, and start nothing.

That is: the custom resource, every right (RBAC) that it uses, the APIs of the engines, the
execution namespace, the journal's directory, DataStorage. Rights are those of the account that
asks: use the operator's own.
{_CONFIGURATION}
Exit codes: 0 it would start, perhaps with warnings; 1 it would not. A line for each thing says what
to do.

Example: kubernaut operator check --kubeconfig operator.kubeconfig""",
)
def check(config: Config = None, kubeconfig: Kubeconfig = None) -> None:
    with _failures():
        from kubernaut.workflowexecution import Operator  # noqa: PLC0415  (an extra)

        settings = _settings(config, kubeconfig)
        found = asyncio.run(Operator(settings, report=tell).check())
    for line in found.warnings:
        typer.echo(f"warning: {line}")
    for line in found.problems:
        typer.echo(f"problem: {line}")
    if found.problems:
        raise typer.Exit(FAILED)
    typer.echo("the operator can start")


@app.command(
    "config",
    help=f"""Print the configuration that is in force, as YAML, and exit.
{_CONFIGURATION}
Exit codes: 0 the configuration is right; 1 it is wrong, one line names every wrong setting.

Example: kubernaut operator config --config /etc/kubernaut/operator.yaml""",
)
def config(config: Config = None) -> None:
    with _failures():
        text = _settings(config, None).to_yaml()
    typer.echo(text, nl=False)


@app.command(
    "crd",
    help="""Print the custom resource definition of WorkflowExecutions, as YAML.

Example: kubernaut operator crd | kubectl apply -f -""",
)
def crd() -> None:
    with _failures():
        from kubernaut.workflowexecution import crd_yaml  # noqa: PLC0415  (an extra)

        text = crd_yaml()
    typer.echo(text, nl=False)


@app.command(
    "manifests",
    help=f"""Print what a cluster needs for the operator, as YAML.

The custom resource definition, both namespaces, the service accounts of the operator and of
workflows, and their roles, which have no more than is used.
{_CONFIGURATION}
Of the settings, `controller.namespace` and `execution.namespace` count.

Example: kubernaut operator manifests | kubectl apply -f -""",
)
def manifests(config: Config = None) -> None:
    with _failures():
        import yaml  # noqa: PLC0415  (an extra)

        from kubernaut.workflowexecution import crd_yaml, rbac  # noqa: PLC0415

        settings = _settings(config, None)
        own, executions = settings.controller.own_namespace(), settings.execution.namespace
        try:
            objects = rbac(own, executions)
        except ValueError as error:
            fail(f"controller.namespace, execution.namespace: {error}")
        text = crd_yaml() + "---\n" + yaml.safe_dump_all(objects, sort_keys=False)
    typer.echo(text, nl=False)


@app.command(
    "suspend",
    help="""Let the operator start no new run until `resume`; running ones are followed to their
end.

It is written into the config map `workflowexecution-operator` in the operator's namespace, and into
the audit trail with who did it and why.

Example: kubernaut operator suspend --reason 'the database is being moved'""",
)
def suspend(reason: Reason, config: Config = None, kubeconfig: Kubeconfig = None) -> None:
    namespace = _set_suspension(config, kubeconfig, suspend=True, reason=reason)
    typer.echo(f"the operator in {namespace} is suspended: no new run starts")


@app.command(
    "resume",
    help="""Let the operator start runs again.

Example: kubernaut operator resume --reason 'the database has been moved'""",
)
def resume(reason: Reason = "", config: Config = None, kubeconfig: Kubeconfig = None) -> None:
    namespace = _set_suspension(config, kubeconfig, suspend=False, reason=reason)
    typer.echo(f"the operator in {namespace} is resumed")


def _set_suspension(
    config: Path | None, kubeconfig: Path | None, *, suspend: bool, reason: str
) -> str:
    with _failures():
        from kubernaut.kubernetes import Client, ClientConfig  # noqa: PLC0415  (an extra)
        from kubernaut.workflowexecution._suspension import set_suspension  # noqa: PLC0415

        settings = _settings(config, kubeconfig)
        namespace = settings.controller.own_namespace()
        where = settings.kubernetes

        async def write() -> None:
            connection = ClientConfig.load(where.kubeconfig, where.context)
            async with Client(connection, field_manager=_FIELD_MANAGER, retry_for=5) as client:
                await set_suspension(client, namespace, suspend=suspend, reason=reason)

        asyncio.run(write())
    return namespace


def _settings(config: Path | None, kubeconfig: Path | None) -> "Settings":
    from kubernaut.workflowexecution import load_settings  # noqa: PLC0415  (an extra)

    overrides = {} if kubeconfig is None else {"kubernetes": {"kubeconfig": kubeconfig}}
    return load_settings(config, **overrides)


@contextmanager
def _failures() -> Iterator[None]:
    """End the command with a line for each thing that a person can do something about."""
    try:
        yield
    except ModuleNotFoundError as error:
        not_installed(error, "the operator", "workflowexecution")
    except Exception as error:
        lines = _foreseen(error)
        if not lines:
            raise
        for line in lines:
            tell(line)
        raise typer.Exit(FAILED) from None


def _foreseen(error: Exception) -> "tuple[str, ...]":
    """What to say of an error that is no defect; nothing of one that is."""
    from kubernaut.kubernetes import KubernetesError  # noqa: PLC0415  (an extra)
    from kubernaut.workflowexecution import SettingsError, StartupError  # noqa: PLC0415

    if isinstance(error, StartupError):
        return error.lines
    return (str(error),) if isinstance(error, SettingsError | KubernetesError) else ()
