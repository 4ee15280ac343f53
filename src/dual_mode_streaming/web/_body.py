"""One `receive` for two readers: whoever reads the body, and the watch for the disconnect.

ASGI delivers both through the same callable. A watch that called it directly would take chunks of
the body away from the generator, which would then wait forever. The callable is not trusted: a
middleware may have replaced it, and then it may raise, never wait, or repeat the body for ever.
"""

import asyncio
from collections import deque
from typing import Any, Final

from starlette.requests import Request
from starlette.types import Message, Receive

from dual_mode_streaming.running.owner import logger
from dual_mode_streaming.web._json_size import JSONSize

_BUFFER_BYTES: Final = 256 * 1024
"""The part of an unread body that is buffered, in bytes. Then the upload is paused."""

_MESSAGE_BYTES: Final = 256
"""The size of a message without its body, in bytes, so that many small ones are bounded too."""

_READ_TIMEOUT: Final = 30.0
"""The time in seconds after which a larger body that the generator does not read is discarded."""

_DISCARD_PAUSE: Final = 0.01
"""The pause in seconds between two messages that are discarded: their sender may never wait."""

_UNNOTICED: Final = (
    "`receive` returned %s where it should wait: the answer goes on, but a disconnect of its client"
    " may go unnoticed. If a middleware has replaced `receive`, install(app) asks the server's own"
)

_AT_ONCE: Final = (
    "`receive` reported a disconnect without waiting for one: the answer is ended. If its client is"
    " there, a middleware has replaced `receive`; install(app) asks the server's own"
)


class SharedReceive:
    """Deliver the body to its reader, and notice the disconnect at the same time.

    The instance is the `receive` of the app, below the middleware of `install`; without `install`
    that of the generator's Request. While nobody reads the body, the watch buffers about 256 kB of
    it and then stops receiving, so that the server pauses the upload. A disconnect comes after the
    body and cannot be seen meanwhile. So a body that the generator does not begin to read in time
    is discarded; reading it later raises RuntimeError.

    Args:
        source: the `receive` of the server, or the one that a middleware has put in its place.
    """

    _of_server = False

    __slots__ = (
        "_at_end",
        "_buffer",
        "_buffer_bytes",
        "_discarding",
        "_disconnected",
        "_ended",
        "_lock",
        "_reading",
        "_source",
        "_space",
    )

    def __init__(self, source: Receive) -> None:
        self._source = source
        # Most requests have no body, and their streams may be open for long: no queue for them.
        self._buffer: deque[Message] | None = None
        self._ended = False  # the end of the body was received
        self._at_end = False  # it was received by the watch, after what is in the buffer
        self._lock: asyncio.Lock | None = None  # one reader of the source at a time
        self._space: asyncio.Event | None = None  # set when the full buffer has space again
        self._disconnected = False
        self._reading = False  # the generator has begun to read
        self._discarding = False

    async def __call__(self) -> Message:
        """Return the next message, for the reader of the body."""
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
            async with self._turn():  # while the watch holds it, it fills the buffer
                if not (self._buffer or self._at_end or self._disconnected):
                    message = await self._source()
                    kind, size, more = _parts(message)
                    self._disconnected = kind == "http.disconnect"
                    self._ended = self._ended or (kind == "http.request" and not more)
                    if more and not size:
                        await asyncio.sleep(0)  # its sender may never wait, and nor do readers
                    return message
        message = self._buffer.popleft()
        self._buffer_bytes -= _parts(message)[1] + _MESSAGE_BYTES
        if self._space is not None:
            self._space.set()
            self._space = None
        return message

    async def until_disconnect(self) -> bool:
        """Return True when the client has disconnected, False if that cannot be noticed.

        Raises:
            Exception: whatever `receive` raises.
        """
        loop = asyncio.get_running_loop()
        while not self._disconnected:
            if self._space is not None:
                await self._until_space(self._space)
            async with self._turn():
                if self._disconnected:  # the generator received it during the wait for the lock
                    return True  # type: ignore[unreachable]
                waited: list[bool] | None = None
                if not self._of_server:
                    waited = []
                    loop.call_soon(waited.append, True)
                message: Any = await self._source()
                kind, size, more = _parts(message)
                if kind == "http.disconnect":
                    self._disconnected = True
                    if waited == []:
                        logger.warning(_AT_ONCE)
                    return True
                if kind != "http.request" or self._ended:
                    what = "another body" if self._ended else f"{message!r:.100}"
                    logger.warning(_UNNOTICED, what)
                    return False
                self._ended = not more
                if not self._discarding:
                    self._keep(message, size, more)
            if more:  # it may have returned at once, and may do so for ever
                await asyncio.sleep(_DISCARD_PAUSE if self._discarding else 0)
        return True

    def _turn(self) -> asyncio.Lock:
        if self._lock is None:  # most batches need none
            self._lock = asyncio.Lock()
        return self._lock

    def _keep(self, message: Message, size: int, more: bool) -> None:
        """Buffer a message of the body for the generator."""
        if not size and not more:
            self._at_end = True
            return
        if self._buffer is None:
            self._buffer, self._buffer_bytes = deque(), 0
        self._buffer.append(message)
        self._buffer_bytes += size + _MESSAGE_BYTES
        if more and self._buffer_bytes > _BUFFER_BYTES:
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


class ServerReceive(SharedReceive):
    """The outermost one: its source is the `receive` of the server.

    Attributes:
        json_limit: the most JSON values of the body; None for no limit.
        content_type: the content type of the body; empty if it has none.
    """

    __slots__ = ("_size", "content_type", "json_limit")
    _of_server = True

    def __init__(self, source: Receive) -> None:
        super().__init__(source)
        self.json_limit: int | None = None
        self.content_type = b""
        self._size: JSONSize | None = None

    async def __call__(self) -> Message:
        """Return the next message. Raises Problem (413) if the body has too many values."""
        message = await super().__call__()
        if self.json_limit is not None and (body := message.get("body")):
            if self._size is None:
                self._size = JSONSize.of(self.content_type, self.json_limit)
            if self._size is None:
                self.json_limit = None  # the body is no JSON
            else:
                self._size.feed(body)
        return message


def share(request: Request | None, receive: Receive) -> SharedReceive:
    """Make the body of the request and the watch for its disconnect share one `receive`.

    It is the request's own, which code of the user may have replaced.
    """
    if request is None:
        return SharedReceive(receive)
    if not isinstance(request._receive, SharedReceive):
        request._receive = SharedReceive(request._receive)  # Starlette has no public way to set it
    return request._receive


def _parts(message: Any) -> tuple[Any, int, bool]:
    """Return the type of a message, the size of its body, and whether more follows."""
    try:
        return message["type"], len(message.get("body") or b""), bool(message.get("more_body"))
    except (AttributeError, KeyError, TypeError):
        return None, 0, False
