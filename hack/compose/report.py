"""The commands of the report that started this project, as typed, and what each must show.

Whatever happens, nothing is left behind: no container, no network, no volume.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from types import FrameType
from typing import Final

from podman import BIN, ROOT, environment, fail, quiet, say

FOLDER: Final = ROOT / "test/integration/workflowexecution"
_COMPOSE: Final = "podman-compose -f podman-compose.test.yml"
_DATASTORAGE: Final = "workflowexecution_datastorage_1"
_POSTGRES: Final = "workflowexecution_postgres_1"
_PROJECT: Final = "label=com.docker.compose.project=workflowexecution"
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


def test(wheelhouse: str) -> None:
    """Run them all.

    Args:
        wheelhouse: the name of the image with the packages.
    """
    os.environ.update(environment(), KUBERNAUT_WHEELHOUSE=wheelhouse)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with _cleaned_up():
        _step("start", _start)
        _step("commands", _commands)
        _step("containers", _containers)
        _step("operator", _operator)
        _step("tests", _tests)
    _nothing_is_left()
    say("every command of the report does what it should")


def _start() -> None:
    _typed(f"{_COMPOSE} up -d")
    _until(lambda: _answer("http://localhost:18100/health"), "a healthy DataStorage")


def _commands() -> None:
    _typed("curl -sS http://localhost:18100/health", '{"status":"healthy","database":"connected"}')
    _typed(f"podman logs {_DATASTORAGE}", '"event": "serving"')
    _followed(f"podman logs {_DATASTORAGE} --follow", '"event": "serving"')
    for body in (_MINIMAL, _FULLER):
        _typed(f"{_BATCH}'{body}'", '"status":"created"', "HTTP 201")
    _in_a_terminal(_PSQL, [r"\dt", "SELECT * FROM audit_events LIMIT 1;", r"\q"], "workflow.started")
    _typed("curl -sS http://localhost:19100/metrics", "datastorage_audit_events_total")
    _typed(f"podman port {_POSTGRES}", "127.0.0.1:15443")


def _containers() -> None:
    """What the image promises, of the running one: user, rights, health, its end."""
    look = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.EffectiveCaps}}"
    _typed(f"podman inspect {_DATASTORAGE} --format '{look}'", "65532:65532 true []")
    _typed(f"podman healthcheck run {_DATASTORAGE}")
    _typed(f"podman exec {_DATASTORAGE} kubernaut --version", "kubernaut ")
    _typed(f"podman stop -t 60 {_DATASTORAGE}")
    _typed(f"podman inspect {_DATASTORAGE} --format 'ended with {{{{.State.ExitCode}}}}'", " 0")
    _typed(f"podman start {_DATASTORAGE}")
    _until(lambda: _answer("http://localhost:18100/health"), "DataStorage after a restart")


def _operator() -> None:
    """The operator's image, on a control plane of its own, with the rights that are shipped."""
    from kubernaut.local import LocalCluster  # noqa: PLC0415  (when it is its turn)
    from kubernaut.workflowexecution import crd  # noqa: PLC0415
    from test.operator_process import ACCOUNT, NAMESPACE, install  # noqa: PLC0415

    build = f"podman build --target operator --build-arg WHEELHOUSE=$KUBERNAUT_WHEELHOUSE -t {_OPERATOR}"
    _typed(f"{build} . >/dev/null", folder=ROOT)
    _typed(f"podman run --rm {_LOCKED} {_OPERATOR} operator crd", "workflowexecutions.kubernaut.ai")
    with LocalCluster(crds=[crd()], report=say) as cluster, tempfile.TemporaryDirectory() as folder:
        install(cluster)
        kubeconfig = Path(folder, "kubeconfig")
        shutil.copy(cluster.kubeconfig_for_service_account(NAMESPACE, ACCOUNT), kubeconfig)
        Path(folder).chmod(0o755)
        kubeconfig.chmod(0o444)
        prefix = "KUBERNAUT_OPERATOR_"
        _typed(
            f"podman run -d --name {_OPERATOR_CONTAINER} --network host {_LOCKED}"
            f" --tmpfs /var/lib/kubernaut:mode=1777 -v {kubeconfig}:/etc/kubernaut/kubeconfig:ro"
            f" -e {prefix}KUBERNETES__KUBECONFIG=/etc/kubernaut/kubeconfig"
            f" -e {prefix}DATASTORAGE__URL=http://127.0.0.1:18100 {_OPERATOR}"
        )
        _until(lambda: _answer("http://127.0.0.1:8081/readyz"), "a ready operator")
        _typed(f"podman healthcheck run {_OPERATOR_CONTAINER}")
        _typed(f"podman stop -t 60 {_OPERATOR_CONTAINER}")
        ended = f"podman inspect {_OPERATOR_CONTAINER} --format 'ended with {{{{.State.ExitCode}}}}'"
        _typed(ended, " 0")
        _typed(f"podman rm {_OPERATOR_CONTAINER}")


