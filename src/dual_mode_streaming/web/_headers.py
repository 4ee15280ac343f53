"""The headers of an answer: the defaults, those of the response, and those of the endpoint."""

import functools
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.running.owner import logger
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


_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING: Final = ("content-length", "transfer-encoding")
"""Headers that follow from the body; a wrong one would break the transfer."""


def check_head(status: object, raw: Iterable[tuple[bytes, bytes]]) -> None:
    """Check what the code of a user wants to be sent: servers break off at what they cannot send.

    Raises:
        ValueError: the status is none of a final answer, or a header is none (RFC 9110).
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is no status of an answer; one from 200 to 599 is needed")
    for name, value in raw:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if _CONTROLS.search(value):
            raise ValueError(f"the value of the header {name.decode()} has a control character")


def sendable(error: HTTPException) -> HTTPException:
    """Return the exception with `Vary: Accept`; a logged 500 instead of one that cannot be sent."""
    try:
        headers = MutableHeaders(headers=error.headers or {})
        check_head(error.status_code, headers.raw)
    except Exception as wrong:
        logger.error("an %s cannot be sent: %s", type(error).__name__, wrong, exc_info=error)
        error = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The answer could not be completed.")
        headers = MutableHeaders()
    for name in _FRAMING:
        del headers[name]
    vary_by_accept(headers)
    error.headers = headers  # not a dict: a header may be there twice
    return error


def none_match(request: Request, tag: str) -> bool:
    """Return whether the client has the representation with this tag (RFC 9110, section 13.1.2)."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or tag in given


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
    check_head(200, headers.raw)
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
