"""Sources: streams made of an iterable, a queue, callbacks, or nothing at all."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

from dual_mode_streaming.streams._buffers import (
    BufferedStream,
    BufferPolicy,
    DropCount,
    Overflow,
    OverflowBuffer,
)
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.streams._timing import sleep

T = TypeVar("T")


class _EndMarker:
    def __repr__(self) -> str:
        return "END"


END: Final = _EndMarker()
"""Marks the end of a queue. It is compared by identity, so no item equals it by accident."""


class QueuedError:
    """Carries an error through a queue; `dequeue` raises it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def stream_content(
    content: Iterable[T],
    with_delay_sec: float | None = None,
    delay_first: bool = False,
    delay_end: bool = True,
) -> Stream[T]:
    """Yield the items of a plain iterable, optionally with a delay between them.

    In: an iterable. It runs in the event loop and must not block; `bridges.from_sync` takes
    iterables that block. Out: its items.

    Bound: nothing is pulled before it is needed.
    On error: the error is raised as it is.
    On early exit: a generator given as `content` is closed.

    Args:
        content: the items.
        with_delay_sec: seconds between two items; None for no delay.
        delay_first: wait before the first item, too.
        delay_end: wait after the last item, too.
    """

    async def items() -> AsyncGenerator[T, None]:
        iterator = iter(content)
        try:
            if with_delay_sec is None:
                for item in iterator:
                    yield item
            else:
                wait = delay_first
                for item in iterator:
                    if wait:
                        await sleep(with_delay_sec)
                    wait = True
                    yield item
                if delay_end:
                    await sleep(with_delay_sec)
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    return Stream(items(), Scope())


def endless_stream() -> Stream[Any]:
    """Yield no item and never end, until it is closed or its reader is cancelled. No polling."""

    async def items() -> AsyncGenerator[Any, None]:
        await asyncio.get_running_loop().create_future()
        yield

    return Stream(items(), Scope())


def dequeue(queue: "asyncio.Queue[T]", end: object = END) -> Stream[T]:
    """Yield the items of a queue until its end marker; the other side of `enqueue`.

    In: a queue, and its end marker, which is compared by identity. With `end=None`, the convention
    of genai-processors, None ends the stream. Out: the items; `task_done` is called for each.

    Bound: nothing is taken before it is needed.
    On error: the error of the stream that was enqueued is raised here, as it is.
    On early exit: the queue keeps what is in it.
    """

    async def items() -> AsyncGenerator[T, None]:
        while True:
            item: Any = await queue.get()
            queue.task_done()
            if item is end:
                return
            if type(item) is QueuedError:
                raise item.error
            yield item

    return Stream(items(), Scope())


class Emitter(Generic[T]):
    """The writer's side of `from_callback`, to be called from any thread.

    `emit(item)` adds an item, `emit.close()` ends the stream, `emit.fail(error)` ends it with an
    error. After the end, and after the stream was closed, all three do nothing.
    """

    def __init__(self, buffer: "_LockedBuffer[T]") -> None:
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._wake_scheduled = False

    def __call__(self, item: T) -> None:
        with self._buffer.lock:
            if not self._buffer.done:
                try:
                    self._buffer.put(item)
                except BaseException as error:
                    self._buffer.fail(error)
                    self._buffer.done = True
        self._schedule_wake()

    def close(self) -> None:
        """End the stream after the items before."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, which is raised after the items before it."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        with self._buffer.lock:
            if not self._buffer.done and error is not None:
                self._buffer.fail(error)
            self._buffer.done = True
        self._schedule_wake()

    def _schedule_wake(self) -> None:
        # At most one call is scheduled, however fast the callbacks are.
        if not self._wake_scheduled:
            self._wake_scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop is closed, and no reader is left

    def _wake(self) -> None:
        self._wake_scheduled = False
        self._buffer.wake()


class _LockedBuffer(OverflowBuffer[T]):
    """A buffer whose items come from other threads."""

    def __init__(self, policy: BufferPolicy[T], drops: DropCount) -> None:
        super().__init__(policy, drops)
        self.lock = threading.RLock()

    def take(self) -> T:
        with self.lock:
            return super().take()


def from_callback(
    register: Callable[[Emitter[T]], Callable[[], object] | None],
    *,
    maxsize: int = 64,
    max_bytes: int | None = None,
    overflow: Overflow = Overflow.ERROR,
    size_of: Callable[[T], int] | None = None,
    coalesce: Callable[[T, T], T] | None = None,
    on_drop: Callable[[int], T] | None = None,
) -> BufferedStream[T]:
    """Yield the items that a callback is called with.

    In: `register(emit)`, called when the stream is first read. It arranges that `emit(item)` is
    called, in any thread. If it returns a function, that is called when the stream is closed. Out:
    the emitted items.

    Bound: `maxsize` and `max_bytes`, as in `buffer`. By default a reader that is too slow gets a
    StreamOverflow. A callback cannot wait, so BLOCK is a ValueError.
    On error: the error given to `emit.fail` is raised here, one of `register` too.
    On early exit: the function that `register` returned is called; later items are ignored.
    """
    if overflow is Overflow.BLOCK:
        raise ValueError("a callback cannot wait: choose an overflow other than BLOCK")
    drops = DropCount()
    policy = BufferPolicy(maxsize, max_bytes, overflow, size_of, coalesce, on_drop)
    buffer = _LockedBuffer(policy, drops)

    async def run() -> AsyncGenerator[T, None]:
        unregister = register(Emitter(buffer))
        try:
            async with aclosing(buffer.read()) as items:
                async for item in items:
                    yield item
        finally:
            buffer.done = True
            if unregister is not None:
                unregister()

    return BufferedStream(run(), Scope(), drops)
