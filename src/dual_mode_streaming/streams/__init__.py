"""Operators on async streams: bounded, fair, and closed on every exit.

    async with merge(heartbeat(prices, 15, beat), alerts) as items:
        async for item in items:
            ...

Every operator takes async iterables and returns a `Stream`. It owns its sources and closes them.
Each docstring says the bound, what happens on an error and on an early exit, and what closes what.
"""

from dual_mode_streaming.errors import SourceCancelled, StreamError, StreamOverflow
from dual_mode_streaming.streams._broadcast import Broadcast
from dual_mode_streaming.streams._buffers import BufferedStream, Overflow, buffer
from dual_mode_streaming.streams._combine import concat, merge, split, zip
from dual_mode_streaming.streams._processors import EachProcessor, Processor, each
from dual_mode_streaming.streams._scope import Stream
from dual_mode_streaming.streams._sources import (
    END,
    Emitter,
    dequeue,
    endless_stream,
    from_callback,
    stream_content,
)
from dual_mode_streaming.streams._timing import (
    batched,
    deadline,
    heartbeat,
    idle_timeout,
    pace,
    throttle,
)
from dual_mode_streaming.streams._transforms import (
    aenumerate,
    enqueue,
    filter,
    gather_stream,
    gather_text,
    map,
    take,
)

__all__ = [
    "END",
    "Broadcast",
    "BufferedStream",
    "EachProcessor",
    "Emitter",
    "Overflow",
    "Processor",
    "SourceCancelled",
    "Stream",
    "StreamError",
    "StreamOverflow",
    "aenumerate",
    "batched",
    "buffer",
    "concat",
    "deadline",
    "dequeue",
    "each",
    "endless_stream",
    "enqueue",
    "filter",
    "from_callback",
    "gather_stream",
    "gather_text",
    "heartbeat",
    "idle_timeout",
    "map",
    "merge",
    "pace",
    "split",
    "stream_content",
    "take",
    "throttle",
    "zip",
]
