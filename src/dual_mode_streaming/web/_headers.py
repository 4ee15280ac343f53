"""The headers of an answer: ours, under those of its response, under what the endpoint has set."""

import functools
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.web._problems import vary_by_accept

__all__ = ["STREAM_HEADERS", "head_of"]

STREAM_HEADERS: Final = {
    "cache-control": "no-cache, no-store, no-transform",  # nobody keeps or recompresses a stream
    "x-accel-buffering": "no",  # nginx hands frames on as they come
}


def head_of(media_type: str, response: Response, sets: Response | None) -> MutableHeaders:
    """The headers of an answer by `response`; `sets` is FastAPI's injected one."""
    head = MutableHeaders(raw=list(_usual(media_type)))
    if not response.raw_headers and (sets is None or not sets.raw_headers):
        return head
    head.update(response.headers)
    if sets is not None:
        for name, value in sets.headers.items():
            if name == "set-cookie":
                head.append(name, value)
            elif name != "content-type":
                head[name] = value
    vary_by_accept(head)
    return head


@functools.cache  # there are four; to make one each time cost a fifth of a short answer
def _usual(media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of an answer for which nothing else was set."""
    head = MutableHeaders(headers={"content-type": media_type})
    if media_type != ResponseMode.BATCH.media_type:
        head.update(STREAM_HEADERS)
    vary_by_accept(head)
    return tuple(head.raw)
