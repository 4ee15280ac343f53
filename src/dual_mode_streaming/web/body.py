"""One `receive` for two readers: a generator that reads its request's body, and the watch for the
client's disconnect.

ASGI gives both through the same callable. A watch that simply called it would take the body's
chunks away from the generator, which would then wait for ever.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Final

from starlette.requests import Request
from starlette.types import Message, Receive

__all__ = ["SharedReceive", "share", "until_disconnect"]

_HELD_BYTES: Final = 256 * 1024


class SharedReceive:
    """Hands every message of the body to the generator, and notices the disconnect meanwhile.

    The instance is the `receive` to give to the generator's Request. While nobody reads the body
    the watch holds at most about 256 kB of it and then waits, so that the server's own flow control
    stops the upload.
    """

    __slots__ = ("_at_end", "_gone", "_held", "_held_bytes", "_lock", "_room", "_source")

    def __init__(self, source: Receive) -> None:
        self._source = source
        # Most requests have no body, and their streams may be open for long: no queue for those.
        self._held: deque[Message] | None = None
        self._held_bytes = 0
        self._at_end = False  # the end of the body is held, after what is in `_held`
        self._lock = asyncio.Lock()  # one reader of the source at a time
        self._room: asyncio.Event | None = None  # to be waited for while too much is held
        self._gone = False

    async def __call__(self) -> Message:
        """The next message, for the generator."""
        while not self._held:
            if self._at_end:
                self._at_end = False
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._gone:
                return {"type": "http.disconnect"}
            async with self._lock:  # if the watch has it, the watch's message comes into `_held`
                if not (self._held or self._at_end or self._gone):
                    message = await self._source()
                    self._gone = message["type"] == "http.disconnect"
                    return message
        message = self._held.popleft()
        self._held_bytes -= len(message.get("body", b""))
        if self._room is not None:
            self._room.set()
            self._room = None
        return message

    async def until_disconnect(self) -> None:
        """Return when the client has gone."""
        while not self._gone:
            if self._room is not None:
                await self._room.wait()
            async with self._lock:
                if self._gone:  # the generator saw it while we waited for the lock
                    return  # type: ignore[unreachable]
                message = await self._source()
                if message["type"] == "http.disconnect":
                    self._gone = True
                    return
                if not message.get("body") and not message.get("more_body"):
                    self._at_end = True
                    continue
                if self._held is None:
                    self._held = deque()
                self._held.append(message)
                self._held_bytes += len(message.get("body", b""))
                if self._held_bytes > _HELD_BYTES:
                    self._room = asyncio.Event()


def share(request: Request, receive: Receive) -> Receive:
    """Let the request's body and the watch for its disconnect share one `receive`."""
    if not isinstance(request._receive, SharedReceive):
        request._receive = SharedReceive(receive)  # Starlette has no public way to set it
    return request._receive


def until_disconnect(receive: Receive) -> Awaitable[None]:
    """Return when the client has gone. What is left of the request's body is let go."""
    if isinstance(receive, SharedReceive):
        return receive.until_disconnect()
    return _until_disconnect(receive)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
