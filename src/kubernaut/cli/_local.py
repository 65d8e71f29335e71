"""`kubernaut local`: servers for this machine."""

import typer

from kubernaut.cli import _local_cluster

app = typer.Typer(no_args_is_help=True, help="Servers for this machine.")
app.add_typer(_local_cluster.app, name="cluster")
