"""The authority of a cluster, and what it gives out."""

import contextlib
import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubernaut.local.cluster._certificates import Authority


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_client_is_named_with_its_groups(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    issued = authority.client("system:serviceaccount:a:b", ["one", "two"])
    certificate = loaded(issued.certificate)
    certificate.verify_directly_issued_by(loaded(authority.file))
    names = {
        oid: [attribute.value for attribute in certificate.subject.get_attributes_for_oid(oid)]
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    }
    assert names[NameOID.COMMON_NAME] == ["system:serviceaccount:a:b"]
    assert names[NameOID.ORGANIZATION_NAME] == ["one", "two"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_names_that_differ_in_what_a_file_cannot_hold_do_not_meet(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    files = {
        authority.client(user, groups).certificate
        for user, groups in (("a:b", []), ("a-b", []), ("a/b", []), ("a-b", ["g"]))
    }
    assert len(files) == 4


def test_a_server_is_named_by_addresses(tmp_path: Path) -> None:
    issued = Authority(tmp_path / "ca").server("server", ("127.0.0.1", "localhost"))
    names = loaded(issued.certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(one) for one in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_strict_client_takes_them(tmp_path: Path) -> None:
    """As clients are by default on Python 3.13 and newer: RFC 5280 on extensions."""
    authority = Authority(tmp_path / "ca")
    issued = authority.server("server", ("localhost",))
    trust = ssl.create_default_context(cafile=str(authority.file))
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.load_cert_chain(issued.certificate, issued.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = identity.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.getpeercert()


def test_it_is_used_again_where_it_is(tmp_path: Path) -> None:
    first = Authority(tmp_path / "ca")
    keys = first.signing_key("tokens")
    before = [path.read_bytes() for path in (first.file, *keys)]
    second = Authority(tmp_path / "ca")
    assert second.signing_key("tokens") == keys
    assert [path.read_bytes() for path in (second.file, *keys)] == before
    assert b"PUBLIC KEY" in keys[0].read_bytes()


def test_nobody_else_can_read_keys(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    authority.client("somebody")
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    for path in (tmp_path / "ca").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
