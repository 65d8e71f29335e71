"""The page of the local cluster names what the library has, and the versions that are pinned."""

import inspect

from kubernaut.local import LocalCluster
from kubernaut.local.cluster._module import ETCD, KUBERNETES, KWOK, PROGRAMS, TEKTON, Module
from kubernaut.local.cluster._parts import STAGES
from test.unit.docs.pages import codes, first_codes, prose, read, section, table

PAGE = read("how-to/local-cluster")
FAULTS = {"apiserver", "etcd", "controller_manager", "scheduler", "kwok", "tekton"}


def test_every_argument_has_its_row() -> None:
    arguments = set(inspect.signature(LocalCluster).parameters)
    assert arguments <= set(first_codes(table(PAGE, "Use it from Python")))


def test_every_name_is_on_the_page() -> None:
    names = {name for name in vars(LocalCluster) if not name.startswith("_")}
    named = {code.partition("(")[0] for code in codes(section(prose(PAGE), "Use it from Python"))}
    assert names - named - FAULTS - {"start", "stop", "home", "nodes"} == set()


def test_every_program_has_its_row_with_its_version() -> None:
    module = Module.ours()
    rows = {row[0]: row[1] for row in table(PAGE, "Where the programs come from")}
    assert set(rows) == {program.name for program in PROGRAMS}
    assert rows["etcd"] == module.version(ETCD)
    assert rows["kube-apiserver"] == module.version(KUBERNETES)
    assert rows["kwok"] == module.version(KWOK)
    assert rows["tekton"] == module.version(TEKTON)


def test_every_annotation_has_its_row() -> None:
    rows = " ".join(row[0] for row in table(PAGE, "Choose what a pod does"))
    for line in STAGES.read_text().splitlines():
        if line.startswith("#   simulation.kubernaut.ai/"):
            assert line.split()[1].rstrip(":") in rows


def test_go_is_the_one_that_the_module_asks_for() -> None:
    assert f"Go, {Module.ours().oldest_go} or\n   newer" in PAGE
