"""Ownership: the handle that every operator returns, and the scope that closes its sources.

Whoever iterates a source closes it, in the same task, on every exit. A source that is read beside
its consumer is read by a pump (`_pumps.py`): one task that iterates it and closes it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Any, TypeVar

from dual_mode_streaming.running.pull import throw_into

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

logger = logging.getLogger("dual_mode_streaming")


class Stream(AsyncIterator[T_co]):
    """The result of every operator. Read it with `async for`, once, in one task.

    A stream owns the streams it was made from. They are closed when it ends, when one of them
    fails, and when it is closed, even if it was never read. To leave it early:

        async with merge(a, b) as items:
            async for item in items:
                break

    At the end of the block all sources are closed and no task is left. After a `break` without
    `async with` the same happens later, when Python finalizes the iterator.
    """

    __slots__ = ("__weakref__", "_items", "_scope")

    def __init__(self, items: AsyncGenerator[T_co, Any], scope: "Scope") -> None:
        self._items = items
        self._scope = scope

    def __aiter__(self) -> AsyncGenerator[T_co, Any]:
        return self._items  # the native generator: `async for` then has no call of ours per item

    async def __anext__(self) -> T_co:
        return await anext(self._items)

    async def athrow(self, error: BaseException) -> T_co:
        """Raise `error` where the innermost source is suspended, and return the next item.

        So a timeout that a source holds over its yields ends as its own TimeoutError, whatever
        operators are between it and the reader whose task was cancelled.
        """
        if self._scope.read is None:
            return await self._items.athrow(error)
        try:
            item = await throw_into(self._scope.read, error)
        except StopAsyncIteration:
            return await anext(self._items)
        except BaseException as raised:
            return await self._items.athrow(raised)
        return await self._items.asend((item,))

    async def aclose(self) -> None:
        """Stop reading and close the sources. Errors of their cleanup are logged, not raised.

        Raises:
            RuntimeError: another task is waiting for an item. Cancel that task; it closes them.
        """
        # After an aclose that was cancelled, ag_running stays true although the frame is gone.
        if getattr(self._items, "ag_running", False) and getattr(self._items, "ag_frame", None):
            raise RuntimeError("another task reads this stream: cancel that task instead")
        try:
            await self._items.aclose()
        finally:
            await self._scope.aclose()  # the generator does this only if it was ever started

    async def __aenter__(self) -> "Stream[T_co]":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class Scope:
    """Owns sources and closes each once: `close` in the task that reads it, `aclose` the rest.

    Attributes:
        read: the source that a generator reads in its own task, if it takes items that are sent.
    """

    def __init__(self, *sources: AsyncIterable[Any]) -> None:
        self.read: AsyncIterable[Any] | None = None
        self._owned: dict[int, list[Any]] = {}
        for source in sources:
            self.own(source)

    def own(self, source: AsyncIterable[T]) -> AsyncIterable[T]:
        """Add a source. `aclose` closes sources in the reverse order of their addition."""
        if not hasattr(source, "__aiter__"):
            raise TypeError(
                f"a stream is an async iterable, which {type(source).__name__} is not;"
                " stream_content or bridges.from_sync makes one of a plain iterable"
            )
        self._owned.setdefault(id(source), [source])
        return source

    def open(self, source: AsyncIterable[T]) -> AsyncIterator[T]:
        """Return the iterator of an owned source; it is closed together with the source."""
        items = aiter(source)
        if items is not source:
            self._owned[id(source)].insert(0, items)
        return items

    def open_read(self, source: AsyncIterable[T]) -> AsyncIterator[T]:
        """Open a source for a generator that takes what its `yield` returns, if not None.

        That is a tuple of the item that the source has yielded when an error was raised in it (see
        `Stream.athrow`). It comes before the next one of the iterator.
        """
        items = self.open(source)
        self.read = source if hasattr(source, "athrow") else items
        return items

    async def close(self, source: object) -> None:
        """Close one source, in the task that iterated it. Errors of its cleanup are raised."""
        for part in self._owned.pop(id(source), ()):
            if (aclose := getattr(part, "aclose", None)) is not None:
                await aclose()

    async def aclose(self) -> None:
        """Close the sources that are still open. Errors of their cleanup are logged."""
        while self._owned:
            source = next(reversed(self._owned.values()))[-1]  # nothing owned reads the last one
            try:
                await self.close(source)
            except Exception:
                logger.exception("a source failed while it was closed")

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if self.read is not None and isinstance(error, asyncio.CancelledError):
                # It may have arrived while an operator waited, for a timeout of the source.
                with contextlib.suppress(StopAsyncIteration):
                    await throw_into(self.read, error)
        finally:
            await self.aclose()
