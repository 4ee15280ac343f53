"""Places that all the processes on one Redis count together."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from dual_mode_streaming.limits._concurrency import LocalPlaces
from dual_mode_streaming.stores._redis_connection import pool_of

__all__ = ["RedisPlaces"]

logger = logging.getLogger("dual_mode_streaming")

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_TAKE: Final = (
    _NOW
    + """
for i, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) then return i end
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', key, ARGV[2] * 2)
end
return 0
"""
)
"""KEYS: the sets of tickets. ARGV: the ticket, the lease in ms, the limit of each key."""

_RENEW: Final = (
    _NOW
    + """
for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[1 + i])
    redis.call('PEXPIRE', key, ARGV[1] * 2)
end
"""
)
"""KEYS: a set for each ticket of a place. ARGV: the lease in ms, then the tickets."""

_AT_A_TIME: Final = 500


class RedisPlaces:
    """Counts in Redis: each place is a member of its key's set, until its lease is over.

    A process that dies gives its places back when their lease has run out. While Redis cannot be
    reached each process counts for itself: a limit that is too wide for a while does less harm than
    a service that lets nobody in.

    Args:
        url: of the Redis.
        prefix: of the keys.
        lease: how long a place outlives its process, in seconds.
        timeout: how long a call may take before this process counts for itself, in seconds.
    """

    def __init__(
        self, url: str, *, prefix: str = "dual-mode", lease: float = 30.0, timeout: float = 1.0
    ) -> None:
        self._redis = Redis.from_pool(pool_of(url, timeout))
        self._take = self._redis.register_script(_TAKE)
        self._renew = self._redis.register_script(_RENEW)
        self._prefix = f"{prefix}:{{places}}"
        self._lease = lease
        self._timeout = timeout
        self._held: dict[str, list[str]] = {}
        self._alone = LocalPlaces()
        self._renewing: asyncio.Task[None] | None = None
        self._giving: set[asyncio.Task[None]] = set()

    async def take(self, ticket: str, limits: Mapping[str, int]) -> str | None:
        """See `Places`."""
        keys = [f"{self._prefix}:{key}" for key in limits]
        try:
            async with asyncio.timeout(self._timeout):
                full = await self._take(keys, [ticket, int(self._lease * 1000), *limits.values()])
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("limits are counted by each process alone: Redis: %r", error)
            return await self._alone.take(ticket, limits)
        if full:
            return [*limits][int(full) - 1]
        self._held[ticket] = keys
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_all())
        return None

    def give_back(self, ticket: str) -> None:
        """See `Places`."""
        self._alone.give_back(ticket)
        if (keys := self._held.pop(ticket, None)) is not None:
            giving = asyncio.create_task(self._remove(ticket, keys))
            self._giving.add(giving)
            giving.add_done_callback(self._giving.discard)

    async def aclose(self) -> None:
        """Give everything back, as far as Redis can be reached, and close the connections."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
        for ticket in tuple(self._held):
            self.give_back(ticket)
        if self._giving:
            await asyncio.wait(self._giving)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _remove(self, ticket: str, keys: list[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.zrem(key, ticket)
        await self._try(pipeline.execute())

    async def _renew_all(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            pairs = [(key, ticket) for ticket, keys in self._held.items() for key in keys]
            for start in range(0, len(pairs), _AT_A_TIME):
                part = pairs[start : start + _AT_A_TIME]
                keys, tickets = [key for key, _ in part], [ticket for _, ticket in part]
                await self._try(self._renew(keys, [int(self._lease * 1000), *tickets]))

    async def _try(self, call: Coroutine[Any, Any, Any]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await call
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("a place is given back, or renewed, late: Redis: %r", error)
