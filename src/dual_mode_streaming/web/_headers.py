"""The headers of an answer: ours, then those of its response, then those the endpoint has set."""

import functools
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.web._problems import vary_by_accept

__all__ = ["STREAM_HEADERS", "headers_of"]

STREAM_HEADERS: Final = {
    "cache-control": "no-cache, no-store, no-transform",  # no cache keeps or recompresses a stream
    "x-accel-buffering": "no",  # nginx passes frames on as they come
}


def headers_of(media_type: str, response: Response, injected: Response | None) -> MutableHeaders:
    """Return the headers of an answer by `response`; `injected` is FastAPI's injected one."""
    headers = MutableHeaders(raw=list(_usual(media_type)))
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


@functools.cache  # there are four; to make one each time took a fifth of a short answer
def _usual(media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of an answer for which nothing else was set."""
    headers = MutableHeaders(headers={"content-type": media_type})
    if media_type != ResponseMode.BATCH.media_type:
        headers.update(STREAM_HEADERS)
    vary_by_accept(headers)
    return tuple(headers.raw)
