"""The headers of an answer: the defaults, those of the response, and those of the endpoint."""

import functools
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.web._problems import vary_by_accept

STREAM_HEADERS: Final = {
    "cache-control": "no-cache, no-store, no-transform",  # caches must not store or compress it
    "x-accel-buffering": "no",  # nginx must not buffer it
}


def headers_of(media_type: str, response: Response, injected: Response | None) -> MutableHeaders:
    """Return the headers of an answer. Later ones replace earlier ones, except cookies.

    Args:
        media_type: the media type of the answer, which sets the defaults.
        response: the response with its own headers.
        injected: FastAPI's injected response, with the headers that the endpoint has set.
    """
    headers = MutableHeaders(raw=list(_defaults(media_type)))
    if not response.raw_headers and (injected is None or not injected.raw_headers):
        return headers
    headers.update(response.headers)
    if injected is not None:
        for name, value in injected.headers.items():
            if name == "set-cookie":
                headers.append(name, value)
            elif name != "content-type":
                headers[name] = value
    vary_by_accept(headers)
    return headers


@functools.cache  # for four media types; without it a short answer takes a fifth longer
def _defaults(media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the default headers of an answer."""
    headers = MutableHeaders(headers={"content-type": media_type})
    if media_type != ResponseMode.BATCH.media_type:
        headers.update(STREAM_HEADERS)
    vary_by_accept(headers)
    return tuple(headers.raw)
