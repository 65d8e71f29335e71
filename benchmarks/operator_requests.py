"""How many requests the operator sends, as the API server counts them.

The API server counts all requests by verb and resource, whoever sends them. What is left once the
script's own are taken away is the operator's, for nobody else here touches these groups but while
starting. Watches are not counted: the API server does so when they end, minutes later. Nor are the
renewals of the lease: they go by time, not by what there is to do.
"""

import re
from collections import Counter
from typing import Final

from kubernaut.kubernetes import Request
from kubernaut.local import LocalCluster

Requests = Counter[str]
"""By verb and resource, for example `PATCH workflowexecutions/status`."""

_GROUPS: Final = frozenset(
    {"kubernaut.ai", "tekton.dev", "batch", "events.k8s.io", "authorization.k8s.io"}
)
_SAMPLE: Final = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_VERBS: Final = {"APPLY": "PATCH"}
_PATH: Final = re.compile(
    r"^/apis/(?P<group>[^/]+)/[^/]+(?:/namespaces/[^/]+)?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?$"
)


def served(cluster: LocalCluster) -> Requests:
    """The requests that the API server has answered.

    Raises:
        RuntimeError: it does not say.
    """
    answer = cluster.api("GET", "/metrics")
    found: Requests = Counter()
    for labels, value in _SAMPLE.findall(str(answer.body)):
        sample: dict[str, str] = dict(_LABEL.findall(labels))
        if sample["group"] in _GROUPS and sample["verb"] != "WATCH":
            verb = _VERBS.get(sample["verb"], sample["verb"])
            found[_named(verb, sample["resource"], sample["subresource"])] += int(float(value))
    if not found:
        raise RuntimeError(f"no requests in the API server's metrics: {str(answer.body)[:200]}")
    return found


class Sent:
    """Counts a client's requests: give `note` as its `after_attempt`."""

    def __init__(self) -> None:
        self.requests: Requests = Counter()

    def note(self, request: Request, status: int | None, _seconds: float) -> None:
        """A request has ended; without an answer it may not have been served."""
        if status is None or "watch" in request.params:
            return
        if (match := _PATH.match(request.path)) is None:
            return
        found: dict[str, str] = match.groupdict(default="")
        if found["group"] in _GROUPS:
            verb = "LIST" if request.method == "GET" and not found["name"] else request.method
            self.requests[_named(verb, found["plural"], found["subresource"])] += 1


def _named(verb: str, resource: str, subresource: str) -> str:
    return f"{verb} {resource}/{subresource}" if subresource else f"{verb} {resource}"
