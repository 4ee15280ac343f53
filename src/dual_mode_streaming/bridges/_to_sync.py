"""An async stream as a plain iterator: a loop in another thread reads it ahead, up to a bound."""

import contextvars
import threading
from collections.abc import AsyncIterable, Generator, Iterator
from typing import Any, Generic, TypeVar

from dual_mode_streaming.bridges._loop_thread import LoopThread
from dual_mode_streaming.streams._scope import Pumps, Sink

__all__ = ["collect_sync", "iterate_sync"]

T = TypeVar("T")


class iterate_sync(Iterator[T]):
    """The items of `stream` for a thread without a loop, or with one that it must not enter.

        with iterate_sync(chat("hello")) as words:
            for word in words:
                print(word)

    In: an async iterable, which nothing else iterates. Out: an iterator, for one thread.

    The stream runs in an event loop in a thread of its own, in a copy of the caller's context; with
    `loop` in that one, such as `shared_loop()`, where async clients that are cached live.
    Bound: `maxsize` items are pulled and not delivered.
    On error: what came before is delivered, then the error is raised as it is.
    On early exit, and on KeyboardInterrupt: the stream is cancelled, closed in its own task, and
    the thread joined, before the block is left. After a `break` without `with` the same happens
    when the iterator is dropped, which is at once in CPython.
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
        """Close the stream, in its task, and wait for that. Raises nothing of the stream."""
        self._items.close()
        self._bridge.close()

    def __enter__(self) -> "iterate_sync[T]":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def collect_sync(stream: AsyncIterable[T], *, loop: LoopThread | None = None) -> list[T]:
    """All items of a stream as a list; loop, errors and interrupts as with `iterate_sync`."""
    with iterate_sync(stream, loop=loop) as items:
        return list(items)


class _Bridge(Sink, Generic[T]):
    """The pump's end is used in the loop's thread, the reader's in the other.

    What both touch is only lists, each appended to by one thread and emptied by the other, and two
    numbers, each written by one. Of two that race, one asks for something before it looks, and the
    other provides it before it looks whether it was asked: so one of them always sees the other.
    """

    def __init__(self, stream: AsyncIterable[T], maxsize: int, loop: LoopThread | None) -> None:
        super().__init__()
        self._stream = stream
        self._pumps = Pumps(stream)
        self._maxsize = maxsize
        self._piece = max(1, maxsize // 4)
        self._much = maxsize - maxsize // 4  # so much room is worth a switch of threads
        self._own_loop = loop is None
        self._loop = LoopThread("iterate_sync") if loop is None else loop
        self._context = contextvars.copy_context()
        self._list: list[T] = []
        self.append = self._list.append
        self._wanted: list[None] = []  # one entry while the reader waits; who takes it wakes it
        self.waiting: Any = self._wanted
        self._news = threading.Lock()
        self._news.acquire()
        self._granted = maxsize  # how many items the pump may pull in all; written by the pump
        self._delivered = 0  # how many of them the reader has; written by the reader
        self._wants_room = False
        self._started = False
        self._done = False
        self._closed = False

    # In the loop's thread.

    def room(self) -> int:
        self._wants_room = True
        free = self._free()
        if free < self._much:
            return 0
        self._wants_room = False
        self._granted += free
        return free

    def wake(self) -> None:
        try:
            self._wanted.pop()
        except IndexError:
            return
        self._news.release()

    def ended(self) -> None:
        self._done = True
        self.wake()

    def _start(self) -> None:
        self._pumps.pump(self._stream, self, self._maxsize, self.room)

    # In the reader's thread.

    def read(self) -> Generator[T, None, None]:
        items, limit = self._list, self._piece
        try:
            self._started = True
            loop = self._loop.loop
            loop.call_soon_threadsafe(self._start, context=self._context)
            while True:
                if piece := items[:limit]:
                    del items[:limit]
                    count = len(piece)
                    last = piece.pop()
                    yield from piece
                    self._delivered += count
                    if self._wants_room and self._free() >= self._much:
                        self._wants_room = False
                        loop.call_soon_threadsafe(self.unblock)
                    yield last
                elif self._done:
                    if not items:
                        break
                else:
                    self._wait_for_news()
        finally:
            self.close()
        self.check()

    def _free(self) -> int:
        return self._maxsize - (self._granted - self._delivered)

    def _wait_for_news(self) -> None:
        self._wanted.append(None)
        if self._list or self._done:
            try:
                self._wanted.pop()
                return
            except IndexError:
                pass  # it was taken just now, and the lock is released for it
        self._news.acquire()

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
