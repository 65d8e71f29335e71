"""Servers for one machine, for `make run` and for tests: an embedded PostgreSQL.

Blocking, with the standard library alone. It imports nothing else of kubernaut and speaks no SQL.
"""

from kubernaut.local._errors import LocalServerError
from kubernaut.local._home import kept_password
from kubernaut.local._server import PostgresServer

__all__ = ["LocalServerError", "PostgresServer", "kept_password"]
