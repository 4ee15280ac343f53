"""`GET /docs`: the API reference, which shows the frames of a stream as they come.

It is Scalar, from the extra `apidocs`, and loads nothing from elsewhere.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",  # Scalar sets styles in its elements
    "connect-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_OPTIONS: Final[dict[str, Any]] = {
    "url": "openapi.json",
    "telemetry": False,
    "withDefaultFonts": False,  # they are of another host
    "agent": {"disabled": True},
    "mcp": {"disabled": True},
    "hideClientButton": True,
    "showDeveloperTools": "never",
    "persistAuth": False,
}
_OPEN: Final = ("/data", "/events", "/slow", "/healthz", "/readyz", "/metrics")
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dual-mode-streaming: the API</title>
<link rel="icon" href="data:,">
</head>
<body>
<div id="reference"></div>
<script src="docs/scalar.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = f'Scalar.createApiReference("#reference", {json.dumps(_OPTIONS)});\n'


def scalar_script() -> Path | None:
    """Return the file of Scalar, if the extra `apidocs` is installed.

    The package is one for another framework, of which only this file is used; nothing is imported.
    """
    spec = importlib.util.find_spec("star_openapi_scalar")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "templates" / "scalar" / "js" / "scalar.standalone.js"
        if path.is_file():
            return path
    return None


def describe_keys(app: FastAPI) -> None:
    """Add the API keys to the OpenAPI document, so that the page has a field for one.

    Every operation names them but those of which no key is asked.
    """
    build = app.openapi

    def with_keys() -> dict[str, Any]:
        document = build()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes |= {
            "HTTPBearer": {"type": "http", "scheme": "bearer"},
            "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        for path, operations in document["paths"].items():
            for operation in () if path in _OPEN else operations.values():
                if isinstance(operation, dict):
                    operation["security"] = [{name: []} for name in schemes]
        return document

    app.openapi = with_keys  # type: ignore[method-assign]


def docs_routes(script: Path) -> APIRouter:
    """Return the routes of the page, with Scalar from `script`."""
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    policy = "; ".join(f"{name} {value}" for name, value in _POLICY.items())
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={**headers, "Content-Security-Policy": policy})

    @routes.get("/docs/start.js")
    async def start() -> HTMLResponse:
        return HTMLResponse(_START, headers=headers, media_type="text/javascript")

    @routes.get("/docs/scalar.js")
    async def scalar() -> FileResponse:
        lasting = headers | {"Cache-Control": "public, max-age=86400"}
        return FileResponse(script, headers=lasting, media_type="text/javascript")

    return routes
