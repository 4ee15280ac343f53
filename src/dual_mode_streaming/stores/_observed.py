"""A store that tells how long its calls take."""

import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from dual_mode_streaming.stores._base import Entry, Info, New, State, Store, Verdict

__all__ = ["ObservedStore"]

T = TypeVar("T")


class ObservedStore:
    """The given store, every call told as (operation, seconds, whether it failed)."""

    def __init__(self, store: Store, told: Callable[[str, float, bool], None]) -> None:
        self._store = store
        self._told = told
        self.limits = store.limits
        self.durability = store.durability
        self.shared = store.shared

    async def create(self, new: New, claim: str | None = None) -> str:
        """See `Store`."""
        return await self._timed("create", self._store.create(new, claim))

    async def append(
        self,
        stream: str,
        generation: int,
        first: int,
        payloads: Sequence[bytes],
        *,
        end: State | None = None,
    ) -> Verdict:
        """See `Store`."""
        call = self._store.append(stream, generation, first, payloads, end=end)
        return await self._timed("append", call)

    async def read(
        self, stream: str, after: int, *, entries: int = 1000, size: int = 1024 * 1024
    ) -> list[Entry]:
        """See `Store`."""
        call = self._store.read(stream, after, entries=entries, size=size)
        return await self._timed("read", call)

    async def info(self, stream: str) -> Info | None:
        """See `Store`."""
        return await self._timed("info", self._store.info(stream))

    async def cancel(self, stream: str) -> None:
        """See `Store`."""
        await self._timed("cancel", self._store.cancel(stream))

    async def take_over(self, stream: str) -> int | None:
        """See `Store`."""
        return await self._timed("take_over", self._store.take_over(stream))

    async def abandoned(self) -> list[str]:
        """See `Store`."""
        return await self._timed("abandoned", self._store.abandoned())

    async def delete(self, stream: str) -> None:
        """See `Store`."""
        await self._timed("delete", self._store.delete(stream))

    def listening(self, stream: str, ring: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """See `Store`."""
        return self._store.listening(stream, ring)

    async def aclose(self) -> None:
        """See `Store`."""
        await self._store.aclose()

    async def _timed(self, operation: str, call: Coroutine[Any, Any, T]) -> T:
        began = time.perf_counter()
        failed = True
        try:
            answer = await call
            failed = False
        finally:
            self._told(operation, time.perf_counter() - began, failed)
        return answer
