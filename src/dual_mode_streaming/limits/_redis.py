"""The backend of limits that all processes on one Redis share, on one pool of connections."""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dual_mode_streaming.limits._memory import MemoryLimits
from dual_mode_streaming.running._tasks import end_tasks
from dual_mode_streaming.stores._outages import OutageLog
from dual_mode_streaming.stores._redis_pool import pool_of
from limits import RateLimitItemPerMinute

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_ACQUIRE: Final = (
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
"""KEYS: a set for each ticket. ARGV: the lease in ms, then the tickets."""

_RENEWED_TOGETHER: Final = 500
"""The maximum number of slots that one script renews."""

_FAILURES: Final = (RedisError, OSError, TimeoutError)


class RedisLimits:
    """A `LimitBackend` that counts in Redis, for all processes that use it.

    A slot is a member of its key's sorted set until its lease ends. The process that holds the slot
    renews the lease; the slots of a process that has died become free when their leases end. While
    Redis cannot be reached, each process counts for itself: for a time the limits are too wide, but
    the service stays available.

    Args:
        url: the address of the Redis.
        prefix: the prefix of all keys.
        lease: the time in seconds that a slot outlives its process.
        timeout: the time in seconds that a call may take before this process counts for itself.
    """

    def __init__(
        self, url: str, *, prefix: str = "dual-mode", lease: float = 30.0, timeout: float = 1.0
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._lease = lease
        self._timeout = timeout
        self._fallback = MemoryLimits()
        self._outage = OutageLog("limits are counted by this process alone")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connect()

    def _connect(self) -> None:
        """Prepare the connections, of which none is opened yet."""
        pool = pool_of(self._url, self._timeout)
        self._redis = Redis.from_pool(pool)
        self._acquire = self._redis.register_script(_ACQUIRE)
        self._renew = self._redis.register_script(_RENEW)
        options: Any = {"connection_pool": pool}  # not in the signature, but passed on
        storage = RedisStorage(
            "redis://", implementation="redispy", key_prefix=f"{self._prefix}:rates", **options
        )
        self._window = MovingWindowRateLimiter(storage)
        self._held: dict[str, list[str]] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()

    async def acquire(self, ticket: str, limits: Mapping[str, int]) -> str | None:
        """See `LimitBackend.acquire`."""
        self._begin()
        keys = [f"{self._prefix}:{{concurrency}}:{key}" for key in limits]
        try:
            async with asyncio.timeout(self._timeout):
                full = await self._acquire(
                    keys, [ticket, int(self._lease * 1000), *limits.values()]
                )
        except _FAILURES as error:
            self._outage.failed(repr(error))
            return await self._fallback.acquire(ticket, limits)
        self._outage.worked()
        if full:
            return [*limits][int(full) - 1]
        self._held[ticket] = keys
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_all())
        return None

    def release(self, ticket: str) -> None:
        """See `LimitBackend.release`."""
        self._fallback.release(ticket)
        if (keys := self._held.pop(ticket, None)) is not None:
            task = asyncio.create_task(self._remove(ticket, keys))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def hit(self, key: str, per_minute: int) -> int | None:
        """See `LimitBackend.hit`."""
        self._begin()
        limit = RateLimitItemPerMinute(per_minute)
        try:
            async with asyncio.timeout(self._timeout):
                if await self._window.hit(limit, key):
                    return None
                stats = await self._window.get_window_stats(limit, key)
        except _FAILURES as error:
            self._outage.failed(repr(error))
            return await self._fallback.hit(key, per_minute)
        return max(1, math.ceil(stats.reset_time - time.time()))

    async def aclose(self) -> None:
        """Release all slots, if Redis can be reached, and close the connections."""
        await end_tasks(self._renewing)
        for ticket in tuple(self._held):
            self.release(ticket)
        if self._releasing:
            await asyncio.wait(self._releasing)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()
        self._loop = None  # the next call connects again

    def _begin(self) -> None:
        """Connect anew in another event loop, and after `aclose`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._connect()
            self._loop = loop

    async def _remove(self, ticket: str, keys: list[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.zrem(key, ticket)
        await self._try(pipeline.execute())

    async def _renew_all(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            pairs = [(key, ticket) for ticket, keys in self._held.items() for key in keys]
            for start in range(0, len(pairs), _RENEWED_TOGETHER):
                part = pairs[start : start + _RENEWED_TOGETHER]
                keys, tickets = [key for key, _ in part], [ticket for _, ticket in part]
                await self._try(self._renew(keys, [int(self._lease * 1000), *tickets]))

    async def _try(self, call: Coroutine[Any, Any, Any]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await call
        except _FAILURES as error:
            self._outage.failed(repr(error))
