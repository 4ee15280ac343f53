"""The producer of a recorded stream: it runs one generator into a store, with or without readers.

It writes what is ready whenever the generator waits, and at the latest when a bound is reached. So
a slow store pauses the generator.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from dual_mode_streaming.recordings._entries import Record
from dual_mode_streaming.recordings._writer import Writer
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.running.pull import drive, pull
from dual_mode_streaming.running.timeslice import Timeslice
from dual_mode_streaming.sse import EndState
from dual_mode_streaming.stores._base import AppendResult, Store, StoreError

__all__ = ["Producer"]

logger = logging.getLogger("dual_mode_streaming")

FLUSH_BYTES: Final = 64 * 1024
FLUSH_RECORDS: Final = 256
"""The most that is written at once, except one record that is larger by itself."""


class Producer:
    """Writes one stream, after its entry number `head`.

    Args:
        source: makes the generator. The producer closes it, in the task that runs it.
        record_of: returns the record of an item; None for an item that is not recorded.
        problem_of: returns what readers see of an exception, as JSON.
        cleanup_timeout: as for a response; see `Options`. In seconds.
        resumes: another worker can continue the stream, so that a shutdown does not end it.
        max_duration: the time in seconds after which the stream ends with an error; None for never.
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
        self.waited = False
        self._source = source
        self._record_of = record_of
        self._problem_of = problem_of
        self._writer = Writer(store, stream, generation, head, self._heed)
        self._owner = Owner(cleanup_timeout)
        self._begun = False
        self._requested_end: End | None = None
        self._resumes = resumes
        self._max_duration = max_duration
        self._batch: list[bytes] = []  # what the store has not acknowledged
        self._size = 0
        self._flushing = False

    def stop(self, end: End) -> None:
        """Stop the generator, now or as soon as it begins. Returns at once."""
        self._requested_end = self._requested_end or end
        if self._begun:  # a task that is cancelled before its first step would write no end
            self._owner.stop(end)

    async def run(self) -> None:
        """Run the generator to its end, and write the end of the stream. Raises nothing."""
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
        if self._requested_end is not None:
            self._owner.stop(self._requested_end)
        try:
            await asyncio.sleep(0)  # where that cancellation arrives
            await drive(pull(self._source(), self, self._owner, Timeslice()), self._on_wait)
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except Exception as raised:
            error = raised
        await self._conclude(error)

    def take(self, item: Any) -> bool:
        """Keep the record of an item to be written. Returns whether it is time to write."""
        record = self._record_of(item)
        if record is not None:
            payload = record.pack()
            self._batch.append(payload)
            self._size += len(payload)
        return len(self._batch) >= FLUSH_RECORDS or self._size >= FLUSH_BYTES

    def check(self) -> None:
        """Nothing: the bounds are those of `take`."""

    def _on_wait(self) -> Awaitable[None] | None:
        """Write what the generator has made while it waits."""
        self.waited = True
        if not self._batch or self._flushing or self._owner.end is not None:
            return None
        return self.flush()

    async def flush(self) -> None:
        """Write what there is; it is kept until the store has acknowledged it.

        A store that fails for good ends the generator, which does not see the error.
        """
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
        """Write the end, unless another worker will."""
        end = self._owner.end
        if end is not None and isinstance(error, Exception):
            logger.error("the source of %s failed when it was ended", self.stream, exc_info=error)
        if end is End.SUPERSEDED or (end is End.DRAINING and self._resumes):
            return
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
            bug = body.get("status") == 500
            logger.error(
                "the recording %s failed: %s",
                self.stream,
                body.get("detail"),
                exc_info=error if bug else None,
            )
        items = self._writer.head + len(self._batch)
        last = [*self._batch, Record.end(state, {**body, "items": items}).pack()]
        try:
            await self._writer.append(last, end=state)
        except asyncio.CancelledError:
            if end is not None:
                raise
            await self._writer.append(last, end=state)  # it was stopped when it was over already

    def _heed(self, verdict: AppendResult) -> None:
        if verdict is AppendResult.CANCEL:
            self.stop(End.STOPPED)
        elif verdict in (AppendResult.FENCED, AppendResult.CLOSED):
            self.stop(End.SUPERSEDED)
