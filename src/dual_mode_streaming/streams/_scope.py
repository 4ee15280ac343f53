"""Who closes what: a stream's handle, the scope that owns its sources, the pump that reads one.

Three rules, kept here so that no operator needs to think of them:

- Whoever iterates a source closes it, in the same task, on every exit. A source that is read beside
  its consumer is read by a *pump*: one task that iterates it and closes it.
- The end of a source and its error are state. Nothing that stands for them travels with the items.
- Cancellation is never swallowed and never invented. A pump that is cancelled though its scope is
  not stopping was cancelled by its source (a timeout that the source holds over a `yield` cancels
  the task it runs in): it is thrown into the source, which makes of it what it would alone.

No other file of the streams spawns tasks.
"""

import asyncio
import contextvars
import logging
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
)
from typing import Any, TypeVar

from dual_mode_streaming.errors import SourceCancelled

__all__ = ["Pumps", "Room", "Scope", "Sink", "Stream", "turn"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Room = Callable[[], int]  # how many items a pump may pull now

logger = logging.getLogger("dual_mode_streaming")


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let the loop go round once: `asyncio.sleep(0)`, at half its price."""
    yield


class Stream(AsyncIterator[T_co]):
    """What every operator gives: read it with `async for`, once, in one task.

    It owns the streams it was made from. They are closed when it ends, when one of them fails, and
    when it is closed, even if it was never read. To leave it early, in order:

        async with merge(a, b) as items:
            async for item in items:
                break

    When the block is left, everything below is closed and no task remains. After a `break` without
    `async with` the same happens, but later, when Python finds that the iterator is dropped.
    """

    __slots__ = ("__weakref__", "_items", "_scope")

    def __init__(self, items: AsyncGenerator[T_co, None], scope: "Scope") -> None:
        self._items = items
        self._scope = scope

    def __aiter__(self) -> AsyncGenerator[T_co, None]:
        return self._items  # a native generator: nothing of ours stands between it and the loop

    async def __anext__(self) -> T_co:
        return await anext(self._items)

    async def aclose(self) -> None:
        """Stop reading and close the sources; returns when they are closed, and raises nothing.

        A RuntimeError if another task is waiting for an item: cancel that one, it closes.
        """
        # After an aclose that was cancelled, ag_running stays true; the frame is gone, though.
        if getattr(self._items, "ag_running", False) and getattr(self._items, "ag_frame", None):
            raise RuntimeError("another task reads this stream: cancel that task instead")
        try:
            await self._items.aclose()
        finally:
            await self._scope.aclose()  # what the generator did, if it was ever started

    async def __aenter__(self) -> "Stream[T_co]":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class Scope:
    """Owns sources until they are closed, each once: by whoever reads it, else by `aclose`."""

    def __init__(self, *sources: AsyncIterable[Any]) -> None:
        self._owned: dict[int, list[Any]] = {}
        for source in sources:
            self.own(source)

    def own(self, source: AsyncIterable[T]) -> AsyncIterable[T]:
        """Take one more source in; it is closed before those that were there."""
        if not hasattr(source, "__aiter__"):
            raise TypeError(
                f"a stream is an async iterable, which {type(source).__name__} is not;"
                " stream_content or bridges.from_sync makes one of a plain iterable"
            )
        self._owned.setdefault(id(source), [source])
        return source

    def open(self, source: AsyncIterable[T]) -> AsyncIterator[T]:
        """The iterator of a source; it is closed with it."""
        items = aiter(source)
        if items is not source:
            self._owned[id(source)].insert(0, items)
        return items

    async def close(self, source: object) -> None:
        """Close one source, by the task that iterated it. What its cleanup raises is raised."""
        for part in self._owned.pop(id(source), ()):
            if (aclose := getattr(part, "aclose", None)) is not None:
                await aclose()

    async def aclose(self) -> None:
        """Close the sources that are not closed yet. An error of their cleanup is logged."""
        while self._owned:
            source = next(reversed(self._owned.values()))[-1]  # the last one is read by no other
            try:
                await self.close(source)
            except Exception:
                logger.exception("a source failed while it was closed")

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class Sink:
    """Where pumps put items and readers find them; what is between is the subclass's affair."""

    append: Callable[[Any], None]
    """Takes an item; it is there before the first pump starts."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []  # readers, for news
        self.blocked: list[asyncio.Future[None]] = []  # pumps, for room
        self.error: BaseException | None = None
        self._traceback: types.TracebackType | None = None

    def ended(self) -> None:
        """Take note that a pump is done; its source is closed, and `error` set if it failed."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Keep an error for the readers; what fails after the first is noted on that."""
        if self.error is None:
            self.error = error
            self._traceback = error.__traceback__
        elif self.error is not error:
            self.error.add_note(f"Beside it, another source failed: {error!r}")

    def check(self) -> None:
        """Raise the error, if there is one; every reader gets the same, bare."""
        if self.error is not None:
            raise self.error.with_traceback(self._traceback)

    def wake(self) -> None:
        """Let the readers look again."""
        for reader in self.waiting:
            if not reader.done():
                reader.set_result(None)
        self.waiting.clear()

    def unblock(self) -> None:
        """Let the pumps ask for room again."""
        for pump in self.blocked:
            if not pump.done():
                pump.set_result(None)
        self.blocked.clear()

    async def wait(self) -> None:
        """Wait until `wake` is called, by a pump or by a timer."""
        reader = asyncio.get_running_loop().create_future()
        self.waiting.append(reader)
        await reader


class Pumps(Scope):
    """A scope whose sources are read by tasks of their own, each into a sink."""

    def __init__(
        self, *sources: AsyncIterable[Any], context: contextvars.Context | None = None
    ) -> None:
        super().__init__(*sources)
        self._context = context  # of the pumps; else that of whoever starts them
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._closing = False

    def pump(self, source: AsyncIterable[Any], sink: Sink, free: int, room: Room) -> None:
        """Start to move items from `source`: `free` of them, and then as many as `room` grants.

        What the source raises becomes the sink's `error`, or a note on the error that is there.
        """
        self.own(source)
        name = getattr(source, "__qualname__", type(source).__name__)
        task = asyncio.get_running_loop().create_task(
            self._pump(source, sink, free, room), name=f"pump of {name}", context=self._context
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
        """Stop the pumps, and wait until all sources are closed.

        A cancellation meanwhile reaches the pumps, as it would reach the cleanup of a source that
        is iterated directly; it is raised when they are done.
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

    async def _pump(self, source: AsyncIterable[Any], sink: Sink, free: int, room: Room) -> None:
        try:
            try:
                await self._move(self.open(source), sink, free, room)
            finally:
                await self.close(source)
        except asyncio.CancelledError as error:
            if not self._stopping:
                cancelled = SourceCancelled()
                cancelled.__cause__ = error
                sink.fail(cancelled)
        except BaseException as error:  # the reader raises it, whatever it is
            if self._closing and sink.error is None:
                logger.error("a source failed while it was closed", exc_info=error)
            else:
                sink.fail(error)
        sink.ended()

    async def _move(self, items: AsyncIterator[Any], sink: Sink, free: int, room: Room) -> None:
        append, waiting = sink.append, sink.waiting
        try:
            async for item in items:
                append(item)
                if waiting:
                    sink.wake()
                free -= 1
                if not free:
                    free = room() or await self._wait_for_room(room, sink, items)
        except StopAsyncIteration:
            pass  # the source ended on a cancellation that it brought about itself

    async def _wait_for_room(self, room: Room, sink: Sink, items: AsyncIterator[Any]) -> int:
        waiter: Awaitable[None] = turn()  # a fast reader is done by then
        while not self._stopping:  # if it is: the source has swallowed our cancellation
            try:
                await waiter
            except asyncio.CancelledError as error:
                if self._stopping or not isinstance(items, AsyncGenerator):
                    raise
                sink.append(await items.athrow(error))
                sink.wake()
            if free := room():
                return free
            waiter = asyncio.get_running_loop().create_future()
            sink.blocked.append(waiter)
        raise asyncio.CancelledError
