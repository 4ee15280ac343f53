"""Who is told when a stream in Redis has news: one subscribed connection for all who listen.

Redis forgets a message that it cannot deliver. So every listener is rung when its channel is
subscribed (again, after the connection was lost), and every few seconds whatever happens.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

__all__ = ["PubSub"]

_SLICES: Final = 10
"""The watchdog's round is made in so many parts, so that not all are woken at once."""

_AT_ONCE: Final = 1000
"""So many channels in one command."""

_log = logging.getLogger(__name__)


class PubSub:
    """Rings listeners. One task reads and reconnects; it is there while anybody has listened.

    `pool` says how to connect (its own connections are not used), `channel` is what comes before a
    stream's id, `every` the seconds between two rounds of the watchdog.
    """

    def __init__(self, pool: ConnectionPool, channel: str, every: float) -> None:
        self._pool = pool
        self._channel = channel
        self._every = every
        self._rings: dict[str, list[Callable[[], None]]] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._asked: set[str] = set()  # SUBSCRIBE is sent, and not yet answered
        self._subscribed: set[str] = set()
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def subscribe(self, stream: str, ring: Callable[[], None]) -> AsyncIterator[None]:
        """Ring for a stream. Entered when Redis has confirmed that the channel is subscribed."""
        self._rings.setdefault(stream, []).append(ring)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="redis pub/sub")
            if stream not in self._subscribed:
                ready = self._ready.setdefault(stream, asyncio.Event())
                with suppress(RedisError, OSError):  # the task sees that too, and connects again
                    await self._subscribe([stream])
                await ready.wait()
            yield
        finally:
            rings = self._rings[stream]
            rings.remove(ring)
            if not rings:  # the channel is left at the watchdog's next round
                del self._rings[stream]
                self._ready.pop(stream, None)

    async def aclose(self) -> None:
        """End the task and its connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        """Connect, read, and again, for ever."""
        now = asyncio.get_running_loop().time
        failures, rung = 0, now()
        while True:
            try:
                self._connection = self._connect()
                async with asyncio.timeout(self._every):
                    await self._connection.connect()
                    await self._subscribe(list(self._rings))
                failures = 0
                await self._read()
            except Exception as error:  # whatever it is: a listener must not be left in silence
                failures = min(failures + 1, 8)
                _log.info("the pub/sub connection to Redis is lost: %s", type(error).__name__)
            finally:
                connection, self._connection = self._connection, None
                self._asked.clear()
                self._subscribed.clear()
                if connection is not None:
                    with suppress(RedisError, OSError):
                        await connection.disconnect(nowait=True)
            await asyncio.sleep(min(1.0, 0.02 * 2**failures))
            if now() - rung > self._every:  # perhaps only pub/sub is forbidden
                rung = now()
                for stream in tuple(self._rings):
                    self._ring(stream)

    def _connect(self) -> Any:
        """A connection of our own that never reconnects by itself, and reads without a deadline."""
        options = self._pool.connection_kwargs | {"retry": Retry(NoBackoff(), 0)}
        return self._pool.connection_class(**options | {"socket_timeout": None})

    async def _subscribe(self, streams: list[str]) -> None:
        """Ask for channels, where that is not asked yet; nothing while there is no connection."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            return
        wanted = [stream for stream in streams if stream not in self._asked | self._subscribed]
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            self._asked.update(part)
            await self._send("SUBSCRIBE", part)

    async def _send(self, command: str, streams: list[str]) -> None:
        channels = [self._channel + stream for stream in streams]
        await self._connection.send_command(command, *channels, check_health=False)

    async def _read(self) -> None:
        """Ring for what arrives, and make the watchdog's rounds. Raises when all is silent."""
        now = asyncio.get_running_loop().time
        pause = self._every / _SLICES
        part, silent, next_round = 0, 0, now() + pause
        while True:
            left = next_round - now()
            if left <= 0:
                next_round = now() + pause
                part = (part + 1) % _SLICES
                silent += 1
                if silent > 2 * _SLICES:
                    raise TimeoutError("no answer to PING")
                await self._make_round(part)
                continue
            told = await self._connection.read_response(
                timeout=left, disconnect_on_error=False, push_request=True
            )
            if told is None:
                continue
            silent = 0
            if isinstance(told, list) and len(told) == 3:
                self._take(told[0], told[1].decode().removeprefix(self._channel))

    def _take(self, kind: bytes, stream: str) -> None:
        """One message of Redis."""
        if kind == b"subscribe":
            self._asked.discard(stream)
            self._subscribed.add(stream)
            if (ready := self._ready.pop(stream, None)) is not None:
                ready.set()
            self._ring(stream)
        elif kind == b"message":
            self._ring(stream)

    async def _make_round(self, part: int) -> None:
        """Ring a part of the listeners, leave the channels of none, see that Redis is there."""
        for stream in tuple(self._rings):
            if int(stream[-4:], 16) % _SLICES == part:
                self._ring(stream)
        left = [stream for stream in self._subscribed if stream not in self._rings]
        for start in range(0, len(left), _AT_ONCE):
            gone = left[start : start + _AT_ONCE]
            self._subscribed.difference_update(gone)
            await self._send("UNSUBSCRIBE", gone)
        if part == 0:
            await self._connection.send_command("PING", check_health=False)

    def _ring(self, stream: str) -> None:
        for ring in tuple(self._rings.get(stream, ())):
            try:
                ring()
            except Exception:  # one listener's fault is not another's
                _log.exception("a listener of a stream failed")
