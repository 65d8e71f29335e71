"""Tekton bundles: Kubernetes objects as an OCI image, pushed to a registry."""

import gzip
import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from kubernaut.local._errors import LocalServerError

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_MOST_OBJECTS: Final = 20  # Tekton reads no more layers.
_SECONDS: Final = 30.0


def push_bundle(
    registry: str, repository: str, tag: str, objects: Sequence[Mapping[str, Any]]
) -> str:
    """Push objects as a bundle over plain HTTP.

    Args:
        registry: `host:port`.
        repository: for example `workflows/restart`.
        tag: for example `v1`.
        objects: Pipelines and Tasks, at most 20.

    Returns:
        The reference by digest, `host:port/repository@sha256:...`.

    Raises:
        LocalServerError: the registry does not answer or refuses something, or there are too many
            objects.
    """
    if len(objects) > _MOST_OBJECTS:
        raise LocalServerError(f"a bundle has at most {_MOST_OBJECTS} objects, not {len(objects)}")
    target = _Repository(registry, repository)
    layers, contents = [], []
    for one in objects:
        content = _tar(one)
        contents.append(_digest(content))
        # Without a time in it, the same objects have the same digest.
        packed = gzip.compress(content, mtime=0)
        layers.append(
            {
                "mediaType": _LAYER,
                "size": len(packed),
                "digest": target.blob(packed),
                "annotations": {
                    "dev.tekton.image.name": one["metadata"]["name"],
                    "dev.tekton.image.kind": one["kind"].lower(),
                    "dev.tekton.image.apiVersion": one["apiVersion"].rpartition("/")[2],
                },
            }
        )
    config = json.dumps(
        {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": contents},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {
                "mediaType": _CONFIG,
                "size": len(config),
                "digest": target.blob(config),
            },
            "layers": layers,
        }
    ).encode()
    target.send("PUT", f"manifests/{quote(tag, safe='')}", manifest, _MANIFEST)
    return f"{registry}/{repository}@{_digest(manifest)}"


class _Repository:
    """A repository of a registry (OCI distribution specification)."""

    def __init__(self, registry: str, repository: str) -> None:
        self._registry = registry
        self._base = f"/v2/{quote(repository)}/"

    def blob(self, content: bytes) -> str:
        """Upload a blob; gives its digest."""
        digest = _digest(content)
        place = self.send("POST", "blobs/uploads/", b"", "application/octet-stream")
        parts = urlsplit(place)
        query = f"{parts.query}&" if parts.query else ""
        path = f"{parts.path}?{query}digest={quote(digest)}"
        self.send("PUT", path, content, "application/octet-stream")
        return digest

    def send(self, method: str, path: str, content: bytes, content_type: str) -> str:
        """Send something; gives the `Location` of the answer.

        Raises:
            LocalServerError: there is no answer, or it is not one of success.
        """
        path = path if path.startswith("/") else self._base + path
        connection = http.client.HTTPConnection(self._registry, timeout=_SECONDS)
        try:
            connection.request(method, path, content, {"Content-Type": content_type})
            answer = connection.getresponse()
            said = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise LocalServerError(f"the registry {self._registry}: {error}") from error
        finally:
            connection.close()
        if answer.status not in {http.client.CREATED, http.client.ACCEPTED}:
            raise LocalServerError(
                f"the registry {self._registry} answers {answer.status} to {path}: {said}"
            )
        return answer.headers.get("Location", "")


def _tar(one: Mapping[str, Any]) -> bytes:
    content = json.dumps(one).encode()  # JSON is YAML.
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo(one["metadata"]["name"])
        entry.size = len(content)
        entry.mode = 0o600
        archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
