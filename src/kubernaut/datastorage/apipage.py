"""The browsable API page: Swagger UI from a package, so that it works without the internet."""

import mimetypes
from functools import cache
from importlib.resources import files
from typing import Final

_FILES: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>DataStorage API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
</script>
</body>
</html>
"""


def page() -> bytes:
    """The page itself."""
    return _PAGE


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """A file's content and media type, or None if the page has no such file."""
    if name not in _FILES:
        return None
    content = (files("swagger_ui") / "static" / name).read_bytes()
    return content, mimetypes.guess_type(name)[0] or "application/octet-stream"
