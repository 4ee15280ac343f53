"""Server-Sent Events from a WSGI view (Flask, Django), which has no event loop.

return Response(event_stream(words()), headers=HEADERS)
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, Final

from dual_mode_streaming.bridges import LoopThread, iterate_sync
from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.rendering import EventFrames, ItemCodec
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.streams import heartbeat as with_heartbeats
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.web._compat import EVENT_TYPES
from dual_mode_streaming.web._headers import EVENT_STREAM, STREAM_HEADERS
from dual_mode_streaming.web._problems import problem_of

__all__ = ["HEADERS", "event_stream"]

HEADERS: Final = {"content-type": EVENT_STREAM, **STREAM_HEADERS}
"""The headers for the response of a view: the content type, no caching and no buffering."""

_HEARTBEAT: Final = object()


def event_stream(
    stream: AsyncIterable[Any],
    *,
    item_type: Any = Any,
    heartbeat: float = 15.0,
    loop: LoopThread | None = None,
) -> iterate_sync[bytes]:
    """Return the frames of a stream as an iterator of bytes for a WSGI server.

    The frames are those of `dual_mode`: first a comment, with which the server sends the headers at
    once; then the items with ids; at the end `done`. A failure is logged and becomes an `error`
    event with an RFC 9457 problem.

    A WSGI server notices that the client has disconnected when it writes. It then calls `close()`
    on the iterator, as do `Response` of Flask and `StreamingHttpResponse` of Django. The stream is
    cancelled and closed in its own task.

    Args:
        stream: an async iterable that nothing else iterates.
        item_type: the type of the items, as in the annotation of an endpoint.
        heartbeat: the time without an item, in seconds, after which a comment is sent.
        loop: the thread in which the stream runs; a thread of its own by default.

    Raises:
        BrokenTransfer: while iterating, if the stream raises it.
        ValueError: `heartbeat` is not greater than 0.
    """
    source = with_heartbeats(stream, heartbeat, lambda: _HEARTBEAT)
    frames = EventFrames(ItemCodec(item_type, event_types=EVENT_TYPES), secrets.token_hex(5))
    scope = Scope(source)
    return iterate_sync(Stream(_framed(source, frames, scope), scope), loop=loop)


async def _framed(
    stream: Stream[Any], frames: EventFrames, scope: Scope
) -> AsyncGenerator[bytes, None]:
    yield frames.heartbeat  # a WSGI server sends the headers with the first bytes
    try:
        async with scope:
            async for item in scope.open(stream):
                yield frames.heartbeat if item is _HEARTBEAT else frames.item(item)
        ending = frames.done()
    except BrokenTransfer:
        raise
    except Exception as error:
        logger.exception("a stream failed after %d items", frames.count)
        ending = frames.failed(problem_of(error).body)
    yield ending
