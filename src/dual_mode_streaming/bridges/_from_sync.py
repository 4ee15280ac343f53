"""A plain iterator as an async one: each `next()` runs in a thread, and the event loop goes on.

A `next()` that runs cannot be interrupted. So a cancellation waits for it, and only then is the
iterator closed: a generator that is closed while it runs raises ValueError and is never cleaned up.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast

__all__ = ["from_sync"]

T = TypeVar("T")

# Its own threads: the default executor and anyio's limiter serve everything else of an
# application, and streams that block in `next()` for seconds would starve it.
_THREADS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="from_sync")

_END: Any = object()  # never leaves this file


class from_sync(AsyncIterator[T], Generic[T]):
    """An async iterator over `iterable`, which is iterated in threads, one `next()` at a time.

    Every `next()`, and the close, runs in one copy of the caller's context, so contextvars that a
    generator sets are there when it goes on.

    Bound: nothing is pulled before it is asked for.
    On error: what `next()` raises is raised here.
    On early exit: `aclose()` or `async with` closes a generator (runs its `finally`) in a thread,
    and waits for it. So does the cancellation of an `anext`: it waits until the `next()` that runs
    returns, closes, and is raised then. A second cancellation does not wait; the generator is
    closed all the same, when it can be.
    """

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterable = iterable
        self._iterator: Iterator[T] | None = None
        self._context = contextvars.copy_context()
        self._closed = False

    def __aiter__(self) -> "from_sync[T]":
        return self

    async def __anext__(self) -> T:
        if self._closed:
            raise StopAsyncIteration
        job = self._in_thread(self._next)
        done = asyncio.wrap_future(job)
        try:
            item = await asyncio.shield(done)
        except asyncio.CancelledError:
            await self._close_after(job)
            if not done.cancelled():
                done.exception()  # seen; the cancellation says more
            raise
        if item is _END:
            self._closed = True
            raise StopAsyncIteration
        return cast(T, item)

    async def aclose(self) -> None:
        """Close the iterator, in a thread; nothing happens the second time."""
        if not self._closed:
            await self._close_after(None)

    async def __aenter__(self) -> "from_sync[T]":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _next(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        return next(self._iterator, _END)

    def _in_thread(self, function: Callable[[], Any]) -> "Future[Any]":
        return _THREADS.submit(self._context.run, _guarded, function)

    async def _close_after(self, job: "Future[Any] | None") -> None:
        """Close the iterator when the job that may run is done, whoever waits for that."""
        self._closed = True
        close = getattr(self._iterator or self._iterable, "close", None)
        closed: Future[None] = Future()

        def close_now() -> None:
            try:
                if close is not None:
                    close()
            except BaseException as error:
                closed.set_exception(error)
            else:
                closed.set_result(None)

        def in_thread(_: object) -> None:
            self._in_thread(close_now)

        if job is None or job.cancel():
            in_thread(None)
        else:
            job.add_done_callback(in_thread)
        await asyncio.shield(asyncio.wrap_future(closed))


def _guarded(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except StopIteration as error:  # asyncio's futures refuse it, and would never be done
        raise RuntimeError("the iterable raised StopIteration where it must not") from error
