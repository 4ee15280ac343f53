"""The headers of an answer: the defaults, those of the response, and those of the endpoint."""

import functools
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.web._problems import vary_by_accept

EVENT_STREAM: Final = f"{ResponseMode.STREAM.media_type}; charset=utf-8"
"""The content type of events. Without the charset some clients read `text/*` as Latin-1."""

STREAM_HEADERS: Final = {
    "cache-control": "no-cache, no-store, no-transform",  # caches must not store or compress it
    "x-accel-buffering": "no",  # nginx must not buffer it
}

_OURS: Final = (b"content-type", b"content-length")
"""Headers that follow from the mode of the answer; the endpoint cannot set them."""

_LISTS: Final = frozenset(
    {
        *(b"access-control-expose-headers", b"alt-svc", b"clear-site-data", b"link", b"vary"),
        *(b"preference-applied", b"proxy-authenticate", b"server-timing", b"set-cookie", b"via"),
        *(b"warning", b"www-authenticate"),
    }
)
"""Headers whose values add up: those of the endpoint do not replace those of the response."""


def headers_of(media_type: str, response: Response, injected: Response | None) -> MutableHeaders:
    """Return the headers of an answer. Later ones replace earlier ones, except lists.

    A header that was given more than once is sent as often.

    Args:
        media_type: the media type of the answer, which sets the defaults.
        response: the response with its own headers.
        injected: FastAPI's injected response, with the headers that the endpoint has set.
    """
    raw = list(_defaults(media_type))
    if not response.raw_headers and (injected is None or not injected.raw_headers):
        return MutableHeaders(raw=raw)
    headers = MutableHeaders(raw=_merged(_merged(raw, response.raw_headers), _given(injected)))
    vary_by_accept(headers)
    return headers


def with_injected(response: Response, injected: Response | None) -> Response:
    """Return a response that has no generator, with the headers that the endpoint has set."""
    response.raw_headers = _merged(response.raw_headers, _given(injected))
    vary_by_accept(response.headers)
    return response


def _given(injected: Response | None) -> list[tuple[bytes, bytes]]:
    raw = [] if injected is None else injected.raw_headers
    return [pair for pair in raw if pair[0].lower() not in _OURS]


def _merged(
    earlier: list[tuple[bytes, bytes]], later: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return the later headers and the earlier ones that they do not replace."""
    replaced = {name.lower() for name, _ in later} - _LISTS
    return [pair for pair in earlier if pair[0].lower() not in replaced] + later


@functools.cache  # for four media types; without it a short answer takes a fifth longer
def _defaults(media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the default headers of an answer."""
    is_stream = media_type == ResponseMode.STREAM.media_type
    headers = MutableHeaders(headers={"content-type": EVENT_STREAM if is_stream else media_type})
    if media_type != ResponseMode.BATCH.media_type:
        headers.update(STREAM_HEADERS)
    vary_by_accept(headers)
    return tuple(headers.raw)
