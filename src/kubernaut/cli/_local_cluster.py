"""`kubernaut local cluster`: a Kubernetes control plane on this machine."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kubernaut.cli._failure import NOT_INSTALLED, fail, one_line_failures
from kubernaut.cli._steps import Steps
from kubernaut.cli._stop import stopped_by_signals

if TYPE_CHECKING:
    from kubernaut.local.cluster import LocalCluster

_LOOK_SECONDS: Final = 0.5
_DETACHED_LOOK_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 30.0

app = typer.Typer(no_args_is_help=True, help="A Kubernetes control plane on this machine.")

Home = Annotated[
    Path,
    typer.Option(
        envvar="KUBERNAUT_HOME", metavar="DIRECTORY", help="The home directory; see `up`."
    ),
]
_HOME: Final = Path(".kubernaut")
BuildCache = Annotated[
    Path | None,
    typer.Option(
        envvar="KUBERNAUT_BUILD_CACHE",
        metavar="DIRECTORY",
        help="Keep Go's caches here (gigabytes); they are removed after a build otherwise.",
    ),
]

_UP_HELP: Final = """Start a Kubernetes API server on this machine, and stop it with Ctrl-C.

Starts etcd, kube-apiserver (with RBAC), the controllers of Jobs, the scheduler, and kwok, which
simulates a node and its pods: NOTHING RUNS IN PODS. All listen on 127.0.0.1, on free ports. Data,
keys, logs and a kubeconfig are in the folder `cluster` of the home directory; the next `up`
continues where this one stopped.

The programs come from $KUBEBUILDER_ASSETS, else from the cache (~/.cache/kubernaut), else from
the releases of their projects, else they are built with Go, which takes 20 minutes or more, once.

Environment variables:

\b
  KUBERNAUT_HOME          as --home
  KUBERNAUT_BUILD_CACHE   as --build-cache
  KUBERNAUT_RELEASES_URL  a mirror, in place of https:// in the addresses of releases; empty:
                          download no releases

\b
Examples:
  kubernaut local cluster up
  kubernaut local cluster up --detach --tekton
  export KUBECONFIG=$(kubernaut local cluster kubeconfig)"""


@app.command("up", help=_UP_HELP)
def up(  # noqa: PLR0913  (the options of a command)
    *,
    home: Home = _HOME,
    tekton: Annotated[
        bool,
        typer.Option("--tekton", help="Also Tekton Pipelines, and a registry for bundles."),
    ] = False,
    bare: Annotated[
        bool,
        typer.Option("--bare", help="etcd and the API server only: no controllers, no nodes."),
    ] = False,
    nodes: Annotated[int, typer.Option(min=1, max=1000, help="Simulated nodes.")] = 1,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is ready; stop it with `down`.")
    ] = False,
    build_cache: BuildCache = None,
) -> None:
    if bare and tekton:
        fail("--tekton needs what --bare leaves out", NOT_INSTALLED)
    steps = Steps()
    folder = _folder(home)
    with one_line_failures("a local cluster", "local"):
        if detach:
            options = [f"--home={home.absolute()}", f"--nodes={nodes}"]
            options += [name for name, on in (("--tekton", tekton), ("--bare", bare)) if on]
            options += [f"--build-cache={build_cache.absolute()}"] if build_cache else []
            _detached(steps, folder, options)
            return
        from kubernaut.local.cluster import LocalCluster, Programs  # noqa: PLC0415  (an extra)

        with stopped_by_signals(steps):
            cluster = LocalCluster(
                folder,
                controller_manager=not bare,
                scheduler=not bare,
                kwok=not bare,
                tekton=tekton,
                nodes=nodes,
                programs=Programs(build_cache=build_cache, report=steps.say),
            )
            with steps.step(f"starting a cluster in {folder}"):
                cluster.start()
            try:
                _show(steps, cluster, home)
                _watch(cluster)
            finally:
                cluster.stop()


@app.command("prepare")
def prepare(
    *,
    tekton: Annotated[bool, typer.Option("--tekton", help="Those of Tekton, too.")] = False,
    build_cache: BuildCache = None,
) -> None:
    """Get the programs that `up` needs, and start nothing: for machines that are being set up."""
    steps = Steps()
    with one_line_failures("a local cluster", "local"):
        from kubernaut.local.cluster import Programs  # noqa: PLC0415  (an extra)

        programs = Programs(build_cache=build_cache, report=steps.say)
        for name, path in programs.obtain(programs.names(tekton=tekton)).items():
            steps.say(f"{name:25} {path}")


@app.command("down")
def down(home: Home = _HOME) -> None:
    """Stop the cluster; its data stay."""
    with one_line_failures("a local cluster", "local"):
        from kubernaut.local.cluster import end_holder, holder_of  # noqa: PLC0415  (an extra)

        holder = holder_of(_folder(home))
        if holder:
            end_holder(holder, _STOP_SECONDS)
        Steps().say("stopped" if holder else f"no cluster runs in {_folder(home)}")


@app.command("status")
def status(home: Home = _HOME) -> None:
    """Show whether a cluster runs, and its programs; exit code 1 if none does."""
    steps = Steps()
    with one_line_failures("a local cluster", "local"):
        from kubernaut.local.cluster import RunningCluster  # noqa: PLC0415  (an extra)

        folder = _folder(home)
        running = RunningCluster.of(folder)
        if running is None:
            fail(f"no cluster is ready in {folder}")
        steps.say(f"API server  {running.url}")
        steps.say(f"kubeconfig  {running.kubeconfig}")
        steps.say(f"held by     process {running.owner}")
        ended = [name for name in running.components if not running.runs(name)]
        for name, pid in running.components.items():
            note = " (simulates nodes and pods)" if name == "kwok" else ""
            state = "has ended" if name in ended else "runs"
            steps.say(f"{name:25} process {pid} {state}{note}")
        if ended:
            fail(f"{', '.join(ended)} has ended; the logs are in {folder / 'logs'}")


@app.command("kubeconfig")
def kubeconfig(
    *,
    home: Home = _HOME,
    show: Annotated[bool, typer.Option("--show", help="Its content in place of its path.")] = False,
) -> None:
    """Print the path of the administrator's kubeconfig; exit code 1 if no cluster runs."""
    with one_line_failures("a local cluster", "local"):
        from kubernaut.local.cluster import RunningCluster  # noqa: PLC0415  (an extra)

        running = RunningCluster.of(_folder(home))
        if running is None:
            fail(f"no cluster is ready in {_folder(home)}")
        typer.echo(running.kubeconfig.read_text() if show else running.kubeconfig, nl=not show)


