"""Async stream to plain iterator: a loop in another thread reads ahead, up to a bound."""

import contextvars
import threading
from collections.abc import AsyncIterable, Generator, Iterator
from typing import Any, Generic, TypeVar

from dual_mode_streaming.bridges._loop_thread import LoopThread
from dual_mode_streaming.streams._chunks import chunks
from dual_mode_streaming.streams._pumps import ItemBuffer, Pumps

T = TypeVar("T")


class iterate_sync(Iterator[T]):
    """Iterate an async stream with a plain `for`.

        with iterate_sync(chat("hello")) as words:
            for word in words:
                print(word)

    In: an async iterable that nothing else iterates. Out: an iterator for one thread. The stream
    runs in an event loop in another thread, in a copy of the caller's context.

    Bound: `maxsize` items are pulled and not delivered.
    On error: the items before it are delivered, then the error is raised as it is.
    On early exit, and on KeyboardInterrupt: the stream is cancelled and closed in its own task, and
    the thread is joined, before the block is left. After a `break` without `with` the same happens
    when the iterator is finalized, which in CPython is at once.

    Args:
        stream: what to read.
        maxsize: the bound, in items.
        loop: the thread that runs the stream, such as `shared_loop()`, where cached async clients
            live. It stays open. By default a thread is started and joined for this stream.
    """

    def __init__(
        self, stream: AsyncIterable[T], maxsize: int = 256, *, loop: LoopThread | None = None
    ) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        self._bridge = _Bridge(stream, maxsize, loop)
        self._items = self._bridge.read()

    def __iter__(self) -> Generator[T, None, None]:
        return self._items

    def __next__(self) -> T:
        return next(self._items)

    def close(self) -> None:
        """Close the stream in its task and wait for that. Errors of its cleanup are logged."""
        self._items.close()
        self._bridge.close()

    def __enter__(self) -> "iterate_sync[T]":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def collect_sync(stream: AsyncIterable[T], *, loop: LoopThread | None = None) -> list[T]:
    """Return all items of a stream as a list. `loop`, errors, interrupts: as in `iterate_sync`."""
    with iterate_sync(stream, loop=loop) as items:
        return list(items)


class _Bridge(ItemBuffer, Generic[T]):
    """The buffer between the pump in the loop's thread and the reader in the other.

    The threads share lists, whose single operations are atomic, and two counters, each written by
    one thread. No lock guards them. Instead, a side that is about to wait first records that, then
    checks once more; a side that provides something first provides it, then checks whether the
    other waits. So at least one of the two sees the other.
    """

    def __init__(self, stream: AsyncIterable[T], maxsize: int, loop: LoopThread | None) -> None:
        super().__init__()
        self._stream = stream
        self._pumps = Pumps(stream)
        self._maxsize = maxsize
        self._chunk_size = max(1, maxsize // 4)
        self._least_demand = maxsize - maxsize // 4  # less is not worth a switch of threads
        self._own_loop = loop is None
        self._loop = LoopThread("iterate_sync") if loop is None else loop
        self._context = contextvars.copy_context()
        self._list: list[T] = []
        self.append = self._list.append
        # One entry while the reader waits. Only the side that removes it may end that wait.
        self._reader_waits: list[None] = []
        self.waiting: Any = self._reader_waits
        self._wake_up = threading.Lock()
        self._wake_up.acquire()
        self._granted = maxsize  # items the pump may pull in total; written by the pump
        self._delivered = 0  # items the reader has; written by the reader
        self._count = 0  # items the reader has taken and not delivered
        self._pump_waits = False
        self._started = False
        self._done = False
        self._closed = False

    # In the loop's thread.

    def wake(self) -> None:
        try:
            self._reader_waits.pop()
        except IndexError:
            return
        self._wake_up.release()

    def pump_ended(self) -> None:
        self._done = True
        self.wake()

    def start(self) -> None:
        self._pumps.pump(self._stream, self, self._maxsize, self._demand)

    def _demand(self) -> int:
        self._pump_waits = True
        free = self._free()
        if free < self._least_demand:
            return 0
        self._pump_waits = False
        self._granted += free
        return free

    # In the reader's thread.

    def read(self) -> Generator[T, None, None]:
        try:
            self._started = True
            self._loop.loop.call_soon_threadsafe(self.start, context=self._context)
            for chunk in chunks(self):
                if chunk:
                    yield from chunk
                else:
                    self._wait_for_pump()
        finally:
            self.close()
        self.raise_error()

    def take(self) -> list[T]:
        chunk = self._list[: self._chunk_size]
        self._count = len(chunk)
        del self._list[: self._count]
        return chunk

    def deliver(self) -> None:
        self._delivered += self._count
        if self._pump_waits and self._free() >= self._least_demand:
            self._pump_waits = False
            self._loop.call(self.unblock)

    @property
    def finished(self) -> bool:
        return self._done and not self._list

    def _free(self) -> int:
        return self._maxsize - (self._granted - self._delivered)

    def _wait_for_pump(self) -> None:
        self._reader_waits.append(None)
        if self._list or self._done:
            try:
                self._reader_waits.pop()
                return
            except IndexError:
                pass  # the pump has removed it and releases the lock
        self._wake_up.acquire()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._started or hasattr(self._stream, "aclose"):
                self._loop.run(self._pumps.aclose())
        finally:
            if self._own_loop:
                self._loop.close()
