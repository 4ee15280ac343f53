"""Runs one generator into a store, whether or not anybody reads: the writer of a recorded stream.

It writes what is ready whenever the generator waits, and at the latest when a bound is reached; a
slow store so pauses the generator.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, Final

from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.recordings._entries import Record
from dual_mode_streaming.recordings._writer import Writer
from dual_mode_streaming.running.owner import End, Owner, close_source, drive, throw_into
from dual_mode_streaming.running.timeslice import Turns
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Store, StoreError
from dual_mode_streaming.streams._pumps import yield_to_loop

__all__ = ["Producer"]

logger = logging.getLogger("dual_mode_streaming")

FLUSH_BYTES: Final = 64 * 1024
FLUSH_RECORDS: Final = 256
"""What is written at once at the most, but for one record that is larger by itself."""


class Producer:
    """The writer of one stream, from sequence `head` + 1 on.

    Args:
        source: makes the items; what it made is closed by the producer, in the task that reads it.
        record_of: the record of an item; None for what is not recorded.
        problem_of: what readers are told of an exception, as JSON.
        cleanup_timeout: as for a response, see `Options`.
        resumes: another writer can go on where this one stops, so a shutdown is no end.
        max_duration: the seconds after which it is ended with an error; None for never.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        source: Callable[[], AsyncIterator[Any]],
        *,
        record_of: Callable[[Any], Record | None],
        problem_of: Callable[[BaseException], dict[str, Any]],
        generation: int = 1,
        head: int = 0,
        cleanup_timeout: float = 5.0,
        resumes: bool = False,
        max_duration: float | None = None,
    ) -> None:
        self.stream = stream
        self._source = source
        self._record_of = record_of
        self._problem_of = problem_of
        self._writer = Writer(store, stream, generation, head, self._heed)
        self._owner = Owner(cleanup_timeout)
        self._begun = False
        self._asked: End | None = None
        self._resumes = resumes
        self._max_duration = max_duration
        self._batch: list[bytes] = []  # what the store has not acknowledged
        self._size = 0
        self._flushing = False
        self._turns = Turns()
        self._waited = False

    def stop(self, end: End) -> None:
        """Ask it to end, even before it has begun; returns at once."""
        self._asked = self._asked or end
        if self._begun:  # a task that is cancelled before its first step would write no end
            self._owner.stop(end)

    async def run(self) -> None:
        """Run the generator to its end, which the stream then has, too. Raises nothing."""
        loop = asyncio.get_running_loop()
        cut = self._max_duration and loop.call_later(self._max_duration, self.stop, End.TOO_LONG)
        try:
            async with self._writer:
                await self._owner.run(self._produce())
        except Exception:
            logger.exception("the recording %s was left unfinished", self.stream)
        finally:
            if cut:
                cut.cancel()

    async def _produce(self) -> None:
        error: BaseException | None = None
        self._begun = True
        if self._asked is not None:
            self._owner.stop(self._asked)
        try:
            await yield_to_loop()  # where that arrives
            source = self._source()
            try:
                await drive(self._pump(source), self._on_wait)
            finally:
                await close_source(source)
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except Exception as raised:
            error = raised
        await self._conclude(error)

    async def _pump(self, source: AsyncIterator[Any]) -> None:
        making_way = False
        while True:
            try:
                async for item in source:
                    self._take(item)
                    if self._is_full or perf_counter() > self._turns.ends:
                        making_way = True
                        await self._make_way()
                        making_way = False
                    if self._owner.end is not None:
                        await yield_to_loop()  # where a cancellation still under way arrives
                        raise asyncio.CancelledError
                return
            except asyncio.CancelledError as cancelled:
                if not making_way or self._owner.end is not None:
                    raise
                making_way = False
                try:  # a timeout of the source that spans its yields, as in `Delivery`
                    self._take(await throw_into(source, cancelled))
                except StopAsyncIteration:
                    return

    async def _make_way(self) -> None:
        """A bound is reached: write, and let others run if it is their turn."""
        now = perf_counter()
        if self._waited:  # the source has let others run since we looked last: a new turn
            self._waited = False
            self._turns.begin(now)
            if not self._is_full:
                return
        await self._flush()
        if now > self._turns.ends:
            await self._turns.give_way()
            self._waited = False

    @property
    def _is_full(self) -> bool:
        return len(self._batch) >= FLUSH_RECORDS or self._size >= FLUSH_BYTES

    def _take(self, item: Any) -> None:
        record = self._record_of(item)
        if record is not None:
            payload = record.pack()
            self._batch.append(payload)
            self._size += len(payload)

    def _on_wait(self) -> Awaitable[None] | None:
        """The generator waits: what it has made is written meanwhile."""
        self._waited = True
        if not self._batch or self._flushing or self._owner.end is not None:
            return None
        return self._flush()

    async def _flush(self) -> None:
        """Write what there is; it stays there until it is known to be kept. The generator is not
        told of a store that fails for good: it is ended."""
        self._flushing = True
        try:
            verdict = await self._writer.append(self._batch) if self._batch else AppendResult.OK
            if verdict is AppendResult.GAP:
                raise StoreError("the store has lost the end of the stream")
        except StoreError as error:
            logger.error("the recording %s is given up: %s", self.stream, error)
            self.stop(End.SUPERSEDED)
        else:
            self._batch, self._size = [], 0
            self._heed(verdict)
        finally:
            self._flushing = False

    async def _conclude(self, error: BaseException | None) -> None:
        """Write the end, unless somebody else will."""
        end = self._owner.end
        if end is not None and isinstance(error, Exception):
            logger.error("the source of %s failed when it was ended", self.stream, exc_info=error)
        if end is End.SUPERSEDED or (end is End.DRAINING and self._resumes):
            return
        state: EndState
        told: dict[str, Any]
        if end is End.STOPPED:
            state, told = "cancelled", {}
        elif end in (End.DRAINING, End.CANCELLED):
            state, told = "interrupted", {"reason": "shutdown"}
        elif end is End.TOO_LONG:
            state, told = "error", {"type": "about:blank", "status": 504, "title": end.value}
        elif error is None:
            state, told = "done", {}
        else:
            if isinstance(error, asyncio.CancelledError):
                error = SourceCancelled()
            state, told = "error", self._problem_of(error)
            accident = told.get("status") == 500
            logger.error(
                "the recording %s failed: %s",
                self.stream,
                told.get("detail"),
                exc_info=error if accident else None,
            )
        items = self._writer.head + len(self._batch)
        last = [*self._batch, Record.end(state, {**told, "items": items}).pack()]
        try:
            await self._writer.append(last, end=state)
        except asyncio.CancelledError:
            if end is not None:
                raise
            await self._writer.append(last, end=state)  # asked to stop when it was over already

    def _heed(self, verdict: AppendResult) -> None:
        if verdict is AppendResult.CANCEL:
            self.stop(End.STOPPED)
        elif verdict in (AppendResult.FENCED, AppendResult.CLOSED):
            self.stop(End.SUPERSEDED)
