"""The commands of the report that started this project, as typed, and what each must show.

Whatever happens, nothing is left behind: no container, no network, no volume.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

import yaml
from podman import ROOT, environment, fail, quiet, say
from typed import conversation, followed, typed

_FOLDER: Final = ROOT / "test/integration/workflowexecution"
_COMPOSE: Final = "podman-compose -f podman-compose.test.yml"
_DATASTORAGE: Final = "workflowexecution_datastorage_1"
_POSTGRES: Final = "workflowexecution_postgres_1"
_PROJECT: Final = "label=com.docker.compose.project=workflowexecution"
_HEALTH: Final = "http://localhost:18100/health"
_BATCH: Final = (
    "curl -sS -w '\\nHTTP %{http_code}\\n' -X POST http://localhost:18100/api/v1/audit/events/batch"
    ' -H "Content-Type: application/json" -d '
)
_MINIMAL: Final = '[{"event_category":"workflow","event_action":"workflow.started"}]'
_FULLER: Final = """[{
    "event_category": "workflow",
    "event_action": "workflow.started",
    "event_outcome": "success",
    "resource_type": "WorkflowExecution",
    "correlation_id": "test-123"
  }]"""
_PSQL: Final = f"podman exec -it {_POSTGRES} psql -U postgres -d kubernaut_datastorage"
_LOCKED: Final = "--read-only --cap-drop=ALL --user 65532"
_OPERATOR: Final = "localhost/kubernaut/operator:test"
_OPERATOR_CONTAINER: Final = "kubernaut_operator_test"
_READY_SECONDS: Final = 120.0

_here: Final = partial(typed, folder=_FOLDER)
_at_root: Final = partial(typed, folder=ROOT)


def test(wheelhouse: str) -> None:
    """Run them all.

    Args:
        wheelhouse: the name of the image with the packages.
    """
    os.environ.update(environment(), KUBERNAUT_WHEELHOUSE=wheelhouse)
    # SIGINT as well: a shell starts what it puts into the background with that ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with _cleaned_up():
        for step in (_recognised, _start, _commands, _containers, _operator, _tests):
            started = time.monotonic()
            step()
            minutes = (time.monotonic() - started) / 60
            say(f"{step.__name__.strip('_')}: {minutes:.1f} minutes")
    _nothing_is_left()
    say("every command of the report does what it should")


def _recognised() -> None:
    """The tests know the stack by its labels, not by what listens where it would."""
    from test.compose_stack import running_stack  # noqa: PLC0415  (when it is its turn)

    with socket.create_server(("127.0.0.1", urlsplit(_HEALTH).port or 0)):
        if found := running_stack():
            fail(f"this is not the stack: {found.container} at {found.url}")


def _start() -> None:
    # `up` builds what is missing, not what is old.
    _here(f"{_COMPOSE} build datastorage >/dev/null")
    _here(f"{_COMPOSE} up -d")
    _until(lambda: _answers(_HEALTH), "a healthy DataStorage")


def _commands() -> None:
    _here(f"curl -sS {_HEALTH}", '{"status":"healthy","database":"connected"}')
    _here(f"podman logs {_DATASTORAGE}", '"event": "serving"')
    followed(f"podman logs --follow {_DATASTORAGE}", '"event": "serving"')
    for body in (_MINIMAL, _FULLER):
        _here(f"{_BATCH}'{body}'", '"status":"created"', "HTTP 201")
    statements = [r"\dt", "SELECT * FROM audit_events LIMIT 1;", r"\q"]
    shown = ("audit_events", "chain_head", "workflow.started")
    conversation(_PSQL, "kubernaut_datastorage=#", statements, *shown)
    metrics = "curl -sS http://localhost:19100/metrics"
    _here(f"{metrics} | grep audit_events_total", "datastorage_audit_events_total")
    _here(f"podman port {_POSTGRES}", "127.0.0.1:15443")


def _containers() -> None:
    """What the image promises, of the running one: user, rights, list of packages, health, end."""
    look = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.EffectiveCaps}}"
    _here(f"podman inspect {_DATASTORAGE} --format '{look}'", "65532:65532 true []")
    bill = "print(open('/opt/kubernaut/share/sbom.cdx.json').read())"
    _here(f'podman exec {_DATASTORAGE} python -c "{bill}" | grep purl | head -3', "pkg:pypi/")
    _here(f"podman healthcheck run {_DATASTORAGE}")
    _ends(_DATASTORAGE)
    _here(f"podman start {_DATASTORAGE}")
    _until(lambda: _answers(_HEALTH), "DataStorage after a restart")


def _ends(container: str) -> None:
    """SIGTERM, as process 1: an end in order, with exit code 0."""
    _here(f"podman stop -t 60 {container}")
    _here(f"podman inspect {container} --format 'exit code {{{{.State.ExitCode}}}}'", "code 0\n")


def _operator() -> None:
    """The operator's image, on a control plane of its own, with the rights that are shipped."""
    from kubernaut.local import LocalCluster  # noqa: PLC0415  (when it is its turn)
    from kubernaut.workflowexecution import crd  # noqa: PLC0415
    from test.operator_process import ACCOUNT, NAMESPACE, install  # noqa: PLC0415

    _at_root(
        "podman build --target operator --build-arg WHEELHOUSE=$KUBERNAUT_WHEELHOUSE"
        f" -t {_OPERATOR} . >/dev/null"
    )
    _here(
        f"podman run --rm {_LOCKED} {_OPERATOR} operator crd | grep kind:",
        "CustomResourceDefinition",
    )
    with LocalCluster(crds=[crd()], report=say) as cluster, tempfile.TemporaryDirectory() as folder:
        install(cluster)
        kubeconfig = Path(folder, "kubeconfig")
        of_account = cluster.kubeconfig_for_service_account(NAMESPACE, ACCOUNT)
        kubeconfig.write_text(_self_contained(of_account))
        Path(folder).chmod(0o755)
        kubeconfig.chmod(0o444)
        prefix = "KUBERNAUT_OPERATOR_"
        _here(
            f"podman run -d --name {_OPERATOR_CONTAINER} --network host {_LOCKED}"
            f" -v {_OPERATOR_CONTAINER}:/var/lib/kubernaut"
            f" -v {kubeconfig}:/etc/kubernaut/kubeconfig:ro"
            f" -e {prefix}KUBERNETES__KUBECONFIG=/etc/kubernaut/kubeconfig"
            f" -e {prefix}DATASTORAGE__URL=http://127.0.0.1:18100 {_OPERATOR}"
        )
        _until(
            lambda: _answers("http://127.0.0.1:8081/readyz"),
            "a ready operator",
            _OPERATOR_CONTAINER,
        )
        _here(f"podman healthcheck run {_OPERATOR_CONTAINER}")
        _ends(_OPERATOR_CONTAINER)


