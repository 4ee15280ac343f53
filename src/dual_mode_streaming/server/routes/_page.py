"""`GET /`: the playground, one HTML document that loads nothing else; and `/dual-mode.js`."""

import base64
import hashlib
import re
from importlib import resources
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

_STYLE: Final = re.compile(r'<link rel="stylesheet" href="([\w-]+\.css)">')
_SCRIPT: Final = re.compile(r'<script src="([\w-]+\.js)"></script>')
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


def page_routes() -> APIRouter:
    """Return the routes. The document is assembled now, from the files of `playground/`."""
    module = resources.files("dual_mode_streaming").joinpath("static/dual-mode.js").read_bytes()
    document, policy = _document(module.decode())
    headers = {
        **_HEADERS,
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
    }
    routes = APIRouter()

    @routes.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(document, headers=headers)

    @routes.get("/dual-mode.js", include_in_schema=False)
    async def script() -> Response:
        return Response(module, headers=_HEADERS, media_type="text/javascript")

    return routes


def _document(module: str) -> tuple[str, str]:
    """Return the page with its styles and scripts inlined, and the policy that allows only those.

    All scripts are one ES module, which begins with `dual-mode.js`.
    """
    folder = resources.files("dual_mode_streaming.server").joinpath("playground")

    def text_of(name: str) -> str:
        return folder.joinpath(name).read_text("utf-8")

    document = text_of("page.html")
    scripts = [module, *map(text_of, _SCRIPT.findall(document))]
    style = "\n".join(map(text_of, _STYLE.findall(document)))
    script = "\n".join(scripts)
    document = _STYLE.sub(lambda _: f"<style>{style}</style>", document)
    document = _SCRIPT.sub("", document).replace(
        "</body>", f'<script type="module">{script}</script>\n</body>'
    )
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return document, "; ".join(f"{name} {value}" for name, value in policy.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
