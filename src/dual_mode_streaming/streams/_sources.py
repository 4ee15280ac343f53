"""Where streams begin: what is at hand, a queue, callbacks, or nothing at all."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

from dual_mode_streaming.streams._buffers import BufferedStream, Held, Losses, Overflow
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.streams._timing import sleep

__all__ = [
    "END",
    "Emitter",
    "Failure",
    "dequeue",
    "endless_stream",
    "from_callback",
    "stream_content",
]

T = TypeVar("T")


class _End:
    def __repr__(self) -> str:
        return "END"


END: Final = _End()
"""The end of a queue. It is no item, and no item can be it by accident."""


class Failure:
    """An error on its way through a queue; `dequeue` raises it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def stream_content(
    content: Iterable[T],
    with_delay_sec: float | None = None,
    delay_first: bool = False,
    delay_end: bool = True,
) -> Stream[T]:
    """The items of a sync iterable, `with_delay_sec` apart if given.

    A delay before the first item and one after the last are made if `delay_first` and `delay_end`
    say so. The iterable runs in the event loop and must not block: `bridges.from_sync` is for those
    that do.

    Bound: nothing is pulled before it is asked for.
    On error: it is raised as it is.
    On early exit: a generator given as `content` is closed.
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
    """No item and no end, until it is closed or its reader cancelled. Nothing is polled."""

    async def items() -> AsyncGenerator[Any, None]:
        await asyncio.get_running_loop().create_future()
        yield

    return Stream(items(), Scope())


def dequeue(queue: "asyncio.Queue[T]", end: object = END) -> Stream[T]:
    """The items of a queue until its end marker; the other side of `enqueue`.

    `end` is compared by identity, so that an item that equals it is data. With `end=None`, as
    genai-processors has it, None ends the stream. `task_done` is called for what is taken.

    Bound: nothing is taken before it is asked for.
    On error: what the stream that was enqueued raised is raised here, as it is.
    On early exit: the queue remains as it is, with what is in it.
    """

    async def items() -> AsyncGenerator[T, None]:
        while True:
            item: Any = await queue.get()
            queue.task_done()
            if item is end:
                return
            if type(item) is Failure:
                raise item.error
            yield item

    return Stream(items(), Scope())


class Emitter(Generic[T]):
    """What a callback calls: `emit(item)`, from any thread; `close()` at the end, or `fail(error)`.

    After the end, and after the stream was closed, all three do nothing.
    """

    def __init__(self, held: "_LockedHeld[T]") -> None:
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._news_is_on_its_way = False

    def __call__(self, item: T) -> None:
        with self._held.lock:
            if not self._held.done:
                try:
                    self._held.put(item)
                except BaseException as error:
                    self._held.fail(error)
                    self._held.done = True
        self._tell()

    def close(self) -> None:
        """The end: nothing further comes."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """The end, by an error, which the reader gets after what came before it."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        with self._held.lock:
            if not self._held.done and error is not None:
                self._held.fail(error)
            self._held.done = True
        self._tell()

    def _tell(self) -> None:
        # One call is under way at most, however fast the callbacks are: what waits is in `held`.
        if not self._news_is_on_its_way:
            self._news_is_on_its_way = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop is closed: nobody reads

    def _wake(self) -> None:
        self._news_is_on_its_way = False
        self._held.wake()


class _LockedHeld(Held[T]):
    """Items on hold that come from other threads."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
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
    """The items that something calls back with.

    `register(emit)` is called when the stream is first read. It arranges for `emit(item)` to be
    called, by any thread; what it returns, if anything, is called when the stream is closed.

    Bound: `maxsize` and `max_bytes`, as in `buffer`. A callback cannot wait, so BLOCK is a
    ValueError, and unless told otherwise a reader that is too slow gets a StreamOverflow.
    On error: `emit.fail(error)` raises it here. An error of `register` is raised as it is.
    On early exit: what `register` returned is called; what is emitted after that is ignored.
    """
    if overflow is Overflow.BLOCK:
        raise ValueError("a callback cannot be made to wait: choose another overflow than BLOCK")
    losses = Losses()
    held: _LockedHeld[T] = _LockedHeld(
        maxsize, max_bytes, overflow, losses, size_of=size_of, coalesce=coalesce
    )

    async def run() -> AsyncGenerator[T, None]:
        unregister = register(Emitter(held))
        try:
            async with aclosing(held.read(on_drop)) as items:
                async for item in items:
                    yield item
        finally:
            held.done = True
            if unregister is not None:
                unregister()

    return BufferedStream(run(), Scope(), losses)
