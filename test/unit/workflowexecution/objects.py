"""Objects as the API server gives them, from what a test writes down of them."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from kubernaut.kubernetes import KubernetesObject, Resource

T = TypeVar("T", bound=KubernetesObject)


def decoded(resource: Resource[T], body: Mapping[str, Any]) -> T:
    """An object from its JSON."""
    return resource.decoder.decode(msgspec.json.encode(body))
