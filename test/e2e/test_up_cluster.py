"""`kubernaut up` as a whole: the cluster, the operator, the samples and their audit trails."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2
import psutil
import pytest

from kubernaut.local import LocalCluster
from kubernaut.local._port import free_port
from kubernaut.local._processes import working_in
from test.e2e.test_up import COMMAND, READY, environment
from test.kubernetes_cluster import StartCluster
from test.operator_process import install
from test.polling import wait_for

SECONDS: Final = 180
SAMPLES: Final = {
    "restart-checkout": "Completed",
    "scale-search": "Completed",
    "drain-worker-7": "Failed, TaskFailed: ",
    "restart-catalogue": "Failed, OOMKilled: ",
    "restart-payment": "Failed, ImagePullBackOff: ",
    "malformed-target": "Failed, ConfigurationError: ",
}
PROMISED_LOGS: Final = ("datastorage.log", "operator.log", "postgres.log")


class Up:
    """A running `kubernaut up`."""

    def __init__(
        self, home: Path, *options: str, given: str | None = None, **variables: str
    ) -> None:
        self.home = home
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.out = home.parent / f"{home.name}.out"
        self.err = home.parent / f"{home.name}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--port", str(self.port), *options],
                env=environment(KUBERNAUT_HOME=home, **variables),
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
        if given is not None and self.process.stdin is not None:
            self.process.stdin.write(given.encode())
            self.process.stdin.close()

    @property
    def said(self) -> str:
        return self.out.read_text()

    def wait_until(self, text: str) -> None:
        def has_said() -> bool:
            assert self.process.poll() is None, self.said + self.err.read_text()
            return text in self.said

        wait_for(has_said, SECONDS, f"{text!r} from kubernaut up")

    def end_with(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def wfe(self, *arguments: str) -> str:
        """What a `kubernaut wfe` says that finds everything by itself."""
        done = subprocess.run(
            [*COMMAND, "wfe", *arguments],
            env=environment(KUBERNAUT_HOME=self.home, KUBERNAUT_AUDIT_SERVER=self.address),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done
        return done.stdout


@contextmanager
def up(home: Path, *options: str, given: str | None = None, **variables: str) -> Iterator[Up]:
    """Whatever the test does, it ends."""
    running = Up(home, *options, given=given, **variables)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end_with(signal.SIGINT)


def processes_of(home: Path) -> Sequence[str]:
    """Everything that runs for a home directory."""
    found = [f"postgres {pid}" for pid in working_in(home / "postgres-data")]
    for process in psutil.process_iter():
        try:
            of_home = process.environ().get("KUBERNAUT_HOME") == str(home)
            if of_home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.name()} {process.pid}")
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return found


@pytest.fixture
def home(server_home: Path) -> Path:
    return server_home / "home"


def check_trails(said: str) -> None:
    """The samples ended as they should, and all their chains hold."""
    _, trails = said.split("Their audit trails, from DataStorage:")
    for name, outcome in SAMPLES.items():
        found = re.search(
            rf"^{name}: {outcome}.*\n(?:  .*\n)*?  chain verified: ", trails, re.MULTILINE
        )
        assert found, trails
    assert trails.count("chain verified: ") == len(SAMPLES)
    assert "BROKEN" not in trails
    assert "not complete yet" not in trails


def test_the_samples_run_and_leave_verified_trails_and_a_restart_shows_them(home: Path) -> None:
    with up(home) as first:
        first.wait_until(READY)
        check_trails(first.said)
        for line in ("restart-checkout  Running as wfe-", "restart-checkout  Completed in "):
            assert line in first.said
        assert "they are\n            simulated by kwok" in first.said
        for name in PROMISED_LOGS:
            assert f" {home / name} (" in first.said
            assert (home / name).stat().st_size > 0
        found = re.search(r"http://\S+/readyz", first.said)
        assert found
        assert httpx2.get(found[0], trust_env=False).status_code == 200
        assert f"  export KUBECONFIG={home}/cluster/kubeconfig\n" in first.said
        listed = first.wfe("list")
        assert all(name in listed for name in SAMPLES)
        assert "Exit code:      1" in first.wfe("describe", "drain-worker-7")
        assert "chain verified: 4 events" in first.wfe("trail", "restart-checkout")
        uids = re.findall(r"uid: .*", first.wfe("list", "-o", "yaml"))
        assert processes_of(home)
        assert first.end_with(signal.SIGINT) == 0
        assert first.said.endswith("stopped\n")
        assert first.err.read_text() == ""
    assert processes_of(home) == []
    with up(home) as again:
        again.wait_until(READY)
        check_trails(again.said)
        assert "restart-checkout  Running" not in again.said  # It has ended in the first run.
        assert re.findall(r"uid: .*", again.wfe("list", "-o", "yaml")) == uids
        again.end_with(signal.SIGKILL)
    wait_for(lambda: not processes_of(home), 30, "the end of everything after SIGKILL")


@pytest.mark.parametrize("moment", ["starting a cluster", "Running the samples:"])
def test_a_signal_while_it_starts_stops_everything(moment: str, home: Path) -> None:
    with up(home) as running:
        running.wait_until(moment)
        assert running.end_with(signal.SIGTERM) == 0
        assert running.said.endswith("stopped\n")
        assert running.err.read_text() == ""
    assert processes_of(home) == []


def test_on_a_terminal_a_table_shows_the_samples_as_they_are(home: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 160))
    running = subprocess.Popen(
        [*COMMAND, "up", "--port", str(free_port())],
        env=environment(KUBERNAUT_HOME=home, TERM="xterm-256color"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        # What is on the terminal has to be read, or the command waits.
        while READY.encode() not in seen and select.select([ours], [], [], SECONDS)[0]:
            seen += os.read(ours, 65536)
    finally:
        running.send_signal(signal.SIGINT)
        with suppress(OSError):  # The other end is closed.
            while os.read(ours, 65536):
                pass
        code = running.wait(60)
        os.close(ours)
    assert code == 0
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    shown, trails = said.split("Their audit trails, from DataStorage:")
    assert re.search(r"restart-checkout +Running +ExecutionCreated", shown)
    last = shown[shown.rindex("NAME ") :]
    for name, outcome in SAMPLES.items():
        phase, _, reason = outcome.partition(", ")
        assert re.search(rf"{name} +{phase} .*{reason.strip()}", last), last
    assert trails.count("chain verified: ") == len(SAMPLES)
    assert processes_of(home) == []


def test_what_ends_by_itself_ends_the_command_in_one_line(home: Path) -> None:
    with up(home, "--no-samples") as running:
        running.wait_until(READY)
        assert "Their audit trails" not in running.said
        (operator,) = [
            process
            for process in psutil.Process(running.process.pid).children()
            if "operator" in process.cmdline()
        ]
        operator.kill()
        assert running.process.wait(60) == 1
        (line,) = running.err.read_text().splitlines()
        assert line.startswith(f"kubernaut: the operator has ended; its log {home}/operator.log")
        assert "stopped" not in running.said
    assert processes_of(home) == []


def test_a_cluster_that_cannot_start_ends_the_command(home: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with up(home, KUBEBUILDER_ASSETS=missing) as running:
        assert running.process.wait(60) == 1
        assert running.err.read_text() == (
            f"kubernaut: KUBEBUILDER_ASSETS names {missing}, which is not a directory\n"
        )
    assert processes_of(home) == []


@pytest.fixture
def named(start_cluster: StartCluster) -> LocalCluster:
    """A cluster as somebody has it, without our kind."""
    return start_cluster(controller_manager=False, scheduler=False, kwok=False)


def has_our_kind(cluster: LocalCluster) -> bool:
    return cluster.api("GET", "/apis/kubernaut.ai/v1alpha1").status == 200


def test_in_a_cluster_of_somebody_only_our_kind_is_installed(
    named: LocalCluster, home: Path
) -> None:
    variables = {
        "KUBERNAUT_USE_KUBECONFIG": "1",
        "KUBECONFIG": str(named.kubeconfig_path),
    }
    for given, line in (
        (None, "nobody is there to answer; --yes says yes. Nothing was changed"),
        ("n\n", f"nothing was changed in {named.url}"),
    ):
        with up(home, given=given, **variables) as refused:
            assert refused.process.wait(60) == 1
            assert refused.err.read_text() == f"kubernaut: {line}\n"
            question = (
                "Install the custom resource definition workflowexecutions.kubernaut.ai in the"
                f" cluster {named.url}? [y/N] "
            )
            assert refused.said.startswith(question)
        assert not has_our_kind(named)
        assert not home.exists()
    # The operator needs its namespaces, which are not ours to make there.
    with up(home, "--yes", **variables) as lacking:
        assert lacking.process.wait(90) == 1
        assert "the execution namespace kubernaut-workflows does not exist" in (
            lacking.err.read_text()
        )
        assert has_our_kind(named)
    assert named.api("GET", "/api/v1/namespaces/kubernaut-workflows").status == 404
    install(named)
    with up(home, given="y\n", **variables) as running:
        running.wait_until(READY)
        assert f"cluster     {named.url}\n" in running.said
        assert "Their audit trails" not in running.said
        answer = named.api("GET", "/apis/kubernaut.ai/v1alpha1/workflowexecutions")
        assert answer.body["items"] == []
        assert running.end_with(signal.SIGTERM) == 0
    assert processes_of(home) == []
    assert named.apiserver.running


def test_without_a_kubeconfig_nothing_starts(home: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name == "KUBECONFIG"}
    assert not variables, "KUBECONFIG is set where this test runs: unset it"
    with up(home, "--use-kubeconfig") as refused:
        assert refused.process.wait(60) == 1
        assert refused.err.read_text() == (
            "kubernaut: KUBECONFIG is not set: it has to name the cluster to use\n"
        )
    assert not home.exists()
