"""The batch sink: all items become one JSON body, bounded in items, bytes and seconds."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from time import perf_counter
from typing import Any, Final, TypeVar

from dual_mode_streaming.errors import BatchLimitExceeded, SourceCancelled, SourceExited
from dual_mode_streaming.rendering import ItemCodec, Representation
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.running.pull import (
    close_source,
    drive,
    pull,
    throw_into,
)
from dual_mode_streaming.running.timeslice import Timeslice
from dual_mode_streaming.web._options import Options, duration_of
from dual_mode_streaming.web._problems import problem_of_end

T = TypeVar("T")

_FIRST_CHUNK: Final = 128
"""The number of items in the first call of the encoder."""

_CHUNK_BYTES: Final = 128 * 1024
"""The target size of later calls of the encoder, in bytes. Larger calls are more efficient, but
block the event loop longer: this size for about half a millisecond."""

_UNWATCHED_SLICES: Final = 20
"""The number of timeslices before the watch for the disconnect starts. Most batches are complete by
then, and the watch needs a task."""


async def first(items: AsyncIterator[T]) -> T | None:
    """Fold a feed to its first item, or to None if it has none."""
    async for item in items:
        return item
    return None


class BatchSink:
    """Make the batch body of one source: `{"data": [item, ...]}`, or what the fold returns.

    Attributes:
        body: the JSON after `run` has returned; None before.
    """

    __slots__ = (
        "_allowed",
        "_began",
        "_chunk",
        "_chunk_items",
        "_codec",
        "_limit",
        "_loop",
        "_options",
        "_owner",
        "_parts",
        "_representation",
        "_seconds",
        "_size",
        "_slices",
        "_timeslice",
        "_yields",
        "body",
        "take",
    )

    def __init__(self, representation: Representation, owner: Owner, options: Options) -> None:
        self.body: bytes | None = None
        self._representation = representation
        self._codec: ItemCodec = representation.codec
        self._owner = owner
        self._options = options
        self._timeslice = Timeslice(of_batch=True)
        self._slices = 0
        self._yields = False  # the next wait is that of `yield_to_others`
        seconds = options["batch_seconds"]
        self._seconds = min(seconds, duration_of(options) or seconds)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._limit: asyncio.TimerHandle | None = None  # most batches never wait, and need none
        self._chunk: list[Any] = []  # the items that are not encoded yet
        self.take = self._chunk.append
        self._chunk_items = _FIRST_CHUNK
        self._allowed = options["batch_items"]
        self._parts = [b'{"data":[']  # joined once, since a large body is slow to copy
        self._size = 0

    async def run(self, source: AsyncIterator[Any]) -> None:
        """Make `body`, and close the source. Run it in the owner's task.

        Raises:
            BatchLimitExceeded: the body has too many items or bytes, or takes too long.
            Problem: the server stopped the answer, and the client is still connected.
            Exception: whatever the source or the fold raises.
        """
        try:
            await drive(self._make(source), self._on_wait, self._timeslice)
        except asyncio.CancelledError:
            self._raise_end()
            raise
        finally:
            if self._limit is not None:
                self._limit.cancel()
        self._raise_end()  # a source may return when it is cancelled

    def check(self) -> int:
        """Encode a chunk if it is large enough. Raises BatchLimitExceeded."""
        count = len(self._chunk)
        if count > self._allowed:
            raise BatchLimitExceeded("items", self._options["batch_items"])
        if count >= self._chunk_items:
            self._encode()
            if self._size > self._options["batch_bytes"]:
                raise BatchLimitExceeded("bytes", self._options["batch_bytes"])
            self._allowed -= count
            count = 0
        return self._allowed + 1 - count

    async def flush(self) -> None:
        """Count the timeslice. Nothing is sent: a batch is sent as a whole."""
        self._slices += 1
        self._yields = True

    def _on_wait(self) -> None:
        if self._limit is None:
            ends = self._began + self._seconds
            self._limit = self._loop.call_at(ends, self._owner.stop, End.TOO_LONG)
        if self._yields:
            self._yields = False
            if self._slices <= _UNWATCHED_SLICES:
                return
        self._owner.watch()

    def _raise_end(self) -> None:
        end = self._owner.end
        if end is End.TOO_LONG:
            raise BatchLimitExceeded("seconds", self._seconds) from None
        if end in (End.DRAINING, End.EXPIRED):
            raise problem_of_end(end) from None

    async def _make(self, source: AsyncIterator[Any]) -> None:
        if self._representation.fold is not None:
            body = await self._folded(source)
        else:
            await pull(source, self, self._owner, self._timeslice)
            self.check()
            self._encode()
            body = b"".join([*self._parts, b"]}"])
        if len(body) > self._options["batch_bytes"]:
            raise BatchLimitExceeded("bytes", self._options["batch_bytes"])
        self.body = body

    def _encode(self) -> None:
        chunk = self._chunk
        if part := self._codec.json_list(chunk):
            if self._size:
                self._parts.append(b",")
            self._parts.append(part)
            self._size += len(part)
            self._chunk_items = max(1, _CHUNK_BYTES * len(chunk) // len(part))
        chunk.clear()

    async def _folded(self, source: AsyncIterator[Any]) -> bytes:
        fold = self._representation.fold
        assert fold is not None
        items = self._items(source)
        try:
            folding = fold(items)
            if not inspect.isawaitable(folding):
                raise TypeError(f"the fold {fold!r} is no async function")
            value = await folding
        except asyncio.CancelledError as cancelled:
            if self._owner.end is not None:
                raise
            # It arrived while the fold itself was waiting. As in a stream it belongs to the source,
            # perhaps to a timeout of its own; but the fold cannot be continued.
            with contextlib.suppress(StopAsyncIteration, asyncio.CancelledError):
                await throw_into(source, cancelled)
            raise SourceCancelled() from cancelled
        except Exception:
            raise
        except BaseException as error:
            if self._owner.is_closed_by(error):
                raise
            raise SourceExited(error) from error
        finally:
            try:
                await items.aclose()
            finally:
                await close_source(source)
        return self._codec.folded(value, self._representation.fold_result)

    async def _items(self, source: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        """Yield the items as a fold sees them: of the declared type, and counted.

        As in `pull`, a cancellation that arrives outside of the source is raised inside of it.
        """
        outside = False
        while True:
            try:
                async for item in source:
                    yield self._validated(item)
                    if perf_counter() > self._timeslice.ends:
                        outside = True
                        await self.flush()
                        await self._timeslice.yield_to_others()
                        outside = False
                return
            except asyncio.CancelledError as cancelled:
                if not outside or self._owner.end is not None:
                    raise
                outside = False
                try:
                    item = await throw_into(source, cancelled)
                except StopAsyncIteration:
                    return
            yield self._validated(item)

    def _validated(self, item: Any) -> Any:
        """Count the item and return it as the declared type. Raises BatchLimitExceeded."""
        if self._allowed == 0:
            raise BatchLimitExceeded("items", self._options["batch_items"])
        self._allowed -= 1
        return self._codec.validated(item)