def _self_contained(kubeconfig: Path) -> str:
    """The file's text, with the certificate that it names."""
    content = yaml.safe_load(kubeconfig.read_text())
    for each in content["clusters"]:
        authority = Path(each["cluster"].pop("certificate-authority")).read_bytes()
        each["cluster"]["certificate-authority-data"] = base64.b64encode(authority).decode()
    return str(yaml.safe_dump(content))


def _tests() -> None:
    _at_root("make test-integration-workflowexecution", "DataStorage: the running stack")


@contextmanager
def _cleaned_up() -> Iterator[None]:
    """Without what an earlier run left, and without anything left."""
    _down()
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _down()


def _down() -> None:
    quiet("podman", "rm", "--force", "--ignore", _OPERATOR_CONTAINER, check=False)
    quiet("podman", "volume", "rm", "--force", _OPERATOR_CONTAINER, check=False)
    quiet(*_COMPOSE.split(), "down", "--volumes", cwd=_FOLDER, check=False)


def _nothing_is_left() -> None:
    for what in ("ps -aq", "network ls -q", "volume ls -q"):
        if left := quiet("podman", *what.split(), "--filter", _PROJECT):
            fail(f"left behind after down: podman {what}: {left}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _until(check: Callable[[], bool], what: str, *seen: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not check():
        if time.monotonic() > deadline:
            logs = "; ".join(f"podman logs --tail 20 {name}" for name in (_DATASTORAGE, *seen))
            _here(f"podman ps -a; {logs}")
            fail(f"{what}: not within {_READY_SECONDS:g} s")
        time.sleep(0.25)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=5) as answer:
        return bool(answer.status == 200)  # noqa: PLR2004  (HTTP)
    return False
