"""The pinned module, the key of the cache, and the addresses of releases."""

from pathlib import Path

import pytest

from kubernaut.local import LocalServerError
from kubernaut.local.cluster._module import (
    ETCD,
    KUBERNETES,
    KWOK,
    PROGRAMS,
    TEKTON,
    Module,
    architecture,
    link_flags,
)
from kubernaut.local.cluster._releases import release_of

TINY = {"go.mod": "module tiny.test\n\ngo 1.24\n", "go.sum": "", "main.go": "package main\n"}


def written(directory: Path, **changes: str) -> Module:
    directory.mkdir()
    for name, text in (
        TINY | {key.replace("_", "."): text for key, text in changes.items()}
    ).items():
        (directory / name).write_text(text)
    return Module(directory)


def test_the_module_pins_what_is_documented() -> None:
    module = Module.ours()
    assert module.version(KUBERNETES) == "1.37.2"
    assert module.version(ETCD) == "3.7.0"
    assert module.version(KWOK) == "0.8.0"
    assert module.version(TEKTON) == "1.15.0"
    assert module.version("not.required/at/all") == ""
    assert module.key.startswith(f"1.37.2-linux-{architecture()}-")


def test_every_package_of_a_program_is_in_the_module() -> None:
    module = Module.ours()
    tools = (module.directory / "tools.go").read_text()
    for program in PROGRAMS:
        if program.package.startswith("./"):
            assert (module.directory / program.package / "main.go").exists()
        else:
            assert f'_ "{program.package}"' in tools


@pytest.mark.parametrize("changed", ["go_mod", "go_sum", "main_go"])
def test_the_key_changes_with_every_file(changed: str, tmp_path: Path) -> None:
    before = written(tmp_path / "before")
    same = written(tmp_path / "same")
    after = written(tmp_path / "after", **{changed: TINY[changed.replace("_", ".")] + "\n// x\n"})
    assert before.key == same.key
    assert before.key != after.key


def test_a_folder_without_a_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match=r"the Go module in .* cannot be read"):
        Module(tmp_path)
    with pytest.raises(LocalServerError, match="names no version of Go"):
        written(tmp_path / "module", go_mod="module tiny.test\n")


def test_the_linker_sets_the_version_that_the_api_server_shows() -> None:
    flags = link_flags(Module.ours())
    assert "-X=k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "-X=k8s.io/component-base/version.gitMinor=37" in flags


def test_releases_are_those_of_the_pinned_versions() -> None:
    module, arch = Module.ours(), architecture()
    found = {program.name: release_of(program, module) for program in PROGRAMS}
    apiserver, etcd, kwok = (found[name] for name in ("kube-apiserver", "etcd", "kwok"))
    assert apiserver is not None
    assert apiserver.url == f"dl.k8s.io/release/v1.37.2/bin/linux/{arch}/kube-apiserver"
    assert apiserver.checksums == f"{apiserver.url}.sha256"
    assert etcd is not None
    assert etcd.url.endswith(f"/etcd/releases/download/v3.7.0/etcd-v3.7.0-linux-{arch}.tar.gz")
    assert etcd.member == f"etcd-v3.7.0-linux-{arch}/etcd"
    assert kwok is not None
    assert kwok.url.endswith(f"/kwok/releases/download/v0.8.0/kwok-linux-{arch}")
    assert found["tekton"] is found["registry"] is None
