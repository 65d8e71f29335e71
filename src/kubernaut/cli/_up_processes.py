"""DataStorage and the operator as processes of `kubernaut up`, which end when it does."""

import http.client
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from kubernaut.local.cluster import Component

_OK: Final = 200
_LINES: Final = 1000
_DATASTORAGE: Final = "KUBERNAUT_DATASTORAGE_"
_OPERATOR: Final = "KUBERNAUT_OPERATOR_"
_ANY_PORT: Final = "127.0.0.1:0"


def datastorage_process(home: Path, address: str, database_url: str, port: int | None) -> Component:
    """DataStorage; ready when it is healthy.

    Args:
        home: the home directory, for its log.
        address: where it will answer.
        database_url: its database.
        port: to listen on, where it is not the one of the environment.
    """
    environment = {f"{_DATASTORAGE}DATABASE__URL": database_url}
    if port is not None:
        environment[f"{_DATASTORAGE}SERVER__PORT"] = str(port)

    def ready() -> bool:
        return _answers(f"{address}/health")

    return _process("datastorage", "serve", home / "datastorage.log", ready, environment)


class OperatorProcess:
    """The operator; ready when it has listed what it watches.

    Args:
        home: the home directory, for its log and its journal.
        datastorage: the address of DataStorage.
        environment: settings; those of the user win over them, but for the connection.
    """

    def __init__(self, home: Path, datastorage: str, environment: Mapping[str, str]) -> None:
        kubeconfig = f"{_OPERATOR}KUBERNETES__KUBECONFIG"
        wanted = {
            f"{_OPERATOR}CONTROLLER__HEALTH_PROBE_ADDR": _ANY_PORT,
            f"{_OPERATOR}CONTROLLER__METRICS_ADDR": _ANY_PORT,
            f"{_OPERATOR}DATASTORAGE__JOURNAL_DIRECTORY": str(home / "operator-journal"),
            **environment,
        }
        own = {name: value for name, value in os.environ.items() if name.startswith(_OPERATOR)}
        fixed = {
            f"{_OPERATOR}DATASTORAGE__URL": datastorage,
            f"{_OPERATOR}LOGGING__FORMAT": "json",  # So that it can be told where it listens.
            kubeconfig: environment[kubeconfig],
        }
        self.component = _process(
            "operator", "run", home / "operator.log", self._is_ready, wanted | own | fixed
        )
        self.addresses: Mapping[str, str] = {}

    def _is_ready(self) -> bool:
        for line in self.component.log_tail(_LINES).splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("event") == "ready":
                names = ("health", "metrics")
                self.addresses = {name: str(entry[name]) for name in names if name in entry}
                return True
        return False


def _process(
    group: str,
    verb: str,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str],
) -> Component:
    """This command itself, as another process."""
    return Component(
        Path(sys.executable),
        name="DataStorage" if group == "datastorage" else f"the {group}",
        # -P: it starts in another directory, whose files are no modules of ours.
        arguments=["-P", "-m", "kubernaut", group, verb],
        log=log,
        ready=ready,
        environment=environment,
    )


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:  # It is http, and on this machine.
            return bool(answer.status == _OK)
    except (OSError, http.client.HTTPException):
        return False
