"""Rates: how often in any minute, by key, counted where it shall be counted."""

import math
import time
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

__all__ = ["LocalRates", "Rates"]


class Rates(Protocol):
    """Lets a key act so many times in any minute."""

    a_minute: int

    async def hit(self, key: str) -> int | None:
        """The key acts. Out: None if it may, else the seconds after which it may again."""
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...


class LocalRates:
    """Counts in this process."""

    def __init__(self, a_minute: int) -> None:
        self.a_minute = a_minute
        self._limit = RateLimitItemPerMinute(a_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    async def hit(self, key: str) -> int | None:
        """See `Rates`."""
        if self._window.hit(self._limit, key):
            return None
        again = self._window.get_window_stats(self._limit, key).reset_time - time.time()
        return max(1, math.ceil(again))

    async def aclose(self) -> None:
        """See `Rates`."""