def _folder(home: Path) -> Path:
    return home.absolute() / "cluster"


def _show(steps: Steps, cluster: "LocalCluster", home: Path) -> None:
    steps.say()
    steps.say(f"Ready: {cluster.url}", style="bold green")
    steps.say()
    steps.say(f"kubeconfig  {cluster.kubeconfig_path}")
    steps.say(f"logs        {cluster.home / 'logs'}")
    if "kwok" in cluster.components:
        nodes = ", ".join(cluster.nodes[:3]) + (", ..." if len(cluster.nodes) > 3 else "")  # noqa: PLR2004
        steps.say(f"nodes       {nodes} (simulated by kwok: nothing runs in pods)")
    if "tekton" in cluster.components:
        steps.say(f"bundles     push to {cluster.registry} (plain HTTP)")
    where = "" if home == _HOME else f" --home {shlex.quote(str(home))}"
    steps.say()
    steps.say("Try it:")
    steps.say(f"  export KUBECONFIG=$(kubernaut local cluster kubeconfig{where})")
    steps.say()
    steps.say("Ctrl-C stops everything.")


def _watch(cluster: "LocalCluster") -> None:
    """Return never, but end the command when a program ends by itself."""
    while True:
        for name, component in cluster.components.items():
            if not component.running:
                tail = component.log_tail(1)
                fail(f"{name} has ended; its log {component.log_file} ends with: {tail}")
        time.sleep(_LOOK_SECONDS)


def _detached(steps: Steps, folder: Path, options: Sequence[str]) -> None:
    """Run `up` in a process of its own, show what it says, and return when it is ready."""
    from kubernaut.local.cluster import RunningCluster, holder_of  # noqa: PLC0415  (an extra)

    if holder := holder_of(folder):
        fail(
            f"{folder} is in use by the cluster of process {holder}; stop that first, or use "
            "another home directory"
        )
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  (this command itself)
            [sys.executable, "-m", "kubernaut", "local", "cluster", "up", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    shown = 0
    try:
        while RunningCluster.of(folder) is None:
            lines = log.read_text(errors="replace").splitlines()
            code = process.poll()
            if code is not None:
                said = lines[-1] if lines else f"it ended with exit code {code}"
                fail(said.removeprefix("kubernaut: "))
            for line in lines[shown:-1]:
                steps.say(line)
            shown = max(shown, len(lines) - 1)
            time.sleep(_DETACHED_LOOK_SECONDS)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    running = RunningCluster.of(folder)
    steps.say(f"Ready: {running.url if running else folder}", style="bold green")
    steps.say(f"It goes on as process {process.pid}; what it says is in {log}.")
