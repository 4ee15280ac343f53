"""The fingerprint of a request: a digest that is the same for requests for the same thing."""

import hashlib
from collections.abc import Set
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

ACCESS_TOKEN: Final = "access_token"  # noqa: S105
"""The query parameter with the credentials (RFC 6750, section 2.3); fingerprints ignore it."""

_CHUNK_BYTES: Final = 64 * 1024


def digest(*parts: str) -> str:
    """Return the SHA-256 digest of texts. Only the last may contain a NUL."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


async def fingerprint(request: Request, ignored: Set[str | None] = frozenset()) -> str:
    """Return the digest of method, path, query and body.

    Args:
        request: a request whose body FastAPI has read, as bytes or as a form.
        ignored: query parameters that make no difference.
    """
    ignored = {ACCESS_TOKEN, *ignored}
    query = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in ignored)
    body: bytes = getattr(request, "_body", b"")
    form: FormData | None = getattr(request, "_form", None)
    fields = [] if form is None else [await _field(*item) for item in form.multi_items()]
    parts = (request.method, request.url.path, urlencode(query), body.hex(), urlencode(fields))
    return digest(*parts)


async def _field(name: str, value: str | UploadFile) -> tuple[str, str]:
    """Return a field of a form, with the digest of its content if it is a file."""
    if isinstance(value, str):
        return name, value
    content = hashlib.sha256()
    await value.seek(0)
    while chunk := await value.read(_CHUNK_BYTES):
        content.update(chunk)
    await value.seek(0)
    return name, f"{value.filename}\0{value.content_type}\0{content.hexdigest()}"
