"""`kubernaut local cluster`, as somebody at a terminal uses it."""

import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubernaut.local._processes import alive
from kubernaut.local.cluster import RunningCluster, holder_of
from test.polling import wait_for

COMMAND = [sys.executable, "-m", "kubernaut", "local", "cluster"]


def run(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "KUBERNAUT_HOME": str(home)}
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home directory whose cluster is stopped afterwards."""
    yield tmp_path / "home"
    run("down", home=tmp_path / "home")


def test_detached_it_goes_on_until_it_is_told(home: Path) -> None:
    up = run("up", "--detach", "--bare", home=home)
    assert up.returncode == 0, up
    running = RunningCluster.of(home / "cluster")
    assert running is not None
    assert f"Ready: {running.url}" in up.stdout

    status = run("status", home=home)
    assert status.returncode == 0
    assert running.url in status.stdout
    assert [line.split()[0] for line in status.stdout.splitlines() if "runs" in line] == [
        "etcd",
        "kube-apiserver",
    ]

    kubeconfig = run("kubeconfig", home=home).stdout.strip()
    assert Path(kubeconfig) == home / "cluster" / "kubeconfig"
    shown = run("kubeconfig", "--show", home=home).stdout
    assert shown == Path(kubeconfig).read_text()
    assert running.url in shown

    again = run("up", "--detach", home=home)
    assert again.returncode == 1
    assert again.stderr == (
        f"kubernaut: {home}/cluster is in use by the cluster of process {running.owner}; stop "
        "that first, or use another home directory\n"
    )

    down = run("down", home=home)
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    assert not [pid for pid in running.components.values() if alive(pid)]
    assert holder_of(home / "cluster") is None


def test_in_the_foreground_it_ends_with_a_signal(home: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "up", "--bare", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        running = wait_for(lambda: RunningCluster.of(home / "cluster"), 60, "the cluster")
        assert running is not None
        trusted = ssl.create_default_context(cafile=home / "cluster" / "certificates" / "ca.crt")
        ready = f"{running.url}/readyz"
        with urllib.request.urlopen(ready, context=trusted) as answer:  # noqa: S310  (it is https)
            assert answer.read() == b"ok"
        up.send_signal(signal.SIGINT)
        said, errors = up.communicate(timeout=30)
    assert (up.returncode, errors) == (0, "")
    assert f"Ready: {running.url}" in said
    assert said.endswith("stopped\n")
    assert not [pid for pid in running.components.values() if alive(pid)]


def test_a_program_that_ends_by_itself_ends_it(home: Path) -> None:
    assert run("up", "--detach", "--bare", home=home).returncode == 0
    running = RunningCluster.of(home / "cluster")
    assert running is not None
    os.kill(running.components["etcd"], signal.SIGKILL)
    wait_for(lambda: not alive(running.owner), 30, "the end of the command")
    last = (home / "cluster" / "up.log").read_text().splitlines()[-1]
    assert last.startswith("kubernaut: etcd has ended; its log ")
    assert not [pid for pid in running.components.values() if alive(pid)]


@pytest.mark.parametrize("command", ["status", "kubeconfig"])
def test_without_a_cluster_one_line_says_so(command: str, home: Path) -> None:
    said = run(command, home=home)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == f"kubernaut: no cluster is ready in {home}/cluster\n"


def test_down_without_a_cluster_is_no_failure(home: Path) -> None:
    said = run("down", home=home)
    assert (said.returncode, said.stdout) == (0, f"no cluster runs in {home}/cluster\n")


def test_a_failure_of_a_detached_start_is_one_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "missing"))
    for mode in ([], ["--detach"]):
        said = run("up", *mode, home=home)
        assert said.returncode == 1
        assert said.stderr.splitlines() == [
            f"kubernaut: KUBEBUILDER_ASSETS names {tmp_path}/missing, which is not a directory"
        ]


def test_options_that_contradict_each_other_are_refused(home: Path) -> None:
    said = run("up", "--bare", "--tekton", home=home)
    assert said.returncode == 2
    assert said.stderr == "kubernaut: --tekton needs what --bare leaves out\n"


def test_prepare_gets_the_programs_and_starts_nothing(home: Path) -> None:
    said = run("prepare", home=home)
    assert said.returncode == 0
    paths = [Path(line.split()[-1]) for line in said.stdout.splitlines()[-5:]]
    assert [path.name for path in paths] == [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    ]
    assert all(os.access(path, os.X_OK) for path in paths)
    assert not home.exists()
