"""A batch answer: the fold of all items, bounded in items, bytes and seconds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, Final

from pydantic import TypeAdapter

from dual_mode_streaming.errors import BatchLimitExceeded, SourceCancelled
from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.running.owner import End, Owner, close_source, drive
from dual_mode_streaming.running.timeslice import Turns
from dual_mode_streaming.sse import dumps, escape_line_separators
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._problems import refusal_of

__all__ = ["Batch", "Fold", "first"]

Fold = Callable[[AsyncIterator[Any]], Awaitable[Any]]
"""What makes the batch body of the items. It may return before they end."""

_FIRST_CHUNK: Final = 128
_CHUNK_BYTES: Final = 128 * 1024
"""So many items are encoded in one call at first, and then as many as make so many bytes: the more
the cheaper, but the loop stands still meanwhile, for about half a millisecond."""

_UNWATCHED: Final = 20
"""So many turns a busy source may take before somebody watches for its reader's disconnect: most
batches are made by then, and the watch is a task of its own."""


async def first(items: AsyncIterator[Any]) -> Any:
    """A fold for feeds: the first item is the whole batch body; null if there is none."""
    async for item in items:
        return item
    return None


class Batch:
    """Makes the batch body of one source: `{"data": [item, …]}`, or what `fold` returns.

    `result` serialises what the fold returns; without it the value's own type decides.
    """

    __slots__ = (
        "_codec",
        "_fold",
        "_makes_way",
        "_options",
        "_owner",
        "_result",
        "_seconds",
        "_source",
        "_turns",
        "_turns_taken",
        "body",
    )

    def __init__(
        self,
        source: AsyncIterator[Any],
        codec: ItemCodec,
        *,
        owner: Owner,
        options: Options,
        fold: Fold | None = None,
        result: TypeAdapter[Any] | None = None,
    ) -> None:
        self.body: bytes | None = None
        self._source = source
        self._codec = codec
        self._fold = fold
        self._result = result
        self._owner = owner
        self._options = options
        self._turns = Turns(of_batch=True)
        self._turns_taken = 0
        self._makes_way = False
        self._seconds = min(options.batch_seconds, options.duration() or options.batch_seconds)

    async def run(self) -> None:
        """Make `body`; to be run in the owner's task. The source is closed when it returns.

        Raises BatchLimitExceeded, and what the source or the fold raises.
        """
        loop = asyncio.get_running_loop()
        limit = loop.call_later(self._seconds, self._owner.stop, End.TOO_LONG)
        try:
            await drive(self._make(), self._on_wait)
        except asyncio.CancelledError as cancelled:
            if self._owner.end is None:
                raise SourceCancelled() from cancelled
            self._raise_the_end()
            raise
        finally:
            limit.cancel()
        self._raise_the_end()  # a source that was cancelled may have returned as if at its end

    def _on_wait(self) -> None:
        """Called before each wait: for the source, or for a turn."""
        if not self._makes_way or self._turns_taken > _UNWATCHED:
            self._owner.watch()

    async def _give_way(self) -> None:
        self._turns_taken += 1
        self._makes_way = True
        await self._turns.give_way()
        self._makes_way = False

    def _raise_the_end(self) -> None:
        end = self._owner.end
        if end is End.TOO_LONG:
            raise BatchLimitExceeded("seconds", self._seconds) from None
        if end in (End.DRAINING, End.EXPIRED):
            raise refusal_of(end) from None

    async def _make(self) -> None:
        try:
            body = await (self._collect() if self._fold is None else self._folded(self._fold))
        finally:
            await close_source(self._source)
        if len(body) > self._options.batch_bytes:
            raise BatchLimitExceeded("bytes", self._options.batch_bytes)
        self.body = body

    async def _collect(self) -> bytes:
        parts = [b'{"data":[', b""]  # joined once, with the commas: a large body is dear to copy
        chunk: list[Any] = []
        size = 0
        options, turns = self._options, self._turns
        append, encode = chunk.append, self._codec.json_list
        allowed, piece = options.batch_items, _FIRST_CHUNK
        unlooked = 1  # how many items until we look at the clock and the bounds
        async for item in self._source:
            append(item)
            unlooked -= 1
            if unlooked:
                continue
            if len(chunk) > allowed:
                raise BatchLimitExceeded("items", options.batch_items)
            if len(chunk) >= piece:
                if part := encode(chunk):
                    parts += (part, b",")
                    size += len(part)
                    piece = max(1, _CHUNK_BYTES * len(chunk) // len(part))
                if size > options.batch_bytes:
                    raise BatchLimitExceeded("bytes", options.batch_bytes)
                allowed -= len(chunk)
                chunk.clear()
            now = perf_counter()
            if now > turns.ends:
                await self._give_way()
            unlooked = min(turns.items_until_look(now), allowed + 1 - len(chunk))
        if part := encode(chunk):
            parts += (part, b"")
        parts[-1] = b"]}"
        return b"".join(parts)

    async def _folded(self, fold: Fold) -> bytes:
        items = self._checked()
        try:
            value = await fold(items)
        finally:
            await items.aclose()
        if self._result is None:
            return dumps(value)
        value = self._result.validate_python(value, from_attributes=True)
        options: Any = {**self._codec.options, "include": None, "exclude": None}  # an item's
        return escape_line_separators(self._result.dump_json(value, **options))

    async def _checked(self) -> Any:
        """The items as a fold sees them: of the declared type, and counted."""
        count = 0
        async for item in self._source:
            count += 1
            if count > self._options.batch_items:
                raise BatchLimitExceeded("items", self._options.batch_items)
            if perf_counter() > self._turns.ends:
                await self._give_way()
            yield self._codec.validated(item)
