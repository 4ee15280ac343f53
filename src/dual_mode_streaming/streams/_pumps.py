"""Pumps: tasks that read sources beside their consumer, each into a buffer.

- The end of a source and its error are state of the buffer, never items in it.
- A cancellation is neither swallowed nor invented. If a pump is cancelled while its scope is not
  stopping, its source did it: a timeout that the source holds over a `yield` cancels the task that
  runs the source. The cancellation is thrown into the source, which handles it as it would alone.

No other module of this package starts tasks.
"""

import asyncio
import contextvars
import logging
import types
from collections.abc import AsyncIterable, Awaitable, Callable, Generator
from typing import Any

from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.running.pull import throw_into
from dual_mode_streaming.streams._scope import Scope

Demand = Callable[[], int]
"""Returns how many more items a pump may pull now; 0 makes the pump wait."""

logger = logging.getLogger("dual_mode_streaming")


@types.coroutine
def yield_to_loop() -> Generator[None, None, None]:
    """Run one iteration of the event loop: `asyncio.sleep(0)` at half the cost."""
    yield


class ItemBuffer:
    """Where pumps put items and readers take them. Subclasses say how items are held."""

    append: Callable[[Any], None]
    """Add an item. Subclasses set it before the first pump starts."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []  # readers, for an item or the end
        self.blocked: list[asyncio.Future[None]] = []  # pumps, for demand
        self.error: BaseException | None = None
        self._traceback: types.TracebackType | None = None

    def pump_ended(self) -> None:
        """A pump has finished: its source is closed, and `error` is set if the source failed."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Keep the first error for the readers; later ones become notes on it."""
        if self.error is None:
            self.error = error
            self._traceback = error.__traceback__
        elif self.error is not error:
            self.error.add_note(f"Beside it, another source failed: {error!r}")

    def raise_error(self) -> None:
        """Raise the error, if any, as the source raised it. Every reader gets the same object."""
        if self.error is not None:
            raise self.error.with_traceback(self._traceback)

    def wake(self) -> None:
        """Wake the waiting readers."""
        for reader in self.waiting:
            if not reader.done():
                reader.set_result(None)
        self.waiting.clear()

    def unblock(self) -> None:
        """Let the blocked pumps ask for demand again."""
        for pump in self.blocked:
            if not pump.done():
                pump.set_result(None)
        self.blocked.clear()

    async def wait(self) -> None:
        """Wait for the next `wake`."""
        reader = asyncio.get_running_loop().create_future()
        self.waiting.append(reader)
        await reader


class Pumps(Scope):
    """A scope whose sources are read by pumps, in `context` or that of their starter."""

    def __init__(
        self, *sources: AsyncIterable[Any], context: contextvars.Context | None = None
    ) -> None:
        super().__init__(*sources)
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._closing = False

    def pump(
        self, source: AsyncIterable[Any], buffer: ItemBuffer, credit: int, demand: Demand
    ) -> None:
        """Start to move items from `source` into `buffer`, and close the source at the end.

        The pump pulls `credit` items and then as many as each call of `demand` returns. An error of
        the source becomes the buffer's `error`, or a note on the one that is there.
        """
        self.own(source)
        name = getattr(source, "__qualname__", type(source).__name__)
        task = asyncio.get_running_loop().create_task(
            self._run(source, buffer, credit, demand), name=f"pump of {name}", context=self._context
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Cancel the pumps, once. They close their sources; `aclose` waits for that."""
        if not self._stopping:
            self._stopping = True
            current = asyncio.current_task()
            for task in self._tasks:
                if task is not current:
                    task.cancel()

    async def aclose(self) -> None:
        """Stop the pumps and wait until all sources are closed.

        A cancellation meanwhile is passed on to the pumps, as it would reach the cleanup of a
        source that is iterated directly. It is raised when they have finished.
        """
        self._closing = True
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while pending := [task for task in self._tasks if not task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
                for task in pending:
                    task.cancel()
        await super().aclose()
        if cancelled is not None:
            raise cancelled

    async def _run(
        self, source: AsyncIterable[Any], buffer: ItemBuffer, credit: int, demand: Demand
    ) -> None:
        try:
            try:
                await self._move(source, buffer, credit, demand)
            finally:
                await self.close(source)
        except asyncio.CancelledError as error:
            if not self._stopping:
                cancelled = SourceCancelled()
                cancelled.__cause__ = error
                buffer.fail(cancelled)
        except BaseException as error:  # any kind: the reader raises it
            if self._closing and buffer.error is None:
                logger.error("a source failed while it was closed", exc_info=error)
            else:
                buffer.fail(error)
        buffer.pump_ended()

    async def _move(
        self, source: AsyncIterable[Any], buffer: ItemBuffer, credit: int, demand: Demand
    ) -> None:
        append, waiting = buffer.append, buffer.waiting
        items = self.open(source)
        if not hasattr(source, "athrow"):
            source = items
        try:
            async for item in items:
                append(item)
                if waiting:
                    buffer.wake()
                credit -= 1
                if not credit:
                    credit = demand() or await self._wait_for_demand(source, buffer, demand)
        except StopAsyncIteration:
            pass  # from `athrow`: the source ended on the cancellation it had caused itself

    async def _wait_for_demand(
        self, source: AsyncIterable[Any], buffer: ItemBuffer, demand: Demand
    ) -> int:
        waiter: Awaitable[None] = yield_to_loop()  # enough if the reader is fast
        while not self._stopping:  # else the source has swallowed the cancellation by `stop`
            try:
                await waiter
            except asyncio.CancelledError as error:
                if self._stopping:
                    raise
                buffer.append(await throw_into(source, error))
                buffer.wake()
            if credit := demand():
                return credit
            waiter = asyncio.get_running_loop().create_future()
            buffer.blocked.append(waiter)
        raise asyncio.CancelledError
