"""DataStorage: an HTTP service that keeps audit events in a tamper-evident chain."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernaut.datastorage.schema import (
        SchemaError,
        check_schema,
        create_service_login,
        migrate,
        migration_sql,
    )
    from kubernaut.datastorage.server import StartupError, serve
    from kubernaut.datastorage.settings import Settings, SettingsError, load_settings

_HOMES = {
    "SchemaError": "schema",
    "Settings": "settings",
    "SettingsError": "settings",
    "StartupError": "server",
    "check_schema": "schema",
    "create_service_login": "schema",
    "load_settings": "settings",
    "migrate": "schema",
    "migration_sql": "schema",
    "serve": "server",
}

__all__ = [
    "SchemaError",
    "Settings",
    "SettingsError",
    "StartupError",
    "check_schema",
    "create_service_login",
    "load_settings",
    "migrate",
    "migration_sql",
    "serve",
]


def __getattr__(name: str) -> Any:
    # Each name brings what it needs and no more: a migration needs no web server.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
