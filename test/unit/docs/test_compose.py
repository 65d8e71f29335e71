"""The compose file, Containerfile and base images are what the pages say, and fit together."""

import re
import tomllib
from typing import Any, Final

import pytest
import yaml

from test.unit.docs.pages import ROOT, blocks, codes, read, section, table

PAGE: Final = read("how-to/compose")
FOLDER: Final = ROOT / "test/integration/workflowexecution"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "podman-compose.test.yml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
CONTAINERFILE: Final = (ROOT / "Containerfile").read_text()
LOCKED: Final = ("datastorage", "migrate")


def stage(name: str) -> str:
    """The instructions of one stage of Containerfile."""
    match = re.search(
        rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", CONTAINERFILE, re.MULTILINE | re.DOTALL
    )
    assert match, name
    return match[1]


def published(service: str) -> list[str]:
    return [port.rpartition(":")[0] for port in SERVICES[service].get("ports", [])]


def test_the_page_has_every_service_with_its_container_and_ports() -> None:
    listed = {codes(row[0])[0]: row for row in table(PAGE, "Start the stack")}
    assert set(listed) == set(SERVICES)
    for name, row in listed.items():
        assert codes(row[1]) == [SERVICES[name]["container_name"]]
        assert codes(row[2]) == published(name)


def test_the_stack_is_that_of_the_report() -> None:
    assert COMPOSE["name"] == "workflowexecution"
    names = {name: service["container_name"] for name, service in SERVICES.items()}
    assert names == {name: f"workflowexecution_{name}_1" for name in SERVICES}
    assert SERVICES["postgres"]["ports"] == ["127.0.0.1:15443:5432"]
    assert SERVICES["datastorage"]["ports"] == ["127.0.0.1:18100:8080", "127.0.0.1:19100:9090"]
    database = SERVICES["postgres"]["environment"]
    assert database["POSTGRES_USER"] == "postgres"
    assert database["POSTGRES_DB"] == "kubernaut_datastorage"
    for value in database.values():
        assert f"`{value}`" in section(PAGE, "Start the stack")
    report = "".join(blocks(PAGE, "console"))
    for line in (
        "podman-compose -f podman-compose.test.yml up -d",
        "podman logs --follow workflowexecution_datastorage_1",
        "curl http://localhost:18100/health",
        "podman exec -it workflowexecution_postgres_1 psql -U postgres -d kubernaut_datastorage",
        "make test-integration-workflowexecution",
    ):
        assert f"$ {line}\n" in report


def test_the_services_reach_the_database() -> None:
    database = SERVICES["postgres"]["environment"]
    url = (
        f"postgresql://{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@postgres:5432/"
        f"{database['POSTGRES_DB']}"
    )
    for name in LOCKED:
        assert SERVICES[name]["environment"] == {"KUBERNAUT_DATASTORAGE_DATABASE__URL": url}
    assert all(service["networks"] == list(COMPOSE["networks"]) for service in SERVICES.values())


@pytest.mark.parametrize("name", LOCKED)
def test_services_wait_for_what_they_need_and_have_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["command"][2:] == ["--wait", "120"]  # Two minutes, says the page.
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] == "65532:65532"
    assert "depends_on" not in service
    assert service["image"] == SERVICES["datastorage"]["image"]


def test_nothing_outlives_the_stack() -> None:
    assert "volumes" not in COMPOSE
    assert not [service for service in SERVICES.values() if "volumes" in service]
    assert SERVICES["postgres"]["tmpfs"] == ["/var/lib/postgresql/data"]


@pytest.mark.parametrize(
    ("target", "health"), [("datastorage", "8080/readyz"), ("operator", "8081/healthz")]
)
def test_the_targets_are_as_the_page_says(target: str, health: str) -> None:
    lines = stage(target)
    columns = {row[0]: row for row in table(PAGE, "Build the images")}
    column = 1 if target == "datastorage" else 2
    assert columns["runs"][column] == f"`kubernaut {target} {'serve' if column == 1 else 'run'}`"
    assert "USER 65532:65532\n" in lines
    assert columns["user"][column] == "65532"
    exposed = re.search(r"^EXPOSE (.*)$", lines, re.MULTILINE)
    assert exposed
    assert re.findall(r"\d+", columns["ports"][column]) == exposed[1].split()
    assert f"http://127.0.0.1:{health}" in lines
    assert codes(columns["health check"][column]) == [f"/{health.partition('/')[2]}"]
    assert "/opt/kubernaut/share/sbom.cdx.json" in stage(f"{target}-packages")
    assert re.search(r'^CMD \["' + target, lines, re.MULTILINE)
    assert "ENTRYPOINT [" in stage("run")
    assert not re.search(r"^(CMD|ENTRYPOINT) (?!\[)", CONTAINERFILE, re.MULTILINE), (
        "a shell would start it"
    )


def test_the_labels_are_true() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', stage("run")))
    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]
    assert f"ARG PYTHON_IMAGE={labels['base.name']}\n" in CONTAINERFILE


def test_the_base_images_that_can_be_made_are_those_that_are_used() -> None:
    made = set(re.findall(r'"(docker\.io/[^"]+)"', (ROOT / "hack/compose/bases.py").read_text()))
    used = {SERVICES["postgres"]["image"]}
    used |= set(re.findall(r"^ARG PYTHON_IMAGE=(.*)$", CONTAINERFILE, re.MULTILINE))
    assert made == used


def test_a_build_sees_all_that_a_wheel_needs_and_nothing_private() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE", "src", "config"):
        assert f"!{name}" in lines
    assert "!.kubernaut" not in lines
