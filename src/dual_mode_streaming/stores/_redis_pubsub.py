"""Changes of streams in Redis: publish/subscribe on one connection for all subscribers.

Redis drops a message that it cannot deliver. So subscribers are also called when their channel is
subscribed (again, after the connection was lost), and every few seconds in any case.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.stores._base import OnChange

_SLICES: Final = 10  # parts of a round, so that not all subscribers wake at once
_AT_ONCE: Final = 1000  # channels in one command
_LONGEST_PAUSE: Final = 2.0  # seconds before it is connected again

_log = logging.getLogger(__name__)


class PubSub:
    """Calls subscribers. One task reads and reconnects, from the first subscription on.

    Args:
        pool: how to connect. The connections of the pool are not used.
        channel: the beginning of a channel's name; the id of the stream follows.
        every: the seconds of a round, in which every subscriber is called at least once.
    """

    def __init__(self, pool: ConnectionPool, channel: str, every: float) -> None:
        self._pool = pool
        self._channel = channel
        self._every = every
        self._subscribers: dict[str, list[OnChange]] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._subscribed: set[str] = set()  # as Redis has confirmed
        self._refusal: ResponseError | None = None  # why nothing can be subscribed to
        self._failures = 0  # since the last message
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def subscribe(self, stream: str, on_change: OnChange) -> AsyncIterator[None]:
        """See `Store.subscribe`. Entered when Redis has confirmed the subscription."""
        self._subscribers.setdefault(stream, []).append(on_change)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="redis pub/sub")
            if stream not in self._subscribed:
                ready = self._ready.setdefault(stream, asyncio.Event())
                with suppress(RedisError, OSError):  # the task notices it too, and reconnects
                    await self._request([stream])
                await ready.wait()
                if stream not in self._subscribed and self._refusal is not None:
                    raise self._refusal
            yield
        finally:
            subscribers = self._subscribers[stream]
            subscribers.remove(on_change)
            if not subscribers:  # the next round leaves the channel
                del self._subscribers[stream]
                self._ready.pop(stream, None)

    async def aclose(self) -> None:
        """End the task and its connection."""
        task, self._task = self._task, None
        await end_tasks(task)

    async def _run(self) -> None:
        """Connect and read, again and again."""
        now = asyncio.get_running_loop().time
        notified = now()
        while True:
            connection = None
            try:
                connection = self._connect()
                async with asyncio.timeout(self._every):
                    await connection.connect()
                    self._connection = connection  # not before: its answers would be mixed up
                    await self._request(list(self._subscribers))
                await self._read()
            except Exception as error:  # no failure may leave a subscriber without calls
                if not self._failures:  # the others are of the same outage
                    what = error if isinstance(error, ResponseError) else type(error).__name__
                    _log.warning("the pub/sub connection to Redis is lost: %s", what)
                self._failures = min(self._failures + 1, 8)
                self._refuse(error)
            finally:
                self._connection = None
                self._subscribed.clear()
                if connection is not None:
                    with suppress(RedisError, OSError):
                        await connection.disconnect(nowait=True)
            await asyncio.sleep(min(_LONGEST_PAUSE, 0.02 * 2**self._failures))
            if now() - notified > self._every:  # perhaps only publish/subscribe is forbidden
                notified = now()
                for stream in tuple(self._subscribers):
                    self._notify(stream)

    def _refuse(self, error: Exception) -> None:
        """Let those who wait for a subscription have the error, if Redis refuses it."""
        self._refusal = error if isinstance(error, ResponseError) else None
        if self._refusal is not None:
            for ready in self._ready.values():
                ready.set()
            self._ready.clear()

    def _connect(self) -> Any:
        """Return a connection that does not reconnect by itself and reads without a timeout."""
        options = self._pool.connection_kwargs | {"retry": Retry(NoBackoff(), 0)}
        return self._pool.connection_class(**options | {"socket_timeout": None})

    async def _request(self, streams: list[str]) -> None:
        """Subscribe to channels, if there is a connection. Doing it twice is harmless."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            return
        await self._send("SUBSCRIBE", streams)

    async def _send(self, command: str, streams: list[str]) -> None:
        for start in range(0, len(streams), _AT_ONCE):
            channels = [self._channel + stream for stream in streams[start : start + _AT_ONCE]]
            await self._connection.send_command(command, *channels, check_health=False)

    async def _read(self) -> None:
        """Take messages and make rounds. Raises TimeoutError if Redis is silent for two rounds."""
        now = asyncio.get_running_loop().time
        pause = self._every / _SLICES
        part, silent, next_part = 0, 0, now() + pause
        while True:
            left = next_part - now()
            if left <= 0:
                next_part = now() + pause
                part = (part + 1) % _SLICES
                silent += 1
                if silent > 2 * _SLICES:
                    raise TimeoutError("no answer to PING")
                await self._make_round(part)
                continue
            message = await self._connection.read_response(
                timeout=left, disconnect_on_error=False, push_request=True
            )
            if message is None:
                continue
            silent = 0
            if isinstance(message, list) and len(message) == 3:
                self._take(message[0], message[1].decode().removeprefix(self._channel))

    def _take(self, kind: bytes, stream: str) -> None:
        """Handle a message of Redis."""
        if self._failures:
            self._failures = 0
            _log.info("the pub/sub connection to Redis is back")
        if kind == b"subscribe":
            self._subscribed.add(stream)
            if (ready := self._ready.pop(stream, None)) is not None:
                ready.set()
            self._notify(stream)
        elif kind == b"message":
            self._notify(stream)

    async def _make_round(self, part: int) -> None:
        """Call a part of the subscribers, leave channels without any, and send a PING."""
        for stream in tuple(self._subscribers):
            if int(stream[-4:], 16) % _SLICES == part:
                self._notify(stream)
        unused = [stream for stream in self._subscribed if stream not in self._subscribers]
        self._subscribed.difference_update(unused)
        await self._send("UNSUBSCRIBE", unused)
        if part == 0:
            await self._connection.send_command("PING", check_health=False)

    def _notify(self, stream: str) -> None:
        for on_change in tuple(self._subscribers.get(stream, ())):
            try:
                on_change()
            except Exception:  # the failure of one subscriber does not concern the others
                _log.exception("a subscriber of a stream failed")
