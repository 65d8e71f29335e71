"""Configuration: what a kubeconfig becomes, tokens that change, certificates given inline."""

import base64
import json
import ssl
from pathlib import Path

import pytest
import trustme

from kubernaut.kubernetes import ClientConfig, ConfigError


def kubeconfig(folder: Path, user: dict[str, object], **cluster: object) -> Path:
    path = folder / "config"
    one = {"server": "https://127.0.0.1:6443/", **cluster}
    context = {"cluster": "c", "user": "u", "namespace": "n"}
    content = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": one}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}],
    }
    path.write_text(json.dumps(content))
    return path


def inline(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    user: dict[str, object] = {"client-certificate": "me.crt", "client-key": "me.key"}
    config = ClientConfig.load(kubeconfig(tmp_path, user, **{"certificate-authority": "ca.crt"}))
    assert (config.server, config.namespace) == ("https://127.0.0.1:6443", "n")
    assert config.ca_file == str(tmp_path / "ca.crt")
    assert config.client_cert_file == str(tmp_path / "me.crt")


def test_inline_certificates_make_a_context(tmp_path: Path) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("me@test")
    chain = b"".join(pem.bytes() for pem in cert.cert_chain_pems)
    user: dict[str, object] = {
        "client-certificate-data": inline(chain),
        "client-key-data": inline(cert.private_key_pem.bytes()),
    }
    path = kubeconfig(
        tmp_path, user, **{"certificate-authority-data": inline(authority.cert_pem.bytes())}
    )
    config = ClientConfig.load(path)
    context = config.ssl_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) == 1
    assert "PRIVATE" not in repr(config)


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}},
        {"auth-provider": {"name": "gcp"}},
        {"username": "a", "password": "b"},
        {"token": "t", "as": "admin"},
        {"token": "t", "as-groups": ["system:masters"]},
    ],
)
def test_users_that_we_cannot_serve_are_refused(tmp_path: Path, user: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="not supported"):
        ClientConfig.load(kubeconfig(tmp_path, user))


@pytest.mark.parametrize("member", ["proxy-url", "tls-server-name"])
def test_clusters_that_we_cannot_reach_are_refused(tmp_path: Path, member: str) -> None:
    with pytest.raises(ConfigError, match=f"'{member}', which is not supported"):
        ClientConfig.load(kubeconfig(tmp_path, {"token": "t"}, **{member: "x"}))


@pytest.mark.parametrize("content", ["", "[]", "{", "clusters: 3", "a: b"])
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ConfigError):
        ClientConfig.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        ClientConfig.load(tmp_path / "nowhere")


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    config = ClientConfig("https://127.0.0.1:1", ca_file=str(tmp_path / "ca.crt"))
    with pytest.raises(ConfigError, match="certificates"):
        config.ssl_context()


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    # As the kubelet does it: a link to a folder is replaced.
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(f"{name}\n")
    link = tmp_path / "data"
    link.symlink_to("first")
    token = ClientConfig("https://x", token="old", token_file=str(link / "token")).token_source()
    assert (token(), token()) == ("first", "first")
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").rename(link)
    assert token() == "second"
    link.unlink()
    assert token() == "second"


def test_a_token_file_that_never_was_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token file"):
        ClientConfig("https://x", token_file=str(tmp_path / "token")).token_source()()
