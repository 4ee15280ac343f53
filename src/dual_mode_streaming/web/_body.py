"""One `receive` for two readers: a generator that reads the body, and the watch for the disconnect.

ASGI delivers both through the same callable. A watch that called it directly would take chunks of
the body away from the generator, which would then wait forever.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Final

from starlette.requests import Request
from starlette.types import Message, Receive

_BUFFER_BYTES: Final = 256 * 1024
"""The part of an unread body that is buffered, in bytes. Then the upload is paused."""

_READ_TIMEOUT: Final = 30.0
"""The time in seconds after which a larger body that the generator does not read is discarded."""


class SharedReceive:
    """Deliver the body to the generator, and notice the disconnect at the same time.

    The instance is the `receive` of the generator's Request. While nobody reads the body, the watch
    buffers about 256 kB of it and then stops receiving, so that the server pauses the upload. A
    disconnect comes after the body and cannot be seen meanwhile. So a body that the generator does
    not begin to read in time is discarded; reading it later raises RuntimeError.
    """

    __slots__ = (
        "_at_end",
        "_buffer",
        "_buffer_bytes",
        "_discarding",
        "_disconnected",
        "_lock",
        "_reading",
        "_source",
        "_space",
    )

    def __init__(self, source: Receive) -> None:
        self._source = source
        # Most requests have no body, and their streams may be open for long: no queue for them.
        self._buffer: deque[Message] | None = None
        self._buffer_bytes = 0
        self._at_end = False  # the end of the body was received, after what is in the buffer
        self._lock = asyncio.Lock()  # one reader of the source at a time
        self._space: asyncio.Event | None = None  # set when the full buffer has space again
        self._disconnected = False
        self._reading = False  # the generator has begun to read
        self._discarding = False

    async def __call__(self) -> Message:
        """Return the next message, for the generator."""
        self._reading = True
        if self._discarding:
            raise RuntimeError(
                f"the request's body was not read within {_READ_TIMEOUT:g} s, and is gone"
            )
        while not self._buffer:
            if self._at_end:
                self._at_end = False
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._disconnected:
                return {"type": "http.disconnect"}
            async with self._lock:  # while the watch holds it, it fills the buffer
                if not (self._buffer or self._at_end or self._disconnected):
                    message = await self._source()
                    self._disconnected = message["type"] == "http.disconnect"
                    return message
        message = self._buffer.popleft()
        self._buffer_bytes -= len(message.get("body", b""))
        if self._space is not None:
            self._space.set()
            self._space = None
        return message

    async def until_disconnect(self) -> None:
        """Return when the client has disconnected."""
        while not self._disconnected:
            if self._space is not None:
                await self._until_space(self._space)
            async with self._lock:
                if self._disconnected:  # the generator received it during the wait for the lock
                    return  # type: ignore[unreachable]
                message = await self._source()
                if message["type"] == "http.disconnect":
                    self._disconnected = True
                elif not self._discarding:
                    self._keep(message)

    def _keep(self, message: Message) -> None:
        """Buffer a message of the body for the generator."""
        size = len(message.get("body", b""))
        if size == 0 and not message.get("more_body"):
            self._at_end = True
            return
        if self._buffer is None:
            self._buffer = deque()
        self._buffer.append(message)
        self._buffer_bytes += size
        if self._buffer_bytes > _BUFFER_BYTES:
            self._space = asyncio.Event()

    async def _until_space(self, space: asyncio.Event) -> None:
        """Wait until the buffer has space, or discard it if the generator does not read in time."""
        if not self._reading:
            try:
                async with asyncio.timeout(_READ_TIMEOUT):
                    await space.wait()
                return
            except TimeoutError:
                self._discarding = not self._reading
        if self._discarding:
            self._buffer = self._space = None
        else:
            await space.wait()


def share(request: Request, receive: Receive) -> Receive:
    """Make the body of the request and the watch for its disconnect share one `receive`."""
    if not isinstance(request._receive, SharedReceive):
        request._receive = SharedReceive(receive)  # Starlette has no public way to set it
    return request._receive


def until_disconnect(receive: Receive) -> Awaitable[None]:
    """Return when the client has disconnected. The rest of an unshared body is discarded."""
    if isinstance(receive, SharedReceive):
        return receive.until_disconnect()
    return _until_disconnect(receive)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
