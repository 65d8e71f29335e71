"""PostgreSQL for the benchmarks: a server, and databases of their own on it.

Only databases named `bench_<pid>_...` are made, and each is dropped again. A server given by its
address keeps the role `kubernaut_datastorage`, which the migration makes where it is missing.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.worker import say
from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer

_SHOWN: Final = (
    *("server_version", "fsync", "full_page_writes", "synchronous_commit", "shared_buffers"),
    *("max_wal_size", "wal_compression", "checkpoint_completion_target"),
)
_RELATION_BYTES: Final = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c
WHERE c.relname = ANY (ARRAY['audit_chain', 'chain_head'])
   OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_events'::regclass)
"""
_NUMBERS: Final = count(1)


class Database:
    """One database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def events(self) -> int:
        """How many events it holds; raises if chain and events differ in number."""
        (events,) = self._row("SELECT count(*) FROM audit_events")
        (links,) = self._row("SELECT count(*) FROM audit_chain")
        if events != links:
            raise RuntimeError(f"{events} events, but {links} chain rows")
        return int(events)

    def bytes(self) -> int:
        """Size of partitions, chain and heads, with indexes, TOAST and maps."""
        return int(self._row(_RELATION_BYTES)[0])

    def checkpoint(self) -> None:
        """Write out what is dirty, so that no earlier work is paid for later."""
        self._execute("CHECKPOINT")

    def settle(self) -> None:
        """Do now what autovacuum would do after a large load."""
        self._execute("VACUUM (FREEZE, ANALYZE)")
        self._execute("CHECKPOINT")

    def ensure_partition(self, day: date) -> None:
        """Make the partition of a day's month if it is missing."""
        self._execute(f"SELECT audit_ensure_partition('{day:%Y-%m-%d}')")

    def _execute(self, statement: Any) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def _row(self, statement: Any) -> tuple[Any, ...]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(statement).fetchone()
        if row is None:
            raise RuntimeError("the query gave no row")
        return row


class Databases:
    """A server's databases of this run.

    Args:
        url: the superuser's address of any database of the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._template = ""

    @contextmanager
    def template(self) -> Iterator[None]:
        """While it lasts, there is a migrated database that new ones are copies of."""
        name = self._name("template")
        self._template = name
        try:
            migrate(self._address(name))
            database = Database(self._address(name))
            today = datetime.now(UTC).date()
            for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
                database.ensure_partition(day)
            yield
        finally:
            self._drop(name)

    @contextmanager
    def fresh(self, purpose: str) -> Iterator[Database]:
        """A copy of the template, dropped afterwards."""
        name = self._name(purpose)
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(self._template)
            )
        )
        try:
            yield Database(self._address(name))
        finally:
            self._drop(name)

    def settings(self) -> dict[str, str]:
        """The server's version and what bears on its speed.

        Raises:
            SystemExit: it does not wait for the disk; its figures would mean nothing.
        """
        with psycopg.connect(self._url, autocommit=True) as connection:
            found = {}
            for name in _SHOWN:
                row = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
                found[name] = str(row[0]) if row else ""
        for name in ("fsync", "full_page_writes"):
            if found[name] != "on":
                raise SystemExit(f"PostgreSQL has {name}={found[name]}; it must be on")
        return found

    def backend_pid(self) -> int:
        """The process id of a connection's backend, a child of the server."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            return connection.info.backend_pid

    def _name(self, purpose: str) -> str:
        return f"bench_{os.getpid()}_{next(_NUMBERS)}_{purpose}"

    def _address(self, name: str) -> str:
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def _drop(self, name: str) -> None:
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def server(address: str | None, directory: Path) -> Iterator[Databases]:
    """A PostgreSQL server: the one at an address, else one of our own, removed afterwards.

    Args:
        address: the superuser's address of a database, or None.
        directory: where to put our own; on a disk, not in memory.
    """
    if address:
        yield Databases(address)
        return
    home = Path(tempfile.mkdtemp(prefix="kubernaut-bench-postgres-", dir=directory))
    home.chmod(0o755)  # As root, PostgreSQL runs as another user, which has to reach it.
    own = PostgresServer(home)
    try:
        own.start()
        say(f"PostgreSQL {own.version}, started for this run")
        yield Databases(own.url())
    finally:
        own.stop()
        shutil.rmtree(home)
        _remove_relocated(own)


def _remove_relocated(own: PostgresServer) -> None:
    if own.relocated:
        shutil.rmtree(own.data_directory.parent)
