"""A stream as Server-Sent Events for a WSGI view (Flask, Django), which has no event loop.

return Response(event_stream(words()), headers=HEADERS)
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, Final

from dual_mode_streaming.bridges import LoopThread, iterate_sync
from dual_mode_streaming.errors import BrokenTransfer
from dual_mode_streaming.rendering import EventFrames, ItemCodec
from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.streams import heartbeat as beats
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.web._compat import EVENT_TYPES
from dual_mode_streaming.web._headers import STREAM_HEADERS
from dual_mode_streaming.web._problems import problem_of

__all__ = ["HEADERS", "event_stream"]

HEADERS: Final = {"content-type": "text/event-stream", **STREAM_HEADERS}
"""What the response of a view needs: its type, and that nobody keeps or holds back a stream."""

_BEAT: Final = object()  # never leaves this file


def event_stream(
    stream: AsyncIterable[Any],
    *,
    item_type: Any = Any,
    heartbeat: float = 15.0,
    loop: LoopThread | None = None,
) -> iterate_sync[bytes]:
    """The frames that a stream of `dual_mode` has, as an iterator of bytes for a WSGI server.

    In: an async iterable, which nothing else iterates; `item_type` as an endpoint's annotation
    would say it. Out: a comment, with which the head leaves at once; a frame an item, with ids;
    then `done`. An error is told as `error`, an RFC 9457 problem, and logged. The stream runs in a
    thread of its own, or in `loop`.

    A WSGI server sees that its client has left when it writes: a comment goes out after
    `heartbeat` seconds of silence. It then calls `close()`, as do `Response` of Flask and
    `StreamingHttpResponse` of Django, and the stream is cancelled and closed in its own task.

    Raises BrokenTransfer, where the stream does, to break the transfer off. ValueError for a
    heartbeat that is not above 0.
    """
    beating = beats(stream, heartbeat, lambda: _BEAT)
    frames = EventFrames(ItemCodec(item_type, event_types=EVENT_TYPES), secrets.token_hex(5))
    scope = Scope(beating)
    return iterate_sync(Stream(_framed(beating, frames, scope), scope), loop=loop)


async def _framed(
    stream: Stream[Any], frames: EventFrames, scope: Scope
) -> AsyncGenerator[bytes, None]:
    yield frames.heartbeat  # a WSGI server sends the head along with the first bytes
    try:
        async with scope:
            async for item in scope.open(stream):
                yield frames.heartbeat if item is _BEAT else frames.item(item)
        ending = frames.done()
    except BrokenTransfer:
        raise
    except Exception as error:
        logger.exception("a stream failed after %d items", frames.count)
        ending = frames.failed(problem_of(error).body)
    yield ending
