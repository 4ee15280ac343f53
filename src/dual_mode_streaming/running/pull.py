"""The pull loop: from a source into a sink, in one task, flushed whenever the source waits.

Streams, batches and recordings use this loop, so they cannot differ in how they treat a source.
"""

import asyncio
import types
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator
from time import perf_counter
from typing import Any, Protocol

from dual_mode_streaming.errors import SourceCancelled, SourceExited
from dual_mode_streaming.running.owner import Owner
from dual_mode_streaming.running.timeslice import Timeslice

__all__ = [
    "Sink",
    "close_source",
    "drive",
    "pull",
    "throw_into",
]


class Sink(Protocol):
    """Where the items of a source go.

    Attributes:
        take: called with each item. Returns a true value if the sink is full and must be flushed.
            An error that it raises ends the source.
    """

    @property
    def take(self) -> Callable[[Any], object]: ...

    def check(self) -> int | None:
        """Check the bounds, after the first item and then regularly.

        Returns:
            The most items to take before the next check; None if the clock alone decides.
        """
        ...

    async def flush(self) -> None:
        """Pass on what was taken."""
        ...


async def pull(source: AsyncIterator[Any], sink: Sink, owner: Owner, timeslice: Timeslice) -> None:
    """Pull items at the speed of `async for` until the source ends, and close the source.

    The loop leaves `async for` when the sink is full, when the timeslice is over, and when the
    owner has been stopped. A cancellation that arrives while it flushes or lets other tasks run
    belongs to the source, for example to an `asyncio.timeout` around its yields: it is raised at
    the yield where the source is suspended.

    Run it in the owner's task. The source is closed on every exit.

    Raises:
        SourceCancelled: the source raised a CancelledError although it was not cancelled.
        SourceExited: the source raised what is no Exception.
        asyncio.CancelledError: the owner was stopped.
    """
    take = sink.take
    outside, unchecked = False, 1  # outside of the source; items until the next check
    try:
        try:
            while True:
                try:
                    async for item in source:
                        full = take(item)
                        unchecked -= 1
                        if unchecked and not full and owner.end is None:
                            continue
                        item = None  # the next wait may be long
                        limit = sink.check()
                        now = perf_counter()
                        unchecked = timeslice.items_until_check(now)
                        if limit is not None and limit < unchecked:
                            unchecked = limit
                        ends = timeslice.ends
                        if full or now > ends:
                            outside = True
                            await sink.flush()
                            if now > ends or timeslice.ends != ends:  # over, or moved by a wait
                                await timeslice.yield_to_others()
                            outside = False
                        if owner.end is not None:
                            await asyncio.sleep(0)  # where a cancellation under way arrives
                            raise asyncio.CancelledError  # the source has suppressed it
                    return
                except asyncio.CancelledError as cancelled:
                    if not outside or owner.end is not None:
                        raise
                    outside, unchecked = False, 1
                    try:
                        take(await throw_into(source, cancelled))
                    except StopAsyncIteration:
                        return
        finally:
            await close_source(source)
    except asyncio.CancelledError as cancelled:
        if owner.end is None:
            raise SourceCancelled() from cancelled
        raise
    except Exception:
        raise
    except BaseException as error:
        if owner.is_closed_by(error):
            raise
        raise SourceExited(error) from error


@types.coroutine
def drive(
    awaitable: Awaitable[None],
    on_wait: Callable[[], Awaitable[None] | None],
    timeslice: Timeslice | None = None,
) -> Generator[Any, Any, None]:
    """Await `awaitable` in this task, and call `on_wait` each time it is about to wait.

    A coroutine that waits passes the future it waits for up to the task, through every `await` in
    between. `drive` is part of that chain. So it sees the moment at which everything that was ready
    is done, and the buffer can be sent at once: without a queue, a timer or a second task.

    If `on_wait` returns an awaitable, it is awaited first. A cancellation that arrives meanwhile is
    passed on to `awaitable`. The time of a wait does not count for `timeslice`.
    """
    work = awaitable.__await__()
    try:
        waiting = work.send(None)
        while True:
            if (first := on_wait()) is not None:
                try:
                    yield from first.__await__()
                except BaseException as error:
                    # Cancel the work, and with it the future that it waits for, like Task.cancel.
                    cancelled = isinstance(error, asyncio.CancelledError)
                    if not cancelled or waiting is None or not waiting.cancel():
                        waiting = work.throw(error)
                        continue
                first = None  # free it: the wait may be long
            left = 0.0 if timeslice is None else timeslice.ends - perf_counter()
            try:
                value = yield waiting
            except BaseException as error:  # every exception is for the work
                waiting = work.throw(error)
            else:
                if timeslice is not None:
                    timeslice.ends = perf_counter() + left
                waiting = work.send(value)
    except StopIteration:
        return


async def close_source(source: AsyncIterator[Any]) -> None:
    """Close the source if it can be closed; nothing happens if it has ended."""
    if (close := getattr(source, "aclose", None)) is not None:
        await close()


async def throw_into(source: AsyncIterable[Any], error: BaseException) -> Any:
    """Raise `error` where the source is suspended, and return the next item if there is one."""
    athrow = getattr(source, "athrow", None)
    if athrow is None:
        raise error
    return await athrow(error)
