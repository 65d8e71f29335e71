"""`kubernaut wfe`: WorkflowExecutions for people; each command has a module."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kubernaut.cli._audit_server import DEFAULT_SERVER, CaFile, Server, TokenFile
from kubernaut.cli._failure import NOT_INSTALLED, fail, not_installed

if TYPE_CHECKING:
    from kubernaut.cli._wfe_cluster import Where

app = typer.Typer(
    no_args_is_help=True,
    help="Use WorkflowExecutions: create them, look at them, follow them, read their audit trail.",
)

_DEFAULT_NAMESPACE: Final = "default"
_CLUSTER: Final = """
The cluster: --kubeconfig, else KUBECONFIG (or with --context what kubectl takes), else the local
one that runs in the home directory.
"""


class Engine(StrEnum):
    """What runs a workflow."""

    TEKTON = "tekton"
    JOB = "job"
    ANSIBLE = "ansible"


class Form(StrEnum):
    """A form of the output."""

    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", metavar="FILE", help="The cluster.")
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="A context of the kubeconfig.")
]
Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="KUBERNAUT_HOME",
        metavar="DIRECTORY",
        help="The home directory of the local cluster; see `up`.",
    ),
]
_HOME: Final = Path(".kubernaut")
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="The namespace.", show_default=_DEFAULT_NAMESPACE
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Which.")]


@app.command(
    "create",
    help=f"""Create WorkflowExecutions from a file, or one from options.

What it is to be called, what it runs and on what: `kubernaut wfe create -f FILE`, or NAME with at
least --workflow, --workflow-version, --bundle and --target.
{_CLUSTER}
Exit codes: 0 created, with --watch also ended well; 1 not, one line says why; with --watch, one
failed; 2 the command line is wrong.

\b
Examples:
  kubernaut wfe create -f config/samples/1-restart-deployment.yaml --watch
  kubernaut wfe create restart-cart --workflow restart --workflow-version 1.0.0 \\
    --bundle registry.example/workflows/restart:1.0.0 --target shop/deployment/cart \\
    --param NAMESPACE=shop --timeout 10m""",
)
def create(  # noqa: PLR0913  (the options of a command)
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="What to call it.")] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="YAML, one or several; -: stdin."),
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="ID", help="The workflow's id.")
    ] = None,
    workflow_version: Annotated[
        str | None, typer.Option("--workflow-version", metavar="TEXT", help="Its version.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", metavar="REFERENCE", help="Its bundle or image.")
    ] = None,
    engine: Annotated[
        Engine | None, typer.Option(help="What runs it.", show_default="tekton")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="NAMESPACE/KIND/NAME", help="What it works on."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    remediation_request: Annotated[
        str | None,
        typer.Option(
            "--remediation-request",
            metavar="NAME",
            help="Who asked for it; the audit chain.",
            show_default="NAME",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="SPAN", help="When it is stopped, from now: 10m."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    home: Home = _HOME,
) -> None:
    with _failures():
        from kubernaut.cli._wfe_create import Given  # noqa: PLC0415  (an extra)
        from kubernaut.cli._wfe_create import create as run  # noqa: PLC0415

        given = Given(
            name=name,
            workflow=workflow,
            workflow_version=workflow_version,
            bundle=bundle,
            engine=engine.value if engine else None,
            target=target,
            parameters=param or (),
            remediation_request=remediation_request,
            timeout=timeout,
        )
        run(_where(kubeconfig, context, home), namespace, file, given, watch=watch)


@app.command(
    "list",
    help=f"""List WorkflowExecutions, in a table or whole.
{_CLUSTER}
Exit codes: 0 done, whether or not there are any; 1 it could not be asked, one line says why.

Example: kubernaut wfe list -A""",
)
def list_(  # noqa: PLR0913  (the options of a command)
    *,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    selector: Annotated[
        str | None,
        typer.Option("--selector", "-l", metavar="LABELS", help="Only those with these labels."),
    ] = None,
    output: Annotated[
        Form | None, typer.Option("--output", "-o", help="The form.", show_default="a table")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    home: Home = _HOME,
) -> None:
    place = _place(namespace, all_namespaces=all_namespaces)
    with _failures():
        from kubernaut.cli._wfe_list import list_ as run  # noqa: PLC0415  (an extra)

        run(_where(kubeconfig, context, home), place, selector, output)


@app.command(
    "describe",
    help=f"""Show everything about one: spec, status, why it failed, conditions, Events, what next.
{_CLUSTER}
Exit codes: 0 done; 1 there is none, or it could not be asked.

