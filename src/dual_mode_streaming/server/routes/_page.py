"""`GET /`: the playground, one HTML document that loads nothing else."""

import base64
import hashlib
import re
from importlib import resources
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

_PARTS: Final = {
    "style": re.compile(r'<link rel="stylesheet" href="([\w-]+\.css)">'),
    "script": re.compile(r'<script src="([\w-]+\.js)"></script>'),
}


def page_routes() -> APIRouter:
    """Return the route. The document is assembled now, from the files of `playground/`."""
    document, policy = _document()
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    routes = APIRouter()

    @routes.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(document, headers=headers)

    return routes


def _document() -> tuple[str, str]:
    """Return the page with styles and scripts inlined, and the policy that allows only those."""
    folder = resources.files("dual_mode_streaming.server").joinpath("playground")
    document = folder.joinpath("page.html").read_text("utf-8")
    allowed: dict[str, list[str]] = {}

    for tag, reference in _PARTS.items():
        hashes = allowed[tag] = []

        def inlined(found: re.Match[str], tag: str = tag, hashes: list[str] = hashes) -> str:
            text = "\n" + folder.joinpath(found[1]).read_text("utf-8")
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            hashes.append(f"'sha256-{digest}'")
            return f"<{tag}>{text}</{tag}>"

        document = reference.sub(inlined, document)
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(allowed["script"]),
        "style-src": " ".join(allowed["style"]),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return document, "; ".join(f"{name} {value}" for name, value in policy.items())
