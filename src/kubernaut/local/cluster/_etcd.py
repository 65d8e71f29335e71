"""Ask etcd itself, through its HTTP gateway."""

import http.client
import json
from typing import Any, Final

from kubernaut.local._port import HOST

_SECONDS: Final = 10.0
_ANY_KEY: Final = "AA=="


def healthy(port: int) -> bool:
    """Whether etcd serves.

    Raises:
        OSError: it does not answer.
    """
    return bool(_ask(port, "GET", "/health", None).get("health") == "true")


def compact(port: int) -> int:
    """Forget all history up to now; gives the revision.

    Raises:
        OSError: etcd does not answer.
    """
    said = _ask(port, "POST", "/v3/kv/range", {"key": _ANY_KEY})
    revision = int(said["header"]["revision"])
    _ask(port, "POST", "/v3/kv/compaction", {"revision": str(revision), "physical": True})
    return revision


def _ask(port: int, method: str, path: str, body: object) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        content = answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"etcd: {error!r}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ConnectionError(f"etcd answers {answer.status} to {path}: {content.decode()}")
    said: dict[str, Any] = json.loads(content)
    return said
