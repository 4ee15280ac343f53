"""Plain iterable to async stream: it runs in a thread of its own, beside the event loop.

A running `next()` cannot be interrupted. A cancellation therefore waits for it and then closes the
iterator: closing a generator while it runs raises ValueError and never cleans it up.
"""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from time import perf_counter
from typing import Any, Generic, TypeVar

from dual_mode_streaming.bridges._own_thread import OwnThread, acquire, in_use

T = TypeVar("T")

logger = logging.getLogger("dual_mode_streaming")

_END: Any = object()

_AHEAD_SECONDS = 0.00025
"""The longest time, in seconds, for which a quick iterator is pulled ahead: a timeslice."""

_ABANDONED = 1.0
"""The time in seconds after which one that nobody waits for is logged."""


class from_sync(AsyncIterator[T], Generic[T]):
    """Iterate a plain iterable that may block, in a thread that nothing else uses.

    In: an iterable. Out: an async iterator of its items. `iter()`, every `next()` and the close run
    in one thread and in one copy of the caller's context. So a generator may keep what belongs to a
    thread: a database connection, an RLock, a `threading.local`.

    Bound: nothing is pulled before it is needed, or the `ahead` of quick items. `limit_threads`
    sets how many iterables may be open in the process; beyond that the first item waits, and is at
    last refused with a Problem of 503.
    On error: what `next()` raises is raised here, and the iterator is closed.
    On early exit: `aclose()` or `async with` closes a generator (runs its `finally`) in its thread
    and waits for it. A cancelled `anext` waits until the running `next()` returns, closes the
    generator, and is then raised. A second cancellation does not wait; that is logged, and the
    generator is still closed as soon as that `next()` returns.

    Args:
        iterable: what to iterate.
        ahead: the most items to pull before they are needed, while they arrive within a quarter of
            a millisecond. They cross to the event loop together, which costs far less.
    """

    def __init__(self, iterable: Iterable[T], *, ahead: int = 0) -> None:
        self._iterable = iterable
        self._iterator: Iterator[T] | None = None
        self._context = contextvars.copy_context()
        self._most = ahead + 1
        self._thread: OwnThread | None = None
        # The thread first appends an item, then looks whether the reader waits. The reader first
        # says that it waits, then looks for items. So at least one of them sees the other.
        self._items: deque[T] = deque()
        self._reader_waits = False
        self._pulling = False  # a job of the thread pulls
        self._closed = False  # nothing comes after those in `_items`, and the iterator is closed
        self._error: BaseException | None = None
        self._wake_up: asyncio.Future[None] | None = None

    def __aiter__(self) -> "from_sync[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                error, self._error = self._error or StopAsyncIteration(), None
                try:
                    raise error
                finally:
                    del error  # its traceback holds this frame
            try:
                await self._pulled()
            except asyncio.CancelledError:
                await self.aclose()
                raise
        return self._items.popleft()

    async def aclose(self) -> None:
        """Close the iterator in its thread. A second call does nothing."""
        if self._closed:
            self._items.clear()
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        if (thread := self._thread) is None:  # never started
            if inspect.isgenerator(self._iterable):
                self._iterable.close()  # runs none of its code
            elif hasattr(self._iterable, "close"):
                await loop.run_in_executor(None, self._context.run, _close, self._iterable)
            return
        self._thread = None
        thread.close_soon()
        done: asyncio.Future[None] = loop.create_future()
        thread.submit(lambda: self._close_in_thread(loop, done))
        thread.end()
        try:
            await done
        except asyncio.CancelledError:
            loop.call_later(_ABANDONED, _warn, thread)
            raise
        finally:
            self._items.clear()

    async def __aenter__(self) -> "from_sync[T]":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if (thread := getattr(self, "_thread", None)) is not None:
            thread.submit(functools.partial(self._context.run, _close_logged, self._iterator))
            thread.end()

    # In the event loop.

    async def _pulled(self) -> None:
        """Wait until there are items, or the end."""
        if self._thread is None:
            self._thread = await acquire()
        loop = asyncio.get_running_loop()
        self._wake_up = loop.create_future()
        self._reader_waits = True
        if not self._pulling:
            self._pulling = True
            self._thread.submit(lambda: self._context.run(self._pull, loop))
        elif self._items:
            self._reader_waits = False
            return
        await self._wake_up

    def _wake(self) -> None:
        if self._wake_up is not None and not self._wake_up.done():
            self._wake_up.set_result(None)

    def _has_pulled(self, ended: bool, error: BaseException | None) -> None:
        self._pulling = self._reader_waits = False
        if self._closed:
            self._items.clear()
            if error is not None and not isinstance(error, GeneratorExit):
                logger.error("a plain generator failed while it was closed", exc_info=error)
        elif ended and self._thread is not None:
            self._closed, self._error = True, error
            self._thread.end()
            self._thread = None
        self._wake()

    # In the thread.

    def _pull(self, loop: asyncio.AbstractEventLoop) -> None:
        ended, error = True, None
        try:
            if ended := self._pull_items(loop):
                _close(self._iterator)
        except BaseException as raised:
            error = raised
            _close_logged(self._iterator)
        try:
            loop.call_soon_threadsafe(self._has_pulled, ended, error)
        except RuntimeError:  # the loop is closed: nobody will read or close this
            _close_logged(self._iterator)
        finally:
            del error  # its traceback holds this frame

    def _pull_items(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Pull one item, and more while they are quick. Return whether the iterator has ended."""
        ends = perf_counter() + _AHEAD_SECONDS
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        while not self._closed:
            item: Any = next(self._iterator, _END)
            if item is _END:
                return True
            self._items.append(item)
            if len(self._items) >= self._most or perf_counter() > ends:
                return False
            if self._reader_waits:
                self._reader_waits = False
                loop.call_soon_threadsafe(self._wake)
        return False

    def _close_in_thread(
        self, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[None]"
    ) -> None:
        error = None
        try:
            self._context.run(_close, self._iterator)
        except BaseException as raised:
            error = raised

        def report() -> None:
            if not done.cancelled():
                done.set_result(None) if error is None else done.set_exception(error)
            elif error is not None:
                logger.error("a plain generator failed when it was closed", exc_info=error)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(report)


def _warn(thread: OwnThread) -> None:
    if thread.is_alive():
        logger.warning(
            "a plain generator did not end when it was closed: its next() still runs in the thread"
            " %s, which closes it afterwards; %s",
            thread.name,
            in_use(),
        )


def _close(iterator: object) -> None:
    if (close := getattr(iterator, "close", None)) is not None:
        close()


def _close_logged(iterator: object) -> None:
    try:
        _close(iterator)
    except BaseException:
        logger.exception("a plain generator failed when it was closed")
