"""One stream in, one out, in the reader's own task; and the sinks, where a stream ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, overload

from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.streams._scope import Scope, Stream
from dual_mode_streaming.streams._sources import END, Failure

__all__ = ["enqueue", "filter", "gather_stream", "gather_text", "map", "owned", "take"]

T = TypeVar("T")
R = TypeVar("R")


@overload
def map(stream: AsyncIterable[T], function: Callable[[T], Awaitable[R]]) -> Stream[R]: ...
@overload
def map(stream: AsyncIterable[T], function: Callable[[T], R]) -> Stream[R]: ...
def map(stream: AsyncIterable[Any], function: Callable[[Any], Any]) -> Stream[Any]:
    """`function(item)` for each item; an async function is awaited, one call at a time.

    Bound: nothing is pulled before it is asked for.
    On error: an error of the stream, or of the function, is raised as it is, the stream closed.
    On early exit: the stream is closed, by whoever closes this one.
    """
    scope = Scope(stream)

    async def items() -> AsyncGenerator[Any, None]:
        async with scope:
            async for item in scope.open(stream):
                result = function(item)
                if hasattr(result, "__await__"):
                    result = await result
                yield result

    return Stream(items(), scope)


def filter(
    stream: AsyncIterable[T], predicate: Callable[[T], object] | Callable[[T], Awaitable[object]]
) -> Stream[T]:
    """The items for which `predicate(item)`, which may be an async function, is true.

    Bound, errors and early exit as with `map`.
    """
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, None]:
        async with scope:
            async for item in scope.open(stream):
                keep = predicate(item)
                if hasattr(keep, "__await__"):
                    keep = await keep
                if keep:
                    yield item

    return Stream(items(), scope)


def take(stream: AsyncIterable[T], n: int) -> Stream[T]:
    """The first `n` items; then the stream is closed, before this one ends.

    Bound: no item beyond the last is pulled. Errors and early exit as with `map`.
    """
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, None]:
        left = n
        async with scope:
            if left > 0:
                async for item in scope.open(stream):
                    yield item
                    left -= 1
                    if left <= 0:
                        break

    return Stream(items(), scope)


def owned(stream: AsyncIterable[T]) -> AsyncIterator[T]:
    """The same stream as an iterator that may be closed by several, and is closed once."""
    if isinstance(stream, (Stream, AsyncGenerator)):
        return stream
    scope = Scope(stream)

    async def items() -> AsyncGenerator[T, None]:
        async with scope:
            async for item in scope.open(stream):
                yield item

    return Stream(items(), scope)


async def gather_stream(stream: AsyncIterable[T]) -> list[T]:
    """All items, as a list. The stream is closed, also when it fails or this is cancelled."""
    scope = Scope(stream)
    async with scope:
        return [item async for item in scope.open(stream)]


async def gather_text(stream: AsyncIterable[T], of: Callable[[T], str] | None = None) -> str:
    """What a stream says, as one string.

    `of(item)` is the text of an item; without it that is the item if it is a str, else its `text`
    attribute if that is a str, else nothing.
    """
    text_of = _text if of is None else of
    return "".join([text_of(item) for item in await gather_stream(stream)])


def _text(item: object) -> str:
    text = item if isinstance(item, str) else getattr(item, "text", None)
    return text if isinstance(text, str) else ""


async def enqueue(stream: AsyncIterable[T], queue: "asyncio.Queue[Any]", end: object = END) -> None:
    """Put all items into `queue`, then `end`; `dequeue` is the other side.

    Bound: that of the queue; a full one makes the stream wait.
    On error: it goes through the queue, and `dequeue` raises it; here it is not raised again. An
    item that is the end marker (None, with `end=None`) is a ValueError, on both sides.
    On cancellation: the reader gets a SourceCancelled, in the place of the last item if the queue
    is full, for nobody can wait then.
    Closes the stream, not the queue.
    """
    scope = Scope(stream)
    misuse: ValueError | None = None
    try:
        async with scope:
            try:
                async for item in scope.open(stream):
                    if item is end:
                        misuse = ValueError(f"an item is the queue's end marker, {end!r}")
                        raise misuse
                    await queue.put(item)
                last = end
            except Exception as error:
                last = Failure(error)
        await queue.put(last)
    except asyncio.CancelledError:
        if queue.full():
            queue.get_nowait()
            queue.task_done()
        queue.put_nowait(Failure(SourceCancelled()))
        raise
    if misuse is not None:
        raise misuse
