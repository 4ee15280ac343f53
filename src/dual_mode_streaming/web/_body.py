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

_PATIENCE: Final = 30.0
"""So many seconds a generator has to begin to read a body that is larger than that."""


class SharedReceive:
    """Hands every message of the body to the generator, and notices the disconnect meanwhile.

    The instance is the `receive` to give to the generator's Request. While nobody reads the body
    the watch holds at most about 256 kB of it and then waits, so that the server's own flow control
    stops the upload. It cannot see a disconnect meanwhile, which comes after the body: so a body
    that nobody has begun to read in time is let go, and to read it then is a RuntimeError.
    """

    __slots__ = (
        "_at_end",
        "_gone",
        "_held",
        "_held_bytes",
        "_let_go",
        "_lock",
        "_room",
        "_source",
        "_wanted",
    )

    def __init__(self, source: Receive) -> None:
        self._source = source
        # Most requests have no body, and their streams may be open for long: no queue for those.
        self._held: deque[Message] | None = None
        self._held_bytes = 0
        self._at_end = False  # the end of the body is held, after what is in `_held`
        self._lock = asyncio.Lock()  # one reader of the source at a time
        self._room: asyncio.Event | None = None  # to be waited for while too much is held
        self._gone = False
        self._wanted = False  # the generator has begun to read
        self._let_go = False  # what was held, and what is still to come

    async def __call__(self) -> Message:
        """The next message, for the generator."""
        self._wanted = True
        if self._let_go:
            raise RuntimeError(
                f"the request's body was not read within {_PATIENCE:g} s, and is gone"
            )
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
                await self._until_room(self._room)
            async with self._lock:
                if self._gone:  # the generator saw it while we waited for the lock
                    return  # type: ignore[unreachable]
                message = await self._source()
                if message["type"] == "http.disconnect":
                    self._gone = True
                    return
                if self._let_go:
                    continue
                if not message.get("body") and not message.get("more_body"):
                    self._at_end = True
                    continue
                if self._held is None:
                    self._held = deque()
                self._held.append(message)
                self._held_bytes += len(message.get("body", b""))
                if self._held_bytes > _HELD_BYTES:
                    self._room = asyncio.Event()

    async def _until_room(self, room: asyncio.Event) -> None:
        if not self._wanted:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await room.wait()
                return
            except TimeoutError:
                self._let_go = not self._wanted
        if self._let_go:
            self._held = self._room = None
        else:
            await room.wait()


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
