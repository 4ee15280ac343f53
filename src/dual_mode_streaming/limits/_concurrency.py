"""Places: how many of something are taken now, by key, counted where it shall be counted."""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

__all__ = ["LocalPlaces", "Places"]


class Places(Protocol):
    """Counts what is taken, by key."""

    async def take(self, ticket: str, limits: Mapping[str, int]) -> str | None:
        """Take one place of each key, or none of any. Out: the first key that is full."""
        ...

    def give_back(self, ticket: str) -> None:
        """Give back what the ticket has taken; returns at once."""
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...


class LocalPlaces:
    """Counts in this process."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._tickets: dict[str, tuple[str, ...]] = {}

    async def take(self, ticket: str, limits: Mapping[str, int]) -> str | None:
        """See `Places`."""
        for key, limit in limits.items():
            if self._taken[key] >= limit:
                return key
        self._taken.update(limits.keys())
        self._tickets[ticket] = tuple(limits)
        return None

    def give_back(self, ticket: str) -> None:
        """See `Places`; a ticket that has taken nothing gives nothing back."""
        for key in self._tickets.pop(ticket, ()):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]  # or every key there ever was would be remembered

    async def aclose(self) -> None:
        """See `Places`."""
