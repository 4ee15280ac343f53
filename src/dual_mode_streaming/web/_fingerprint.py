"""What a request asks for, as a digest: two that ask the same have the same."""

import hashlib
from collections.abc import Set
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

__all__ = ["ACCESS_TOKEN", "digest", "fingerprint"]

ACCESS_TOKEN: Final = "access_token"  # noqa: S105
"""The parameter of the query that says who asks (RFC 6750, 2.3); it is no part of what is asked."""

_AT_ONCE = 64 * 1024


def digest(*parts: str) -> str:
    """The digest of some texts, none of which has a NUL but the last."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


async def fingerprint(request: Request, besides: Set[str | None] = frozenset()) -> str:
    """The digest of method, path, query and body, `besides` some parameters of the query.

    The body as FastAPI has read it: as bytes, or as a form.
    """
    besides = {ACCESS_TOKEN, *besides}
    query = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in besides)
    body: bytes = getattr(request, "_body", b"")
    form: FormData | None = getattr(request, "_form", None)
    fields = [] if form is None else [await _field(*item) for item in form.multi_items()]
    parts = (request.method, request.url.path, urlencode(query), body.hex(), urlencode(fields))
    return digest(*parts)


async def _field(name: str, value: str | UploadFile) -> tuple[str, str]:
    """A form's field, with the digest of its content in the place of a file."""
    if isinstance(value, str):
        return name, value
    content = hashlib.sha256()
    await value.seek(0)
    while chunk := await value.read(_AT_ONCE):
        content.update(chunk)
    await value.seek(0)
    return name, f"{value.filename}\0{value.content_type}\0{content.hexdigest()}"
