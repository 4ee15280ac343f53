"""Plain iterable to async stream: each `next()` runs in a thread, beside the event loop.

A running `next()` cannot be interrupted. A cancellation therefore waits for it and then closes the
iterator: closing a generator while it runs raises ValueError and never cleans it up.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

# Not the default executor or anyio's limiter, which the rest of an application uses: streams that
# block in `next()` for seconds would starve it.
_THREADS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="from_sync")

_END: Any = object()


class from_sync(AsyncIterator[T], Generic[T]):
    """Iterate a plain iterable that may block: each `next()` runs in a thread.

    In: an iterable. Out: an async iterator of its items. Every `next()` and the close run in one
    copy of the caller's context, so a generator keeps the contextvars it sets.

    Bound: nothing is pulled before it is needed.
    On error: what `next()` raises is raised here.
    On early exit: `aclose()` or `async with` closes a generator (runs its `finally`) in a thread
    and waits for it. A cancelled `anext` waits until the running `next()` returns, closes the
    generator, and is then raised. A second cancellation does not wait; the generator is still
    closed as soon as that `next()` returns.
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
                done.exception()  # retrieved, so that asyncio does not log it
            raise
        if item is _END:
            self._closed = True
            raise StopAsyncIteration
        return cast(T, item)

    async def aclose(self) -> None:
        """Close the iterator in a thread. A second call does nothing."""
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
        """Close the iterator when `job`, if any, is done, even if the caller is cancelled."""
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
    except StopIteration as error:  # a future does not accept it
        raise RuntimeError("iter() or close() of the iterable raised StopIteration") from error
