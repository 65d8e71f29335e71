"""Start, stop, faults, and what is left when the process that started a cluster dies."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kubernaut.local import LocalCluster, LocalServerError
from kubernaut.local._processes import alive
from kubernaut.local.cluster import Programs, RunningCluster, holder_of
from test.kubernetes_cluster import StartCluster
from test.polling import wait_for

BARE: dict[str, Any] = {"controller_manager": False, "scheduler": False, "kwok": False}
START = """
import sys
from pathlib import Path
from kubernaut.local import LocalCluster
cluster = LocalCluster(Path(sys.argv[1]))
cluster.start()
print(*(component.pid for component in cluster.components.values()), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_its_parent(ending: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START, tmp_path / "home"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 5
        assert all(alive(pid) for pid in pids)
        assert holder_of(tmp_path / "home") == parent.pid
        parent.send_signal(ending)
    wait_for(lambda: not [pid for pid in pids if alive(pid)], 10, "the end of all programs")
    assert holder_of(tmp_path / "home") is None
    assert RunningCluster.of(tmp_path / "home") is None


def test_a_start_with_programs_at_hand_is_fast(start_cluster: StartCluster) -> None:
    Programs().obtain(["etcd", "kube-apiserver"])
    begun = time.monotonic()
    cluster = start_cluster(**BARE)
    assert cluster.api("GET", "/readyz").status == 200
    # The goal is 8 s on an idle machine; this only shows that nothing was built.
    assert time.monotonic() - begun < 60
    home, pids = cluster.home, [one.pid for one in cluster.components.values()]
    begun = time.monotonic()
    cluster.stop()
    assert time.monotonic() - begun < 5
    assert not [pid for pid in pids if alive(pid)]
    assert not home.exists()


def test_a_kept_home_goes_on_where_it_stopped(tmp_path: Path, start_cluster: StartCluster) -> None:
    first = start_cluster(tmp_path / "home", **BARE)
    url, token = first.url, first.token
    path = "/api/v1/namespaces/default/configmaps"
    assert first.api("POST", path, {"metadata": {"name": "kept"}}).status == 201
    with pytest.raises(LocalServerError, match=f"in use by the cluster of process {os.getpid()}"):
        LocalCluster(tmp_path / "home", **BARE).start()
    with pytest.raises(LocalServerError, match=r"its cluster runs at https://127\.0\.0\.1:"):
        first.start()
    first.stop()
    second = start_cluster(tmp_path / "home", **BARE)
    assert (second.url, second.token) == (url, token)
    assert second.api_as(token=token)("GET", f"{path}/kept").status == 200


def test_neither_a_kill_nor_a_port_that_is_taken_loses_anything(
    tmp_path: Path, start_cluster: StartCluster
) -> None:
    first = start_cluster(tmp_path / "home", **BARE)
    path = "/api/v1/namespaces/default/configmaps"
    assert first.api("POST", path, {"metadata": {"name": "kept"}}).status == 201
    for component in first.components.values():
        component.kill()
    first.stop()
    with socket.create_server(("127.0.0.1", int(first.url.rpartition(":")[2]))):
        second = start_cluster(tmp_path / "home", **BARE)
        assert second.url != first.url
        assert second.api("GET", f"{path}/kept").status == 200
        assert second.url in second.kubeconfig_path.read_text()


def test_the_api_server_comes_back_on_its_port(start_cluster: StartCluster) -> None:
    cluster = start_cluster(**BARE)
    url = cluster.url
    cluster.apiserver.kill()
    assert not cluster.apiserver.running
    with pytest.raises(OSError, match="refused"):
        cluster.api("GET", "/readyz")
    with pytest.raises(LocalServerError, match="kube-apiserver does not run"):
        cluster.apiserver.pause()
    cluster.apiserver.start()
    assert cluster.api("GET", "/readyz").status == 200
    assert cluster.url == url


def test_a_paused_api_server_is_silent(start_cluster: StartCluster) -> None:
    cluster = start_cluster(**BARE)
    cluster.apiserver.pause()
    with pytest.raises(TimeoutError):
        cluster.api("GET", "/readyz", seconds=0.5)
    cluster.apiserver.resume()
    assert cluster.api("GET", "/readyz").status == 200


def test_a_watch_from_before_a_compaction_is_gone(start_cluster: StartCluster) -> None:
    # Without its cache of changes the API server asks etcd for those from before.
    cluster = start_cluster(**BARE, apiserver_flags=["--watch-cache=false"])
    path = "/api/v1/namespaces/default/configmaps"
    version = cluster.api("GET", path).body["metadata"]["resourceVersion"]
    for number in range(3):
        assert cluster.api("POST", path, {"metadata": {"name": f"c{number}"}}).status == 201
    assert cluster.compact_etcd() > int(version)
    answer = cluster.api("GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=5")
    assert answer.body["object"]["code"] == 410


def test_a_restarted_api_server_knows_nothing_from_before(start_cluster: StartCluster) -> None:
    cluster = start_cluster(**BARE)
    path = "/api/v1/namespaces/default/configmaps"
    version = cluster.api("GET", path).body["metadata"]["resourceVersion"]
    for number in range(3):
        assert cluster.api("POST", path, {"metadata": {"name": f"c{number}"}}).status == 201
    watch = f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=5"
    cluster.compact_etcd()
    cluster.apiserver.restart()
    assert cluster.api("GET", watch).body["object"]["code"] == 410


def test_flags_reach_the_api_server(start_cluster: StartCluster) -> None:
    flags = ["--max-requests-inflight=3", "--max-mutating-requests-inflight=2"]
    cluster = start_cluster(**BARE, apiserver_flags=flags)
    seats = re.search(
        r'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} (\d+)',
        cluster.api("GET", "/metrics").body,
    )
    assert seats is not None
    assert int(seats[1]) < 5  # Of its share of 600 it would have over 200.


def test_a_program_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path / "home", **BARE, apiserver_flags=["--no-such-flag"])
    with pytest.raises(
        LocalServerError, match=r"kube-apiserver ended with exit code 1 .*unknown flag"
    ):
        cluster.start()
    assert holder_of(tmp_path / "home") is None
    assert "unknown flag" in (tmp_path / "home" / "logs" / "kube-apiserver.log").read_text()


def test_what_was_not_started_says_so() -> None:
    cluster = LocalCluster(**BARE)
    for look in (lambda: cluster.url, lambda: cluster.home, lambda: cluster.api):
        with pytest.raises(LocalServerError, match="has not been started"):
            look()
    with pytest.raises(LocalServerError, match="Tekton needs"):
        LocalCluster(tekton=True, kwok=False)


def test_a_part_that_was_left_out_is_named(start_cluster: StartCluster) -> None:
    cluster = start_cluster(**BARE)
    with pytest.raises(LocalServerError, match="kwok does not belong to this cluster"):
        _ = cluster.kwok
    assert list(cluster.components) == ["etcd", "kube-apiserver"]
