"""The database's schema: made and brought up to date by Alembic, from plain SQL revisions."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import alembic.command
import psycopg
import sqlalchemy
from alembic import context, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql as compose

from kubernaut.datastorage.database import SERVICE_ROLE

_PAUSE_SECONDS: Final = 0.25
_LOCK: Final = 0x6B75_6265_7261  # An arbitrary number that means "migration of this schema".


class SchemaError(Exception):
    """The database's schema cannot be used or made; one line says why."""


class UnreachableError(SchemaError):
    """The database takes no connection, which may pass; one line says why."""


class MigrationNeededError(SchemaError):
    """The schema is missing or older than this version, until somebody migrates it."""


def _scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("kubernaut.datastorage") / "migrations"))
    return config


def newest_revision() -> str:
    """The revision that this version of the service needs."""
    head = ScriptDirectory.from_config(_scripts()).get_current_head()
    assert head is not None  # noqa: S101  (the package ships its revisions)
    return head


def run_script(path: Path) -> None:
    """Run a revision's SQL file, or print it where Alembic is asked for the SQL."""
    script = path.read_text(encoding="utf-8")
    if context.is_offline_mode():
        # As it is: a statement passed through SQLAlchemy would come out with each "%" doubled.
        op.get_context().impl.static_output(script)
        return
    # As one script, without parameters: the driver then sends it as it is.
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql(script)


def _refuse_newer(current: str | None, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaError(
            f"the database has schema {current}, newer than this version knows"
            f" ({scripts.get_current_head()}); use a newer kubernaut"
        )


def migrate(url: str, *, wait: float = 0) -> str:
    """Make the database if it is missing, then bring its schema up to date.

    Several may run at once: one works, the others wait. Going back is refused, because it would
    delete the trail.

    Args:
        url: `postgresql://` address, with the login of the schema's owner.
        wait: seconds to try again for, while the database takes no connection.

    Returns:
        One line that says what was done.

    Raises:
        SchemaError: no connection, no privilege, or a schema newer than this version.
    """
    _wait_for_database(url, wait)
    config = _scripts()
    scripts = ScriptDirectory.from_config(config)
    with _engine(url) as engine, engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        before = MigrationContext.configure(connection).get_current_revision()
        _refuse_newer(before, scripts)
        connection.commit()
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
        connection.commit()
        connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()
    head = scripts.get_current_head()
    if before == head:
        return f"the schema is up to date ({head})"
    return f"migrated the schema from {before or 'nothing'} to {head}"


def migration_sql() -> str:
    """The SQL of all revisions, for an administrator to read and run."""
    output = io.StringIO()
    config = _scripts()
    config.output_buffer = output
    with redirect_stdout(output):
        alembic.command.upgrade(config, "head", sql=True)
    return output.getvalue()


def check_schema(url: str) -> None:
    """Make sure that the schema is the one this version needs.

    Raises:
        MigrationNeededError: it is missing or older.
        SchemaError: it is newer.
        psycopg.OperationalError: the database cannot be reached.
    """
    scripts = ScriptDirectory.from_config(_scripts())
    with psycopg.connect(_plain(url), autocommit=True, connect_timeout=5) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            row = None
    current = row[0] if row else None
    _refuse_newer(current, scripts)
    if current != scripts.get_current_head():
        raise MigrationNeededError(
            f"the database has schema {current or 'none'}, needed is"
            f" {scripts.get_current_head()}; run: kubernaut datastorage migrate"
        )


def create_service_login(url: str, login: str, password: str) -> None:
    """Make, or bring up to date, a login that may do what the service must and nothing else.

    Raises:
        SchemaError: no connection or no privilege.
    """
    try:
        with psycopg.connect(_plain(url), autocommit=True, connect_timeout=10) as connection:
            exists = connection.execute(
                "SELECT FROM pg_roles WHERE rolname = %s", [login]
            ).fetchone()
            verb = "ALTER" if exists is not None else "CREATE"
            connection.execute(
                compose.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    compose.SQL(verb), compose.Identifier(login), compose.Literal(password)
                )
            )
            connection.execute(
                compose.SQL("GRANT {} TO {}").format(
                    compose.Identifier(SERVICE_ROLE), compose.Identifier(login)
                )
            )
    except psycopg.Error as error:
        raise SchemaError(f"cannot make the service's login: {_reason(error)}") from None


def _plain(url: str) -> str:
    return url.replace("postgres://", "postgresql://", 1)


def _reason(error: BaseException) -> str:
    """A driver's message in one line; it names hosts and users, never passwords."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return " ".join(str(cause).split()) or type(cause).__name__


@contextmanager
def _engine(url: str) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(_plain(url), connect_timeout=10),
        poolclass=sqlalchemy.NullPool,
    )
    try:
        yield engine
    except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as error:
        raise SchemaError(f"cannot migrate the database: {_reason(error)}") from None
    finally:
        engine.dispose()


def _wait_for_database(url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _ensure_database(url)
        except UnreachableError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _ensure_database(url: str) -> None:
    """Create the database that the address names, if the server has none of that name."""
    try:
        parts: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(_plain(url))
    except psycopg.ProgrammingError as error:
        raise SchemaError(f"the database address is wrong: {_reason(error)}") from None
    name = parts.get("dbname") or parts.get("user")
    try:
        psycopg.connect(_plain(url), connect_timeout=10).close()
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error) or "database" not in str(error):
            raise UnreachableError(f"cannot reach the database: {_reason(error)}") from None
    else:
        return
    try:
        with psycopg.connect(
            _plain(url), dbname="postgres", autocommit=True, connect_timeout=10
        ) as connection:
            connection.execute(
                compose.SQL("CREATE DATABASE {}").format(compose.Identifier(str(name)))
            )
    except psycopg.errors.DuplicateDatabase:
        pass  # Somebody else was faster.
    except psycopg.Error as error:
        raise SchemaError(f"cannot create the database {name!r}: {_reason(error)}") from None
