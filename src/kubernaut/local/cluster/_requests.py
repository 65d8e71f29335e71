"""Plain requests to the API server, for a cluster's own needs, tests and scripts."""

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernaut.local.cluster._certificates import ClientCertificate

_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Answer:
    """A status code and what came with it: a JSON document as Python's values, else the text."""

    status: int
    body: Any


class ApiRequests:
    """Asks the API server as one user.

    Args:
        host: its address.
        port: its port.
        ca_file: who signed its certificate.
        certificate: of the user; without it, and without a token, the request is anonymous.
        token: a bearer token.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ca_file: Path,
        *,
        certificate: ClientCertificate | None = None,
        token: str | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca_file))
        if certificate is not None:
            self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        seconds: float = _SECONDS,
    ) -> Answer:
        """One request, one answer, whatever its status.

        Args:
            method: `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
            path: with the query.
            body: sent as JSON.
            content_type: of the body; a PATCH needs one of its own.
            seconds: how long the server may be silent.

        Raises:
            OSError: there was no answer.
        """
        headers: Mapping[str, str] = {**self._headers, "Content-Type": content_type}
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=seconds, context=self._context
        )
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, dict(headers))
            answer = connection.getresponse()
            content = answer.read().decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if "json" in answer.headers.get("Content-Type", ""):
            with contextlib.suppress(ValueError):  # A watch is a document a line, or none.
                return Answer(answer.status, json.loads(content))
        return Answer(answer.status, content)
