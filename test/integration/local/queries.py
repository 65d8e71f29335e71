"""Ask a local server, and the machine about its processes."""

from pathlib import Path
from typing import Any

import asyncpg

from kubernaut.local import PostgresServer
from kubernaut.local._processes import working_in
from test.polling import wait_for


async def ask(server: PostgresServer, query: str) -> Any:
    """The one value that a query returns."""
    connection = await asyncpg.connect(server.url(), timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def wait_until_nothing_runs_on(data: Path) -> None:
    """Return when no process works in a data directory any more."""
    wait_for(lambda: not working_in(data), 30, f"the end of all processes in {data}")
