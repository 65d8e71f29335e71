"""The server that an audit command asks: its options, and how a command ends without an answer."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from kubernaut.audit import Client, Endpoint, ServerProblemError, TransportError
from kubernaut.cli._failure import fail

NO_ANSWER: Final = 2
_BY_SIGNAL: Final = 128

DEFAULT_SERVER: Final = "http://localhost:18100"

Server = Annotated[
    str,
    typer.Option(envvar="KUBERNAUT_AUDIT_SERVER", metavar="URL", help="Address of DataStorage."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar="KUBERNAUT_AUDIT_TOKEN_FILE",
        metavar="FILE",
        help="A bearer token to send; read again when it changes.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        envvar="KUBERNAUT_AUDIT_CA_FILE",
        metavar="FILE",
        help="The certificates to trust, and no others (PEM).",
    ),
]

CorrelationId = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only events of this correlation.")
]
EventType = Annotated[str | None, typer.Option(metavar="TEXT", help="Only events of this type.")]
EventCategory = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only events of this category.")
]
EventOutcome = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only success, failure or pending.")
]
Severity = Annotated[str | None, typer.Option(metavar="TEXT", help="Only events so severe.")]
DetailKey = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A member of the payload; goes with --detail-value."),
]
DetailValue = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What that member must be, as text.")
]

SERVER_HELP: Final = """
The server can be given in the environment too:

\b
  KUBERNAUT_AUDIT_SERVER      as --server
  KUBERNAUT_AUDIT_TOKEN_FILE  as --token-file
  KUBERNAUT_AUDIT_CA_FILE     as --ca-file
"""


@contextmanager
def asking(
    server: str, token_file: Path | None, ca_file: Path | None, timeout_seconds: float = 30.0
) -> Iterator[Client]:
    """A client, and an end of the command in one line or none for what was foreseen."""
    try:
        endpoint = Endpoint(server, token_file, ca_file, timeout_seconds)
    except ValueError as error:
        fail(str(error), NO_ANSWER)
    try:
        with Client(endpoint) as client:
            yield client
            sys.stdout.flush()  # Here, so that a reader who has gone is met here.
    except TransportError as error:
        fail(f"no answer from {server}: {error}", NO_ANSWER)
    except ServerProblemError as error:
        fail(described(error, server), NO_ANSWER)
    except BrokenPipeError:
        # Who reads has seen enough. What is still buffered must not be written at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BY_SIGNAL + signal.SIGPIPE) from None
    except KeyboardInterrupt:
        raise typer.Exit(_BY_SIGNAL + signal.SIGINT) from None


def described(error: ServerProblemError, server: str) -> str:
    """An error answer in words."""
    detail = error.detail.strip() or "it gave no reason"
    return f"{server} answered {error.status}: {detail}"