Example: kubernaut wfe describe drain-worker-7""",
)
def describe(
    name: Name,
    *,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    home: Home = _HOME,
) -> None:
    with _failures():
        from kubernaut.cli._wfe_describe import describe as run  # noqa: PLC0415  (an extra)

        run(_where(kubeconfig, context, home), namespace or _DEFAULT_NAMESPACE, name)


@app.command(
    "watch",
    help=f"""Show each change of a phase or a condition as it comes.

With names, until all of them have come to their end. Without, all that there are and will be, until
Ctrl-C. The times are those of this machine.
{_CLUSTER}
Exit codes: 0 those that were named ended well, or Ctrl-C; 1 one of them failed or was deleted, or
it could not be asked.

\b
Examples:
  kubernaut wfe watch restart-checkout
  kubernaut wfe watch -A""",
)
def watch(  # noqa: PLR0913  (the options of a command)
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Which.", show_default="all")
    ] = None,
    *,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    home: Home = _HOME,
) -> None:
    place = _place(namespace, all_namespaces=all_namespaces)
    if names and place is None:
        fail("names are those of one namespace: give -n in place of -A", NOT_INSTALLED)
    with _failures():
        from kubernaut.cli._wfe_watch import watch as run  # noqa: PLC0415  (an extra)

        run(_where(kubeconfig, context, home), place, names or ())


@app.command(
    "trail",
    help=f"""Show the audit trail of one, in the order of its chain, and verify the chain.

Events come from DataStorage, and the chain is that of the remediation request: with --all, the
events of others in it are shown too. Times are UTC.
{_CLUSTER}
DataStorage: --server, else KUBERNAUT_AUDIT_SERVER, else the one on this machine.

Exit codes: 0 the chain is unbroken; 1 it is broken, or events are missing that the cluster says are
stored, or there is no such WorkflowExecution; 2 DataStorage gives no answer.

Example: kubernaut wfe trail restart-checkout""",
)
def trail(  # noqa: PLR0913  (the options of a command)
    name: Name,
    *,
    whole_chain: Annotated[
        bool, typer.Option("--all", help="Also the events of others in its chain.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    home: Home = _HOME,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    with _failures():
        from kubernaut.cli._wfe_trail import trail as run  # noqa: PLC0415  (an extra)

        run(
            _where(kubeconfig, context, home),
            namespace or _DEFAULT_NAMESPACE,
            name,
            whole_chain=whole_chain,
            server=server,
            token_file=token_file,
            ca_file=ca_file,
        )


@app.command(
    "cancel",
    help=f"""Ask the operator to stop a run, or not to start it.

What runs it is stopped, and it becomes Failed with the reason that is given; the audit trail has
that too. What the workflow has done by then stays done.
{_CLUSTER}
Exit codes: 0 asked for; 1 it has come to its end already, or there is none, or it was not allowed.

Example: kubernaut wfe cancel drain-worker-7 --reason 'the node is healthy again'""",
)
def cancel(  # noqa: PLR0913  (the options of a command)
    name: Name,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; for people and the audit trail.")
    ] = "",
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    home: Home = _HOME,
) -> None:
    with _failures():
        from kubernaut.cli._wfe_cancel import cancel as run  # noqa: PLC0415  (an extra)

        run(_where(kubeconfig, context, home), namespace or _DEFAULT_NAMESPACE, name, reason)


def _place(namespace: str | None, *, all_namespaces: bool) -> str | None:
    """The namespace; None for all."""
    if all_namespaces and namespace:
        fail("give either -n or -A", NOT_INSTALLED)
    return None if all_namespaces else namespace or _DEFAULT_NAMESPACE


def _where(kubeconfig: Path | None, context: str | None, home: Path) -> "Where":
    from kubernaut.cli._wfe_cluster import Where  # noqa: PLC0415  (an extra)

    return Where(kubeconfig, context, home)


@contextmanager
def _failures() -> Iterator[None]:
    """End the command with one line where a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        not_installed(error, "kubernaut wfe", "workflowexecution")
