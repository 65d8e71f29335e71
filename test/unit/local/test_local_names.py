from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import kubernaut.cli
import kubernaut.local
import kubernaut.local.cluster
from kubernaut.cli._up import _address
from kubernaut.local import LocalServerError, PostgresServer
from kubernaut.local._binaries import wanted_source


def test_public_names() -> None:
    assert kubernaut.local.__all__ == [
        "LocalCluster",
        "LocalServerError",
        "PostgresServer",
        "kept_password",
    ]
    assert kubernaut.local.cluster.__all__ == [
        "Answer",
        "ApiRequests",
        "ClientCertificate",
        "Component",
        "LocalCluster",
        "Programs",
        "RunningCluster",
        "end_holder",
        "holder_of",
        "push_bundle",
        "tekton_kinds",
    ]
    assert kubernaut.local.LocalCluster is kubernaut.local.cluster.LocalCluster
    assert kubernaut.cli.__all__ == ["main"]


def test_the_url_is_percent_encoded(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, port=5433)
    url = server.url("a/b?ü", "me@here", "p:w/d%")
    parts = urlsplit(url)
    assert url.isascii()
    assert (parts.hostname, parts.port) == ("127.0.0.1", 5433)
    assert unquote(parts.username or "") == "me@here"
    assert unquote(parts.password or "") == "p:w/d%"
    assert unquote(parts.path) == "/a/b?ü"


@pytest.mark.parametrize("name", ["data_directory", "relocated", "owner", "port", "version"])
def test_what_only_a_start_finds_out_is_refused_before_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match="has not been started"):
        getattr(PostgresServer(tmp_path), name)


@pytest.mark.parametrize(
    ("argument", "variable", "wanted"),
    [
        (None, None, None),
        (None, "", None),
        (None, "wheel", "wheel"),
        (None, "system", "system"),
        ("system", "wheel", "system"),
    ],
)
def test_the_argument_wins_over_the_environment(
    argument: kubernaut.local._binaries.Source | None,
    variable: str | None,
    wanted: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNAUT_POSTGRES", raising=False)
    if variable is not None:
        monkeypatch.setenv("KUBERNAUT_POSTGRES", variable)
    assert wanted_source(argument) == wanted


def test_an_unknown_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNAUT_POSTGRES", "docker")
    with pytest.raises(LocalServerError, match="'system' or 'wheel', not 'docker'"):
        wanted_source(None)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:18100"),
        ("0.0.0.0", "http://127.0.0.1:18100"),  # noqa: S104  (that it is replaced is the test)
        ("::", "http://[::1]:18100"),
        ("db.example", "http://db.example:18100"),
    ],
)
def test_the_printed_address_can_be_opened(host: str, address: str) -> None:
    assert _address(host, 18100) == address
