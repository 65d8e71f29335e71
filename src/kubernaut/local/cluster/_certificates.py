"""The certificate authority of a cluster, and the certificates and keys that it gives out."""

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID: Final = dt.timedelta(days=365)
_CLOCKS_DIFFER: Final = dt.timedelta(minutes=5)
_SIGNS: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class ClientCertificate:
    """Files in PEM: a certificate that names a user and groups, and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates. It is kept in a folder, and used again where it is there.

    Args:
        directory: for the authority and all that it gives out; only this user can read it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory
        self.file = directory / "ca.crt"
        key_file = directory / "ca.key"
        if not self.file.exists() or not key_file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernaut local cluster")])
            builder = _builder(name, key).issuer_name(name)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            builder = builder.add_extension(_SIGNS, True)
            _write_key(key_file, key)
            _write(self.file, _pem(builder.sign(key, hashes.SHA256())))
        self._certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
        loaded = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)  # noqa: S101  (as written above)
        self._key = loaded

    def server(self, name: str, addresses: Sequence[str]) -> ClientCertificate:
        """A certificate for a server, and its key."""
        names = x509.SubjectAlternativeName([_general_name(address) for address in addresses])
        return self._issue(name, name, (), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, user: str, groups: Sequence[str] = ()) -> ClientCertificate:
        """A certificate that the API server takes as a user with groups."""
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in user)
        digest = hashes.Hash(hashes.SHA256())
        digest.update("\0".join((user, *groups)).encode())
        name = f"{safe[:60]}-{digest.finalize().hex()[:8]}"
        return self._issue(name, user, groups, ExtendedKeyUsageOID.CLIENT_AUTH)

    def signing_key(self, name: str) -> tuple[Path, Path]:
        """A key pair of its own for tokens: the files of the public and of the private key."""
        public, private = self._directory / f"{name}.pub", self._directory / f"{name}.key"
        if not public.exists() or not private.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(private, key)
            _write(
                public,
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                ),
            )
        return public, private

    def _issue(
        self,
        name: str,
        common_name: str,
        organisations: Sequence[str],
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None = None,
    ) -> ClientCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organisations]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        builder = _builder(x509.Name(attributes), key).issuer_name(self._certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, False)
        if names is not None:
            builder = builder.add_extension(names, False)
        issued = ClientCertificate(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        _write_key(issued.key, key)
        _write(issued.certificate, _pem(builder.sign(self._key, hashes.SHA256())))
        return issued


def _builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    _write(
        path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _write(path: Path, content: bytes) -> None:
    """A file of mode 0600 that is whole or not there."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)