def _tests() -> None:
    _typed("make test-integration-workflowexecution", "the running stack", folder=ROOT)


def _nothing_is_left() -> None:
    for what in ("ps -aq", "network ls -q", "volume ls -q"):
        if left := quiet("podman", *what.split(), "--filter", _PROJECT):
            fail(f"left behind after down: podman {what}: {left}")


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
    quiet("podman", "rm", "--force", "--ignore", "--volumes", _OPERATOR_CONTAINER, check=False)
    quiet(*_COMPOSE.split(), "down", "--volumes", cwd=FOLDER, check=False)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _step(name: str, step: object) -> None:
    started = time.monotonic()
    step()  # type: ignore[operator]
    say(f"{name}: {(time.monotonic() - started) / 60:.1f} minutes")


def _typed(line: str, *expected: str, folder: Path = FOLDER) -> None:
    """Run a line as a shell does and show what it says; it must succeed and say what is expected."""
    print(f"\n$ {line}", flush=True)
    with subprocess.Popen(
        ["bash", "-c", line], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said = []
        for text in process.stdout or ():
            said.append(text)
            print(text, end="", flush=True)
    if process.returncode:
        fail(f"exit code {process.returncode}: {line}")
    for each in expected:
        if each not in "".join(said):
            fail(f"it does not say {each!r}: {line}")


def _followed(line: str, expected: str) -> None:
    """A line that goes on until it is stopped."""
    print(f"\n$ {line}", flush=True)
    process = subprocess.Popen(line.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _read_until(process.stdout.fileno() if process.stdout else -1, expected, line)
    finally:
        process.terminate()
        process.wait()


def _in_a_terminal(line: str, answers: list[str], expected: str) -> None:
    """A line that talks with a person, in a terminal that is wide enough for psql."""
    print(f"\n$ {line}", flush=True)
    terminal, inner = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 200, 2000, 0, 0))
    process = subprocess.Popen(
        line.split(), stdin=inner, stdout=inner, stderr=inner, start_new_session=True
    )
    os.close(inner)
    try:
        said = ""
        for answer in answers:
            said += _read_until(terminal, "kubernaut_datastorage=#", line)
            os.write(terminal, f"{answer}\n".encode())
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    for each in ("audit_events", "chain_head", expected):
        if each not in said:
            fail(f"it does not show {each!r}: {line}")
    if process.returncode:
        fail(f"exit code {process.returncode}: {line}")


def _read_until(descriptor: int, expected: str, line: str) -> str:
    said = ""
    deadline = time.monotonic() + 30
    while expected not in said:
        readable, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        text = os.read(descriptor, 65536).decode(errors="replace") if readable else ""
        if not text:
            fail(f"it does not say {expected!r}: {line}")
        sys.stdout.write(text)
        said += text
    return said


def _until(check: object, what: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not check():  # type: ignore[operator]
        if time.monotonic() > deadline:
            _typed(f"podman ps -a --filter {_PROJECT}; podman logs --tail 30 {_DATASTORAGE}")
            fail(f"{what}: not within {_READY_SECONDS:g} s")
        time.sleep(0.25)


def _answer(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=5) as answer:
        return bool(answer.status == 200)  # noqa: PLR2004  (HTTP)
    return False
