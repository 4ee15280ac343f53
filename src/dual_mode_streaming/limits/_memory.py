"""The backend of limits: its protocol, and the one that counts in this process."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from limits.strategies import MovingWindowRateLimiter


class LimitBackend(Protocol):
    """Counts what is open, and what was requested in the last minute, by key."""

    async def acquire(self, ticket: str, limits: Mapping[str, int]) -> str | None:
        """Take one slot of every key, or none of any.

        Args:
            ticket: a new name, by which the slots are released.
            limits: the number of slots of each key.

        Returns:
            None, or the first key all of whose slots are taken.
        """
        ...

    def release(self, ticket: str) -> None:
        """Release the slots of a ticket; return at once. An unknown ticket is ignored."""
        ...

    async def hit(self, key: str, per_minute: int) -> int | None:
        """Count a request of a key.

        Args:
            key: the key.
            per_minute: the number of requests that are allowed in any minute.

        Returns:
            None if the request is allowed, else the seconds until the next one is.
        """
        ...

    async def aclose(self) -> None:
        """Release all slots of this process and close the connections."""
        ...


class MemoryLimits:
    """A `LimitBackend` that counts in this process: each worker has limits of its own."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._tickets: dict[str, tuple[str, ...]] = {}
        self._window: MovingWindowRateLimiter | None = None

    @property
    def taken(self) -> dict[str, int]:
        """The number of slots that are taken, by key; only keys that have any."""
        return dict(self._taken)

    async def acquire(self, ticket: str, limits: Mapping[str, int]) -> str | None:
        """See `LimitBackend.acquire`."""
        for key, limit in limits.items():
            if self._taken[key] >= limit:
                return key
        self._taken.update(limits.keys())
        self._tickets[ticket] = tuple(limits)
        return None

    def release(self, ticket: str) -> None:
        """See `LimitBackend.release`."""
        for key in self._tickets.pop(ticket, ()):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]  # or the keys of all former clients would stay

    async def hit(self, key: str, per_minute: int) -> int | None:
        """See `LimitBackend.hit`; it needs the extra `llm`."""
        from limits import RateLimitItemPerMinute

        if self._window is None:
            from limits.storage import MemoryStorage
            from limits.strategies import MovingWindowRateLimiter

            self._window = MovingWindowRateLimiter(MemoryStorage())
        limit = RateLimitItemPerMinute(per_minute)
        if self._window.hit(limit, key):
            return None
        reset = self._window.get_window_stats(limit, key).reset_time
        return max(1, math.ceil(reset - time.time()))

    async def aclose(self) -> None:
        """See `LimitBackend.aclose`."""
