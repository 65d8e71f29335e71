"""Tekton Pipelines in a cluster: its kinds, its settings, its webhook; pods stay simulated."""

import copy
import http.client
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from kubernaut.local._errors import LocalServerError
from kubernaut.local._port import HOST
from kubernaut.local.cluster._programs import Programs
from kubernaut.local.cluster._requests import ApiRequests

NAMESPACE: Final = "tekton-pipelines"

_WEBHOOK: Final = "tekton-pipelines-webhook"
_PLACES: Final = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ConfigMap": f"/api/v1/namespaces/{NAMESPACE}/configmaps",
    "Secret": f"/api/v1/namespaces/{NAMESPACE}/secrets",
    "ValidatingWebhookConfiguration": (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    ),
    "MutatingWebhookConfiguration": (
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    ),
}
_CREATED: Final = (http.client.CREATED, http.client.CONFLICT)
_PROBE: Final = {
    "apiVersion": "tekton.dev/v1",
    "kind": "PipelineRun",
    "metadata": {"name": "ready"},
    "spec": {"pipelineRef": {"name": "ready"}},
}


class Tekton:
    """What Tekton's module ships, adapted to a cluster on one machine.

    Args:
        program: the path of `tekton`; its objects are beside it.
        api: the administrator's.
        webhook_port: where its webhook listens.

    Raises:
        LocalServerError: the objects cannot be read.
    """

    def __init__(self, program: Path, api: ApiRequests, webhook_port: int) -> None:
        self._api = api
        self._webhook_port = webhook_port
        self._objects = _shipped(program)

    def kinds(self) -> Iterator[dict[str, Any]]:
        """Its custom resource definitions, in one version each: nothing here converts them."""
        return _kinds(self._objects)

    def install(self) -> None:
        """Make all but the kinds.

        Raises:
            LocalServerError: the API server refuses something.
        """
        create(self._api, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for settings in self._settings():
            create(self._api, _PLACES["ConfigMap"], settings)
        # The API server reaches the webhook by name; this name is this machine.
        service = {
            "metadata": {"name": _WEBHOOK},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        create(self._api, f"/api/v1/namespaces/{NAMESPACE}/services", service)
        for admission in self._admission():
            create(self._api, _PLACES[admission["kind"]], admission)

    def environment(self, metrics_port: int, profiling_port: int) -> dict[str, str]:
        """Of its process."""
        return {
            "SYSTEM_NAMESPACE": NAMESPACE,
            "WEBHOOK_PORT": str(self._webhook_port),
            "PROFILING_PORT": str(profiling_port),
            "METRICS_PROMETHEUS_PORT": str(metrics_port),
            "METRICS_PROMETHEUS_HOST": HOST,
            "HOME": "/",
        }

    def ready(self) -> bool:
        """Whether its webhook answers: it fills in the service account."""
        answer = self._api(
            "POST", "/apis/tekton.dev/v1/namespaces/default/pipelineruns?dryRun=All", _PROBE
        )
        if answer.status != http.client.CREATED:
            return False
        return bool(answer.body["spec"].get("taskRunTemplate", {}).get("serviceAccountName"))

    def _of_kind(self, *kinds: str) -> Iterator[dict[str, Any]]:
        return (shipped for shipped in self._objects if shipped.get("kind") in kinds)

    def _settings(self) -> Iterator[dict[str, Any]]:
        for shipped in self._of_kind("ConfigMap"):
            name = shipped["metadata"]["name"]
            data = dict(shipped.get("data") or {})
            data.pop("_example", None)  # It is checked against its text, which nobody needs here.
            if name == "config-observability":
                data = {"metrics-protocol": "none"}
            if name == "feature-flags":
                data["coschedule"] = "disabled"
                data["set-security-context"] = "true"  # Namespaces may ask for restricted pods.
            yield {"metadata": {"name": name, "namespace": NAMESPACE}, "data": data}

    def _admission(self) -> Iterator[dict[str, Any]]:
        for shipped in self._of_kind(
            "Secret", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"
        ):
            name = shipped["metadata"]["name"]
            webhooks = shipped.get("webhooks", [])
            # The one for config maps would guard those that we have just made.
            if name.startswith("config.") or (not webhooks and name != "webhook-certs"):
                continue
            admission = copy.deepcopy(shipped)
            for webhook in admission.get("webhooks", []):
                webhook["clientConfig"]["service"]["port"] = self._webhook_port
            yield admission


def tekton_kinds(programs: Programs | None = None) -> list[dict[str, Any]]:
    """Tekton's custom resource definitions, for a cluster without Tekton: `LocalCluster(crds=...)`.

    Args:
        programs: where Tekton comes from.

    Raises:
        LocalServerError: it cannot be had.
    """
    program = (programs or Programs()).obtain(["tekton"])["tekton"]
    return list(_kinds(_shipped(program)))


def _shipped(program: Path) -> Sequence[dict[str, Any]]:
    packed = program.with_name(f"{program.name}.json")
    try:
        objects: Sequence[dict[str, Any]] = json.loads(packed.read_text())
    except (OSError, ValueError) as error:
        raise LocalServerError(f"{packed} cannot be read: {error}; remove it") from error
    return objects


def _kinds(objects: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for shipped in objects:
        if shipped.get("kind") != "CustomResourceDefinition":
            continue
        kind = copy.deepcopy(shipped)
        kind["spec"].pop("conversion", None)
        versions = kind["spec"]["versions"]
        chosen = [one for one in versions if one["name"] == "v1"]
        chosen = chosen or [one for one in versions if one["storage"]]
        for version in chosen:
            version["storage"] = version["served"] = True
        kind["spec"]["versions"] = chosen
        yield kind


def create(api: ApiRequests, path: str, body: object) -> None:
    """Make an object, or leave the one of its name as it is.

    Raises:
        LocalServerError: the API server refuses it.
    """
    answer = api("POST", path, body)
    if answer.status not in _CREATED:
        raise LocalServerError(f"the API server answers {answer.status} to {path}: {answer.body}")
