"""Rates that all the processes on one Redis count together."""

import asyncio
import logging
import math
import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from dual_mode_streaming.limits._rates import LocalRates
from dual_mode_streaming.stores._redis_connection import pool_of

__all__ = ["RedisRates"]

logger = logging.getLogger("dual_mode_streaming")


class RedisRates:
    """Counts in Redis; while it cannot be reached each process counts for itself.

    Args:
        url: of the Redis.
        a_minute: how often a key may act in any minute.
        prefix: of the keys.
        timeout: how long a call may take before this process counts for itself, in seconds.
    """

    def __init__(
        self, url: str, a_minute: int, *, prefix: str = "dual-mode", timeout: float = 1.0
    ) -> None:
        self.a_minute = a_minute
        self._limit = RateLimitItemPerMinute(a_minute)
        self._pool = pool_of(url, timeout)
        pool: Any = {"connection_pool": self._pool}  # more than its type says is handed on
        storage = RedisStorage(
            "redis://", implementation="redispy", key_prefix=f"{prefix}:rates", **pool
        )
        self._window = MovingWindowRateLimiter(storage)
        self._timeout = timeout
        self._alone = LocalRates(a_minute)

    async def hit(self, key: str) -> int | None:
        """See `Rates`."""
        try:
            async with asyncio.timeout(self._timeout):
                if await self._window.hit(self._limit, key):
                    return None
                stats = await self._window.get_window_stats(self._limit, key)
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("rates are counted by each process alone: Redis: %r", error)
            return await self._alone.hit(key)
        return max(1, math.ceil(stats.reset_time - time.time()))

    async def aclose(self) -> None:
        """See `Rates`."""
        await self._pool.aclose()
