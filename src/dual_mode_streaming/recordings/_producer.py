"""The producer of a recorded stream: runs one generator and writes its items to a store.

It needs no readers. It writes whenever the generator waits, and at the latest when a bound is
reached, so that a slow store pauses the generator.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from dual_mode_streaming.recordings._entries import StreamRecord
from dual_mode_streaming.recordings._operation import Operation
from dual_mode_streaming.recordings._writer import LeasedWriter
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.running.pull import drive, pull
from dual_mode_streaming.running.timeslice import Timeslice
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Store, StoreError

logger = logging.getLogger("dual_mode_streaming")

FLUSH_BYTES: Final = 64 * 1024
FLUSH_RECORDS: Final = 256
"""The bounds of one append. A single larger record is written by itself."""

_LAST_APPEND: Final = 1.0
"""The time in seconds for the end of a stream at a shutdown, which waits for no store."""


class Producer:
    """Writes one stream, in one generation, after its entry number `head`.

    Args:
        store: the store of the stream.
        stream: the id of the stream.
        operation: what is recorded.
        source: makes the generator. The producer closes it, in the task that runs it.
        generation: the generation of this writer.
        head: the sequence of the last entry in the store.

    Attributes:
        generation: the same.
        resumes: whether another worker can continue the stream, so that a shutdown does not end it.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        operation: Operation,
        source: Callable[[], AsyncIterator[Any]],
        *,
        generation: int = 1,
        head: int = 0,
    ) -> None:
        self.generation = generation
        self._stream = stream
        self._operation = operation
        self._source = source
        self._writer = LeasedWriter(store, stream, generation, head, self._on_result)
        self._owner = Owner(operation.cleanup_timeout)
        self._started = False
        self._requested_end: End | None = None
        self.resumes = operation.resume is not None and store.shared
        self._batch: list[bytes] = []  # not acknowledged by the store yet
        self._size = 0
        self._flushing = False

    def stop(self, end: End) -> None:
        """Stop the generator, now or as soon as it starts. Only the first reason counts."""
        self._requested_end = self._requested_end or end
        if self._started:  # a task that is cancelled before its first step would write no end
            self._owner.stop(end)

    async def run(self) -> None:
        """Run the generator to its end, and write the end of the stream. Errors are logged."""
        loop = asyncio.get_running_loop()
        longest = self._operation.max_duration
        timer = longest and loop.call_later(longest, self.stop, End.TOO_LONG)
        try:
            async with self._writer:
                await self._owner.run(self._produce())
        except TimeoutError:
            logger.error("the recorded stream %s has no end: its store is too slow", self._stream)
        except Exception:
            logger.exception("the recorded stream %s has no end", self._stream)
        finally:
            if timer:
                timer.cancel()

    async def _produce(self) -> None:
        error: BaseException | None = None
        self._started = True
        if self._requested_end is not None:
            self._owner.stop(self._requested_end)
        try:
            await asyncio.sleep(0)  # the cancellation arrives here
            timeslice = Timeslice()
            pulling = pull(self._source(), self, self._owner, timeslice)
            await drive(pulling, self._on_wait, timeslice)
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except BaseException as raised:  # its readers wait for an end
            error = raised
        await self._conclude(error)

    def take(self, item: Any) -> bool:
        """Keep the record of an item. Returns whether a bound is reached and it must be written."""
        record = self._operation.record_of(item)
        if record is not None:
            payload = record.pack()
            self._batch.append(payload)
            self._size += len(payload)
        return len(self._batch) >= FLUSH_RECORDS or self._size >= FLUSH_BYTES

    def check(self) -> None:
        """Do nothing: `take` checks the bounds."""

    def _on_wait(self) -> Awaitable[None] | None:
        """Write what the generator has yielded before it waits."""
        if not self._batch or self._flushing or self._owner.end is not None:
            return None
        return self.flush()

    async def flush(self) -> None:
        """Write the kept records. They are dropped when the store has acknowledged them.

        If the store fails for too long, the generator is cancelled; it does not see the error.
        """
        self._flushing = True
        try:
            result = await self._writer.append(self._batch) if self._batch else AppendResult.OK
            if result is AppendResult.GAP:
                raise StoreError("the store has lost the last entries of the stream")
        except StoreError as error:
            logger.error("the recording of the stream %s is abandoned: %s", self._stream, error)
            self.stop(End.SUPERSEDED)
        else:
            self._batch, self._size = [], 0
            self._on_result(result)
        finally:
            self._flushing = False

    async def _conclude(self, error: BaseException | None) -> None:
        """Write the end of the stream, unless another worker will write it."""
        end = self._owner.end
        if end is not None and error and not isinstance(error, asyncio.CancelledError):
            logger.error(
                "the source of the stream %s failed while it was closed",
                self._stream,
                exc_info=error,
            )
        if end is End.SUPERSEDED:
            return
        if end is End.DRAINING and self.resumes:
            return await self._writer.release()
        state: EndState
        body: dict[str, Any]
        if end is End.STOPPED:
            state, body = "cancelled", {}
        elif end in (End.DRAINING, End.CANCELLED):
            state, body = "interrupted", {"reason": "shutdown"}
        elif end is End.TOO_LONG:
            state, body = "error", {"type": "about:blank", "status": 504, "title": end.value}
        elif error is None:
            state, body = "done", {}
        else:
            state, body = "error", self._problem_of(error)
            is_bug = body.get("status") == 500
            logger.error(
                "the source of the stream %s failed: %s",
                self._stream,
                body.get("detail"),
                exc_info=error if is_bug else None,
            )
        items = self._writer.head + len(self._batch)
        last = [*self._batch, StreamRecord.end(state, {**body, "items": items}).pack()]
        try:
            async with asyncio.timeout(_LAST_APPEND if end is End.DRAINING else None):
                await self._writer.append(last, end=state)
        except asyncio.CancelledError:
            if end is not None:
                raise
            limit = _LAST_APPEND if self._owner.end is End.DRAINING else None
            async with asyncio.timeout(limit):  # stopped after the source had ended
                await self._writer.append(last, end=state)

    def _problem_of(self, error: BaseException) -> dict[str, Any]:
        """Return the JSON for readers; a plain 500 if there is none: they wait for an end."""
        try:
            body = self._operation.problem_of(error)
            StreamRecord.end("error", body).pack()
        except Exception:
            logger.exception("the failure of the stream %s cannot be recorded", self._stream)
            return {"type": "about:blank", "title": "Internal Server Error", "status": 500}
        return body

    def _on_result(self, result: AppendResult) -> None:
        """Stop the generator if the result of an append says so."""
        if result is AppendResult.CANCEL:
            self.stop(End.STOPPED)
        elif result in (AppendResult.FENCED, AppendResult.CLOSED):
            self.stop(End.SUPERSEDED)
