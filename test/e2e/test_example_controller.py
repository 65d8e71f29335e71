"""The controller of the documentation runs as it stands there, against real servers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from kubernaut.audit import Client
from kubernaut.local import LocalCluster
from test.datastorage_service import DataStorageProcess
from test.kubernetes_cluster import new_namespace
from test.polling import wait_for
from test.unit.docs.pages import blocks, read

SOURCE = blocks(read("how-to/write-a-controller"), "python")[0]


@contextmanager
def greeter(cluster: LocalCluster, service: DataStorageProcess, home: Path) -> Iterator[Any]:
    """The example as a process of its own; it is killed at the end, as a node failure would."""
    script = home / "greeter.py"
    script.write_text(SOURCE)
    with (home / "greeter.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), service.url, str(home / "journals")],
            env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig_path)},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def config_map(cluster: LocalCluster, namespace: str, name: str) -> dict[str, Any]:
    answer = cluster.api("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.body
    return body


def test_the_example_controller_reconciles_and_leaves_a_trail(
    local_cluster: LocalCluster, service: DataStorageProcess, tmp_path: Path
) -> None:
    namespace = new_namespace(local_cluster)
    names = [f"{namespace}-{number}" for number in range(3)]
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for number, name in enumerate(names):
        meta = {"name": name, "labels": {"example.dev/greet": f"world{number}"}}
        assert local_cluster.api("POST", path, {"metadata": meta}).status == 201

    def greeted(name: str, whom: str) -> bool:
        data = config_map(local_cluster, namespace, name).get("data") or {}
        return bool(data.get("greeting") == f"Hello, {whom}!")

    with Client(service.url) as client:

        def trail(name: str) -> list[str]:
            found = client.query(correlation_id=f"greet-{name}", order="asc")
            return [event.data["greeting"] for event in found]

        with greeter(local_cluster, service, tmp_path):
            for number, name in enumerate(names):
                wait_for(partial(greeted, name, f"world{number}"), 60, "a greeting")
                wait_for(partial(trail, name), 60, "an event")
        # It is away while somebody undoes its work, and comes back.
        body = {"data": {"greeting": "Go away!"}}
        kind = "application/merge-patch+json"
        patched = local_cluster.api("PATCH", f"{path}/{names[0]}", body, content_type=kind)
        assert patched.status == 200, patched
        with greeter(local_cluster, service, tmp_path):
            wait_for(lambda: greeted(names[0], "world0"), 60, "the greeting again")
        for number, name in enumerate(names):
            assert trail(name) == [f"Hello, world{number}!"], "recorded again, stored once"
            assert client.verify_chain(f"greet-{name}").is_valid
    lines = [line for line in SOURCE.splitlines() if line.strip()]
    assert len(lines) <= 45
