"""Connections to PostgreSQL: how they are set up, and what their errors mean to a client."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

from kubernaut.datastorage.problems import Problem

SERVICE_ROLE: Final = "kubernaut_datastorage"
RETRY_AFTER_SECONDS: Final = 2

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:  # Generic for the type checker only.
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool


class Outage(NamedTuple):
    """Why the database cannot be used: a word for machines and a sentence for people."""

    state: str
    reason: str


# What an operator can act on, by SQLSTATE, most specific first (PostgreSQL manual, appendix A).
# The server's own message is not repeated: it can hold names that are not the client's business.
_OUTAGES: Final[Mapping[str, Outage]] = {
    "53100": Outage("disk_full", "the database's disk is full"),
    "53200": Outage("out_of_memory", "the database is out of memory"),
    "53300": Outage("too_many_connections", "the database accepts no more connections"),
    "25006": Outage("read_only", "the database is read-only"),
    "57P01": Outage("disconnected", "the database ended the connection"),
    "57P02": Outage("disconnected", "the database crashed and is recovering"),
    "57P03": Outage("starting", "the database is starting up or shutting down"),
    "57014": Outage("timeout", "the statement ran into its time limit"),
    "55P03": Outage("timeout", "a lock was not had within its time limit"),
    "28000": Outage("refused", "the database refuses this service's login"),
    "28P01": Outage("refused", "the database refuses this service's password"),
    "3D000": Outage("missing", "the database does not exist"),
    "42501": Outage("refused", "the service's database role lacks a privilege"),
    "42P01": Outage("schema", "the schema is missing; run: kubernaut datastorage migrate"),
    "42883": Outage("schema", "the schema is missing; run: kubernaut datastorage migrate"),
    "53": Outage("exhausted", "the database lacks resources"),
    "58": Outage("disk_error", "the database reports a system error"),
    "08": Outage("disconnected", "the connection to the database was lost"),
    "57": Outage("disconnected", "the database ended the connection"),
    "XX": Outage("internal", "the database reports an internal error"),
    "40": Outage("contention", "the transaction could not be completed against others"),
}
_DISCONNECTED: Final = Outage("unreachable", "the database cannot be reached")


def outage(error: BaseException) -> Outage | None:
    """What an error says about the database, or None if it is about the data or a defect."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return _OUTAGES.get(state) or _OUTAGES.get(state[:2])
    if isinstance(error, TimeoutError):
        return Outage("timeout", "the database did not answer in time")
    if isinstance(error, asyncpg.InterfaceError | OSError | ssl.SSLError | EOFError):
        return _DISCONNECTED
    if isinstance(error, asyncpg.InternalClientError):
        # Of an idle connection that the database has ended: asyncpg has read the reason, but not
        # yet the end, and takes no statement.
        return _DISCONNECTED
    return None


def unavailable(found: Outage, *, wrote: bool = True) -> Problem:
    """The 503 that tells a client to try again; `wrote` if its request had something to store."""
    slug = "database-timeout" if found.state == "timeout" else "database-unavailable"
    what = "nothing of this request is known to be stored, send it again" if wrote else "ask again"
    return Problem(
        slug,
        f"{found.reason}; {what}",
        retry_after=RETRY_AFTER_SECONDS,
        extensions={"database": found.state},
    )


class ConnectionSettings(NamedTuple):
    """How to connect; times in seconds."""

    url: str
    role: str
    connect_timeout: float
    statement_timeout: float
    lock_timeout: float

    @property
    def command_timeout(self) -> float:
        """How long to wait for an answer; longer than the server allows itself."""
        return self.statement_timeout + 2

    def session(self) -> dict[str, str]:
        """The server settings of every session."""
        return {
            "application_name": "kubernaut-datastorage",
            "statement_timeout": str(int(self.statement_timeout * 1000)),
            "lock_timeout": str(int(self.lock_timeout * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            "timezone": "UTC",
            "search_path": "public",
        }


async def prepare_connection(connection: Connection, role: str) -> None:
    """Work as the service's role, and take JSON columns as the bytes they are."""
    if role:
        await connection.execute(f'SET ROLE "{role.replace(chr(34), chr(34) * 2)}"')
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=str.encode, decoder=bytes, format="binary"
    )


async def connect_writer(settings: ConnectionSettings) -> Connection:
    """A connection for one writer.

    The planner may use indexes only: a plan made while a table was empty would otherwise read
    the whole of it later. A commit waits for the disk, whatever the server's default is.
    """
    connection: Connection = await asyncpg.connect(
        settings.url,
        timeout=settings.connect_timeout,
        command_timeout=settings.command_timeout,
        server_settings=settings.session()
        | {
            "synchronous_commit": "on",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
        },
    )
    try:
        await prepare_connection(connection, settings.role)
    except BaseException:
        connection.terminate()
        raise
    return connection


class Readers:
    """A pool for reading that comes to life, and back to life, when the database does."""

    def __init__(self, settings: ConnectionSettings, size: int) -> None:
        self._settings = settings
        self._size = size
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    async def pool(self) -> Pool:
        """The open pool.

        Raises:
            OSError, asyncpg.PostgresError: the database cannot be reached.
        """
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._settings.url,
                    min_size=0,
                    max_size=self._size,
                    timeout=self._settings.connect_timeout,
                    max_inactive_connection_lifetime=300,
                    init=self._prepare,
                    command_timeout=self._settings.command_timeout,
                    server_settings=self._settings.session(),
                )
        assert self._pool is not None  # noqa: S101  (for the type checker)
        return self._pool

    async def close(self) -> None:
        """Close every connection, the busy ones by force."""
        if self._pool is not None:
            self._pool.terminate()

    async def _prepare(self, connection: Any) -> None:
        await prepare_connection(connection, self._settings.role)
