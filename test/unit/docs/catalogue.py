"""The extension of Sphinx that writes the payload catalogue, without Sphinx."""

import importlib.util
from typing import Any

from test.unit.docs.pages import DOCS


def load() -> Any:
    """The module `docs/_ext/payload_catalogue.py`."""
    path = DOCS / "_ext" / "payload_catalogue.py"
    spec = importlib.util.spec_from_file_location("payload_catalogue", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page() -> str:
    """The page as it is built."""
    extension = load()
    text = (DOCS / f"{extension.PAGE}.md").read_text(encoding="utf-8")
    assert text.count(extension.MARKER) == 1
    return text.replace(extension.MARKER, extension.catalogue())
