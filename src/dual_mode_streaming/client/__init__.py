"""Clients for dual-mode endpoints, and for any other server's events; they need the `client` extra.

    with DualModeClient("http://127.0.0.1:8000") as client:
        document = client.get("/data?count=3")
        for event in client.stream("/data?count=3", model=Item):
            print(event.data)

`AsyncDualModeClient` is its twin. Both run the same protocol, which does no I/O.
"""

try:
    import httpx as _  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("the clients need: pip install 'dual-mode-streaming[client]'") from error

from dual_mode_streaming.client._async import AsyncDualModeClient, AsyncEventStream
from dual_mode_streaming.client._events import Event
from dual_mode_streaming.client._options import RequestOptions, StreamOptions
from dual_mode_streaming.client._policy import DUAL_MODE, FOREIGN, WHATWG, Dialect, Reconnect
from dual_mode_streaming.client._sync import DualModeClient, EventStream
from dual_mode_streaming.errors import (
    AnswerError,
    ConnectionFailed,
    EventTooLarge,
    RequestRefused,
    StreamFailed,
    StreamReset,
    StreamTruncated,
    UnexpectedContent,
    UnreadableAnswer,
)

__all__ = [
    "DUAL_MODE",
    "FOREIGN",
    "WHATWG",
    "AnswerError",
    "AsyncDualModeClient",
    "AsyncEventStream",
    "ConnectionFailed",
    "Dialect",
    "DualModeClient",
    "Event",
    "EventStream",
    "EventTooLarge",
    "Reconnect",
    "RequestOptions",
    "RequestRefused",
    "StreamFailed",
    "StreamOptions",
    "StreamReset",
    "StreamTruncated",
    "UnexpectedContent",
    "UnreadableAnswer",
]
