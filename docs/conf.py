"""How Sphinx builds the documentation: `make docs`. It needs no network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # For _ext.

project = "kubernaut-py"
copyright = "the kubernaut-py contributors"

extensions = ["myst_parser", "_ext.payload_catalogue", "_ext.workflow_execution"]
exclude_patterns = ["_build", "_ext"]

# Every heading is an anchor, so that links to `page.md#heading` are checked by the build.
myst_heading_anchors = 4
myst_url_schemes = ["http", "https"]

html_theme = "furo"
html_title = "kubernaut-py"
html_copy_source = False
html_show_sourcelink = False
