"""Where the API server is and who we are: kubeconfig or service account, TLS and tokens.

Reading the files is lightkube's; what it does not do is here: certificates given inline, token
files that the kubelet replaces, users whom it would accept and we cannot serve.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kubernaut.kubernetes._errors import ConfigError


@dataclass(frozen=True)
class ClientConfig:
    """A connection. Files are read when it is made; `token_file` whenever it changes.

    Args:
        server: the API server's address, for example `https://127.0.0.1:6443`.
        namespace: the one of the context or of the service account.
        ca_file: PEM certificates to trust; the system's where neither this nor `ca_data` is given.
        ca_data: the same as text.
        client_cert_file: a PEM client certificate, with `client_key_file`.
        client_key_file: its key.
        token: a bearer token.
        token_file: a file with a bearer token, which goes before `token`.
        insecure: accept any certificate of the server.
    """

    server: str
    namespace: str = "default"
    ca_file: str | None = None
    ca_data: str | None = field(default=None, repr=False)
    client_cert_file: str | None = None
    client_key_file: str | None = None
    client_cert_data: bytes | None = field(default=None, repr=False)
    client_key_data: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    insecure: bool = False

    @classmethod
    def load(cls, kubeconfig: str | Path | None = None, context: str | None = None) -> Self:
        """Read a kubeconfig; without one, what kubectl and client-go would take.

        That is the service account in a pod, else `$KUBECONFIG` (one file), else
        `~/.kube/config`.

        Raises:
            ConfigError: nothing was found, it cannot be read, or it needs what we cannot do
                (exec plugins, auth providers, passwords).
        """
        # Takes an HTTP library with it, which those who give a ClientConfig need not load.
        import yaml  # noqa: PLC0415
        from lightkube.config.kubeconfig import KubeConfig  # noqa: PLC0415
        from lightkube.core.exceptions import ConfigError as LoadError  # noqa: PLC0415

        try:
            found = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
            one = found.get(context)
        # It does not check the shape of what it reads.
        except (LoadError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"no usable Kubernetes configuration: {error!r}") from error
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"no usable Kubernetes configuration: {error}") from error
        assert one is not None  # noqa: S101  (no default was given, so it is there or raised)
        if one.fname is not None:
            _refuse_unknown(yaml.safe_load(one.fname.read_text()), one.context)
        return cls._of(one)

    @classmethod
    def _of(cls, one: Any) -> Self:
        user, cluster = one.user, one.cluster
        for name in ("exec", "auth_provider", "username"):
            if user is not None and getattr(user, name):
                raise ConfigError(
                    f"the user of context {one.context_name!r} has {name!r}, which is not "
                    "supported; use a client certificate, a token or a token file"
                )

        def file(name: str | None) -> str | None:
            return str(one.abs_file(name)) if name else None

        return cls(
            server=cluster.server.rstrip("/"),
            namespace=one.namespace,
            ca_file=file(cluster.certificate_auth),
            ca_data=_text(cluster.certificate_auth_data),
            client_cert_file=file(user.client_cert) if user else None,
            client_key_file=file(user.client_key) if user else None,
            client_cert_data=_bytes(user.client_cert_data) if user else None,
            client_key_data=_bytes(user.client_key_data) if user else None,
            token=user.token if user else None,
            token_file=file(user.token_file) if user else None,
            insecure=cluster.insecure,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context of this connection.

        Raises:
            ConfigError: a certificate or key cannot be read or does not fit.
        """
        try:
            if self.ca_data:
                context = ssl.create_default_context(cadata=self.ca_data)
            else:
                context = ssl.create_default_context(cafile=self.ca_file)
            # Since Python 3.13 strict by default about what certificates say of themselves, which
            # those of many clusters in use do not. Chain, time and name are checked all the same.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            with ExitStack() as stack:
                cert = _as_file(stack, self.client_cert_data, self.client_cert_file)
                key = _as_file(stack, self.client_key_data, self.client_key_file)
                if cert:
                    context.load_cert_chain(cert, key)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ConfigError(f"certificates for {self.server}: {error}") from error
        return context

    def token_source(self) -> Callable[[], str | None]:
        """A function that gives the bearer token as it is now."""
        if self.token_file:
            return TokenFile(self.token_file)
        return lambda: self.token


def _refuse_unknown(document: Any, context: Any) -> None:
    """What the library passes over in silence: one would act as somebody else, or elsewhere."""
    for kind, name, unsupported in (
        ("user", context.user, ("as", "as-uid", "as-groups", "as-user-extra")),
        ("cluster", context.cluster, ("proxy-url", "tls-server-name")),
    ):
        for entry in document.get(f"{kind}s") or []:
            if entry.get("name") == name:
                found = sorted(set(unsupported) & set(entry.get(kind) or {}))
                if found:
                    raise ConfigError(
                        f"the {kind} {name!r} of the kubeconfig has {found[0]!r}, which is not"
                        " supported"
                    )


class TokenFile:
    """A bearer token that is read again whenever its file is another one.

    The kubelet replaces projected tokens after 80% of their life. A look is one `stat`.

    Raises:
        ConfigError: when called, if the file cannot be read and never could.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token: str | None = None

    def __call__(self) -> str | None:
        try:
            now = os.stat(self._path)  # noqa: PTH116  (on each request: no Path object for it)
            seen = (now.st_ino, now.st_mtime_ns, now.st_size)
            if seen != self._seen:
                self._token = Path(self._path).read_text().strip()
                self._seen = seen
        except OSError as error:
            if self._token is None:
                raise ConfigError(f"token file {self._path}: {error}") from error
            # Being replaced: the old one is still good for a while.
        return self._token


def _bytes(data: str | None) -> bytes | None:
    if not data:
        return None
    try:
        return base64.b64decode(data)
    except ValueError as error:
        raise ConfigError(f"certificate data in the kubeconfig: {error}") from error


def _text(data: str | None) -> str | None:
    decoded = _bytes(data)
    return decoded.decode(errors="replace") if decoded else None


def _as_file(stack: ExitStack, data: bytes | None, path: str | None) -> str | None:
    """A path that OpenSSL can read, for as long as `stack` is open; only we may read it."""
    if data is None:
        return path
    handle = stack.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115  (the stack's)
    handle.write(data)
    handle.flush()
    return handle.name
